"""A folder for each image, with its `images/` and its `masks/`: one mask file per object (Data Science Bowl 2018)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bioseg_cli.annotations.folder import FoundAnnotations
from bioseg_cli.annotations.shape import Annotation, Bitmap, Shape, shape_errors
from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, list_images, natural_key
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.printable import listing


def image_folders(root: Path) -> dict[Path, Path | None] | None:
    """The image of each folder in a folder, with the folder of its masks; None where images lie otherwise.

    Raises:
        DataError: a folder without an image, or with several; two images of one name.
    """
    inside = sorted((path for path in root.iterdir() if not path.name.startswith(".")), key=natural_key)
    folders = [path for path in inside if path.is_dir()]
    if not any((path / "images").is_dir() for path in folders):
        return None
    if any(path.name.lower().endswith(IMAGE_SUFFIXES) for path in inside):
        return None
    if without := [path.name for path in folders if not (path / "images").is_dir()]:
        raise DataError(
            f"{len(without)} of {len(folders)} folders have no images/ in them: {listing(without)}",
            where=root,
            fix="Each folder needs one image in images/, and the masks of its objects in masks/; move others away.",
        )
    found: dict[Path, Path | None] = {}
    for folder in folders:
        images = list_images([folder / "images"])
        if len(images) > 1:
            raise DataError(
                f"The folder holds {len(images)} images: {listing([image.name for image in images], 3)}",
                where=folder / "images",
                fix=f"If they all belong to the data set, give --images {folder / 'images'}. If each image has a "
                "folder, keep the one that the masks belong to.",
            )
        found[images[0]] = folder / "masks" if (folder / "masks").is_dir() else None
    name, times = Counter(image.name for image in found).most_common(1)[0]
    if times > 1:
        raise DataError(f"{times} images are called {name}", where=root, fix="Give each image a name of its own.")
    return found


def object_masks(found: Mapping[Path, Path | None]) -> FoundAnnotations:
    """The objects of each image whose folder has masks.

    Raises:
        DataError: a mask that shows no object, or that holds more than 0 and one other value.
    """
    annotations = {image: _objects(masks) for image, masks in found.items() if masks is not None}
    return FoundAnnotations(("one mask file per object",), annotations)


def _objects(masks: Path) -> Annotation:
    shapes: list[Shape] = []
    size = None
    inside = [path for path in masks.iterdir() if path.name.lower().endswith(IMAGE_SUFFIXES)]
    for path in sorted((path for path in inside if not path.name.startswith(".")), key=natural_key):
        pixels = read_mask(path)
        with shape_errors(path, f"mask {path.name}"):
            values = np.unique(pixels).tolist()
            if pixels.ndim != 2 or len(values) > 2 or (len(values) == 2 and values[0] != 0):
                raise DataError(
                    "The mask shows more than one object",
                    where=path,
                    fix="Each file of masks/ has one object: 0 outside, and one other value within it.",
                )
            if size not in (None, pixels.shape):
                raise DataError(
                    f"The mask has {pixels.shape[0]} x {pixels.shape[1]} pixels, and others of its image differ",
                    where=path,
                    fix="Export all masks at the size of the image.",
                )
            size = pixels.shape
            shapes.append(Shape(f"mask {path.name}", None, Bitmap.of(pixels != 0)))
    return Annotation(masks, tuple(shapes), size=size)
