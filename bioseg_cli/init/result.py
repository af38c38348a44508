"""What `session` returns: what was found in the folders, and the files that were written."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FoundData:
    """What a data set of the folders holds.

    Attributes:
        files: of images.
        images: in the files; a file of several frames has as many.
        sizes: height and width of the images, each once, and how many have it.
        channels, dtype: of every image.
        labelled: images with a mask.
        training: of these, those that train: the others are held out for validation and test.
        unlabelled: names of the images without a mask.
        classes: their names, the background first.
        masks: how masks became classes, in a sentence.
        notes: what else must be known, in sentences.
        predictable: whether `bioseg predict` takes the folder as it is: then it holds these images and nothing else.
        picture: a PNG of some images with their masks.
    """

    files: int
    images: int
    sizes: dict[tuple[int, int], int]
    channels: int
    dtype: str
    labelled: int
    training: int
    unlabelled: tuple[str, ...]
    classes: tuple[str, ...]
    masks: str
    notes: tuple[str, ...]
    predictable: bool
    picture: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        sizes = [{"height": height, "width": width, "images": count} for (height, width), count in self.sizes.items()]
        return {
            "files": self.files,
            "images": self.images,
            "sizes": sizes,
            "channels": self.channels,
            "dtype": self.dtype,
            "labelled": self.labelled,
            "unlabelled": list(self.unlabelled),
            "classes": list(self.classes),
            "masks": self.masks,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Command:
    """A command of bioseg.

    Attributes:
        about: what it does, a sentence.
        words: what stands behind `bioseg`.
    """

    about: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """As it is typed in a shell."""
        return shlex.join(("bioseg", *self.words))


@dataclass(frozen=True)
class InitResult:
    """The files of a new piece of work.

    Attributes:
        found: in the folders.
        settings: YAML of `bioseg prepare folder`.
        script: a shell script of the commands.
        picture: of some images with their masks.
        commands: in their order; they work in the folder of the files.
    """

    found: FoundData
    settings: Path
    script: Path
    picture: Path
    commands: tuple[Command, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg init --json`."""
        return {
            "settings": str(self.settings),
            "script": str(self.script),
            "picture": str(self.picture),
            "data": self.found.to_json(),
            "commands": [command.line for command in self.commands],
        }
