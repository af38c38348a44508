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

    @property
    def pictures(self) -> list[Picture]:
        """All of them."""
        return [picture for column in self.columns for picture in column]


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
        galleries = (*self.typical, *self.cases, *self.clusters)
        said = [gallery.problem for gallery in galleries if gallery.problem is not None]
        said += [
            picture.words
            for gallery in galleries
            for strip in gallery.strips
            for picture in strip.pictures
            if not picture.png
        ]
        return list(dict.fromkeys(said))
