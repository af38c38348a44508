"""A folder for each image, with its `images/` and its `masks/`: one mask file per object (Data Science Bowl 2018)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bioseg_cli.annotations.folder import FoundAnnotations
from bioseg_cli.annotations.shape import Annotation, Bitmap, Refuse, Shape, shape_errors
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, list_images, natural_key
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.printable import listing


def image_folders(root: Path, refuse: Refuse) -> dict[Path, Path | None] | None:
    """The image of each folder in a folder, with the folder of its masks; None where images lie otherwise.

    Args:
        root: the folder.
        refuse: is told of each folder without an image, or with several, and of images that share a name.
    """
    inside = sorted((path for path in root.iterdir() if not path.name.startswith(".")), key=natural_key)
    folders = [path for path in inside if path.is_dir()]
    if not any((path / "images").is_dir() for path in folders):
        return None
    if any(path.name.lower().endswith(IMAGE_SUFFIXES) for path in inside):
        return None
    found: dict[Path, Path | None] = {}
    for folder in folders:
        try:
            found[_only_image(folder)] = folder / "masks" if (folder / "masks").is_dir() else None
        except DataError as error:
            refuse(folder, error)
    times = Counter(image.name for image in found)
    for image in found:
        if times[image.name] > 1:
            what = f"{times[image.name]} images are called {image.name}"
            refuse(image, DataError(what, where=image, fix="Give each image a name of its own."))
    return found


def _only_image(folder: Path) -> Path:
    if not (folder / "images").is_dir():
        fix = "Each folder needs one image in images/, and the masks of its objects in masks/; move others away."
        raise DataError("The folder has no images/ in it", where=folder, fix=fix)
    images = list_images([folder / "images"])
    if len(images) > 1:
        raise DataError(
            f"The folder holds {len(images)} images: {listing([image.name for image in images], 3)}",
            where=folder,
            fix=f"If they all belong to the data set, give --images {folder / 'images'}. If each image has a folder, "
            "keep the one that the masks belong to.",
        )
    return images[0]


def object_masks(found: Mapping[Path, Path | None], refuse: Refuse) -> FoundAnnotations:
    """The objects of each image whose folder has masks.

    Args:
        found: see `image_folders`.
        refuse: is told of each mask that shows no object, or that holds more than 0 and one other value. Its image has
            no annotation then: where the object would be is no background.
    """
    annotations = FoundAnnotations(("one mask file per object",))
    for image, folder in found.items():
        if folder is not None:
            inside = [path for path in folder.iterdir() if path.name.lower().endswith(IMAGE_SUFFIXES)]
            masks = sorted((path for path in inside if not path.name.startswith(".")), key=natural_key)
            annotations.total += len(masks)
            if (annotation := _objects(folder, masks, refuse)) is not None:
                annotations.of_image[image], annotations.paths[image] = annotation, folder
    return annotations


def _objects(folder: Path, masks: list[Path], refuse: Refuse) -> Annotation | None:
    """The objects of an image; None where a mask of them cannot be used."""
    shapes: list[Shape] = []
    size: tuple[int, ...] | None = None
    for path in masks:
        try:
            pixels = read_mask(path)
            size = pixels.shape[:2] if size is None else size
            shapes.append(_object(path, pixels, size))
        except DataError as error:
            refuse(path, error)
    if len(shapes) < len(masks):
        return None
    return Annotation(folder, tuple(shapes), size=None if size is None else (size[0], size[1]))


def _object(path: Path, pixels: Pixels, size: tuple[int, ...]) -> Shape:
    """The object that a mask of an image of such a size shows."""
    with shape_errors(path, f"mask {path.name}"):
        values = np.unique(pixels).tolist()
        if pixels.ndim != 2 or len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise DataError(
                "The mask shows more than one object",
                where=path,
                fix="Each file of masks/ has one object: 0 outside, and one other value within it.",
            )
        if pixels.shape != size:
            raise DataError(
                f"The mask has {pixels.shape[0]} x {pixels.shape[1]} pixels, and others of its image differ",
                where=path,
                fix="Export all masks at the size of the image.",
            )
        return Shape(f"mask {path.name}", None, Bitmap.of(pixels != 0))
