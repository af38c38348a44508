"""What `session.run` returns: the suggested images, and what was written of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.suggest.settings import Among


@dataclass(frozen=True)
class Suggestion:
    """An image to label.

    Attributes:
        index: of the image in the data set.
        rank: 1 is to be labelled first.
        image: its name.
        file: that it is from.
        frame: in the file.
        origin: (y, x) of its first pixel in the frame.
        reason: why it is suggested.
        alike: images of its kind, with it.
        alike_labelled: of these, those that have a mask already.
        typicality: from 0 to 1; None where the image shows little.
        disagreement: share of the pixels in which the predictions of a network differ. None where the image is
            suggested by its looks.
    """

    index: int
    rank: int
    image: str
    file: str
    frame: int
    origin: tuple[int, int]
    reason: str
    alike: int
    alike_labelled: int = 0
    typicality: float | None = None
    disagreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Its entry in the document of `bioseg suggest --json`."""
        shared = {
            "rank": self.rank,
            "image": self.image,
            "file": self.file,
            "frame": self.frame,
            "origin": list(self.origin),
            "reason": self.reason,
            "alike": self.alike,
        }
        if self.disagreement is not None:
            return {**shared, "disagreement": self.disagreement}
        return {**shared, "alike_labelled": self.alike_labelled, "typicality": self.typicality}


@dataclass(frozen=True)
class Export:
    """Suggested images as files.

    Attributes:
        folder: of the files.
        masks: whether each has a predicted mask to correct.
        then: the command that makes a data set of the folder.
    """

    folder: Path
    masks: bool
    then: str


@dataclass(frozen=True)
class SuggestionResult:
    """Which images to label first.

    Attributes:
        data: the data set.
        run: whose network chose; None where looks did.
        among: the images that were chosen among.
        seed: of the choice.
        training_images: how many there are.
        labelled: of these, those that need no mask any more.
        asked: how many were asked for.
        suggested: the images, the first to label first.
        export: what was exported, if that was asked for.
        out: the contact sheet, if one was asked for.
    """

    data: Path
    run: Path | None
    among: Among
    seed: int
    training_images: int
    labelled: int
    asked: int
    suggested: tuple[Suggestion, ...]
    export: Export | None = None
    out: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg suggest --json`."""
        document: dict[str, Any] = {
            "data": str(self.data),
            "run": None if self.run is None else str(self.run),
            "among": self.among,
            "seed": self.seed,
            "training_images": self.training_images,
            "labelled": self.labelled,
            "asked": self.asked,
            "suggested": [suggestion.to_json() for suggestion in self.suggested],
        }
        if self.export is not None:
            document |= {"export": str(self.export.folder), "masks": self.export.masks, "then": self.export.then}
        return document if self.out is None else {**document, "out": str(self.out)}
