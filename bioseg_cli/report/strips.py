"""What the page shows of images: pictures side by side, and why there are none where there are none."""

from __future__ import annotations

from dataclasses import dataclass

from bioseg_cli.report.chosen import Scored

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """A PNG, its heading, and what it shows in words; no bytes where it could not be had, and the words say why."""

    png: bytes
    heading: str
    words: str


@dataclass(frozen=True)
class Strip:
    """Pictures of one image: columns side by side, of one picture each or of several one below the other."""

    title: str
    columns: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class Gallery:
    """The strips of a data set.

    Attributes:
        data: its name.
        shown: the runs whose predictions are in them.
        strips: none where `problem` says why.
        classes: names and colours of the classes.
        problem: why there is no picture.
    """

    data: str
    shown: tuple[Scored, ...] = ()
    strips: tuple[Strip, ...] = ()
    classes: tuple[tuple[str, Colour], ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Album:
    """All pictures of a report, a gallery a data set.

    Attributes:
        typical: image, truth, predictions and differences for a middle label budget.
        cases: the worst and the best images.
        clusters: what runs of IIC have found.
    """

    typical: tuple[Gallery, ...] = ()
    cases: tuple[Gallery, ...] = ()
    clusters: tuple[Gallery, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Why pictures are missing, each reason once."""
        said = []
        for gallery in (*self.typical, *self.cases, *self.clusters):
            said += [] if gallery.problem is None else [gallery.problem]
            columns = [column for strip in gallery.strips for column in strip.columns]
            said += [picture.words for column in columns for picture in column if not picture.png]
        return list(dict.fromkeys(said))
