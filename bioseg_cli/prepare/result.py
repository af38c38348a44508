"""What `session.run` returns: the data set that was written, and what must be known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.prepare.rejected import RejectedFile


@dataclass(frozen=True)
class PreparationResult:
    """A data set on disk.

    Attributes:
        path: the file.
        content_hash: SHA-256 of everything in it.
        recipe: name of the recipe that made it.
        images: numbers of `labelled` and `unlabelled` images by split.
        image_shape: (C, H, W) of every stored image.
        image_dtype: NumPy's name of the type of the pixels.
        classes: names of the classes, the background first.
        class_shares: share of each class in the labelled pixels, by split.
        labelled_area: labelled `pixels`, and their `share` of the labelled images, by split.
        normalisation: what becomes 0 and 1.
        pixel_size: of all images, if it is known.
        masks: how masks became classes, in a sentence.
        notes: what else must be known of it, in sentences.
        left_out: files that cannot be used, and that the user wanted left out.
        picture: the contact sheet, if one was asked for.
    """

    path: Path
    content_hash: str
    recipe: str
    images: Mapping[str, Mapping[str, int]]
    image_shape: tuple[int, int, int]
    image_dtype: str
    classes: tuple[str, ...]
    class_shares: Mapping[str, Mapping[str, float]]
    labelled_area: Mapping[str, Mapping[str, float]]
    normalisation: Normalisation
    pixel_size: PixelSize | None
    masks: str
    notes: tuple[str, ...]
    left_out: tuple[RejectedFile, ...] = ()
    picture: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg prepare --json`; without the picture, it is the section `dataset` of the manifest."""
        document: dict[str, Any] = {
            "path": str(self.path),
            "content_hash": self.content_hash,
            "recipe": self.recipe,
            "images": self.images,
            "image_shape": list(self.image_shape),
            "image_dtype": self.image_dtype,
            "classes": list(self.classes),
            "class_shares": self.class_shares,
            "labelled_area": self.labelled_area,
            "normalisation": self.normalisation.to_json(),
            "pixel_size": None if self.pixel_size is None else self.pixel_size.to_json(),
            "masks": self.masks,
            "notes": list(self.notes),
        }
        if self.left_out:
            document["left_out"] = [file.to_json() for file in self.left_out]
        return document if self.picture is None else {**document, "picture": str(self.picture)}
