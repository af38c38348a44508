"""COCO's JSON of instances: one file for all images, with polygons, or with runs of pixels (RLE)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bioseg_cli.annotations.geometry import multipolygon
from bioseg_cli.annotations.shape import MOST_PIXELS, Annotation, Area, Bitmap, Shape, shape_errors
from bioseg_cli.io.names import stem_of


def is_coco(document: Any) -> bool:
    """Whether a JSON document is COCO's."""
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def image_annotations(path: Path, document: Any) -> tuple[list[Annotation], list[str]]:
    """The shapes of each image that has some, and the names of the images that have none.

    Raises:
        DataError: a shape without an outline, of an unknown image or category, or whose values cannot be read.
    """
    with shape_errors(path, "the list of images or categories"):
        images = {image["id"]: image for image in document["images"]}
        names = {number: _stem(image["file_name"]) for number, image in images.items()}
        if len(images) < len(document["images"]) or len({*names.values()}) < len(names):
            raise ValueError("has two images of one id or of one name without folder and suffix")
        categories = {category["id"]: str(category["name"]) for category in document.get("categories") or []}
        sizes = {number: _size(image) for number, image in images.items()}
    shapes: dict[Any, list[Shape]] = defaultdict(list)
    with shape_errors(path, "the list of annotations"):
        for position, drawn in enumerate(document["annotations"], 1):
            with shape_errors(path, f"annotation {position}"):
                number, category = drawn["image_id"], drawn["category_id"]
                if number not in images:
                    raise ValueError(f"is of the image {number}, which the file does not list")
                name = f"annotation {drawn.get('id', position)} of {names[number]}"
            with shape_errors(path, name):
                if category not in categories:
                    raise ValueError(f"is of the category {category}, which the file does not list")
                area = _area(drawn.get("segmentation"), sizes[number])
                shapes[number].append(Shape(name, categories[category], area))
    found = [Annotation(path, tuple(drawn), names[number], sizes[number]) for number, drawn in shapes.items()]
    return found, [name for number, name in names.items() if number not in shapes]


def _stem(file_name: str) -> str:
    return stem_of(Path(PurePosixPath(file_name.replace("\\", "/")).name))


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    return (int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None


def _area(outline: Any, size: tuple[int, int] | None) -> Area:
    if not outline:
        raise ValueError("has no segmentation: a box alone is no outline")
    if isinstance(outline, dict):
        height, width = map(int, outline["size"])
        if size is not None and size != (height, width):
            raise ValueError(f"is a mask of {height} x {width} pixels, and its image has {size[0]} x {size[1]}")
        counts = outline["counts"]
        return Bitmap.of(_pixels(_uncompressed(counts) if isinstance(counts, str) else counts, height, width))
    return multipolygon([(_points(ring), ()) for ring in outline])


def _points(ring: Sequence[float]) -> Any:
    numbers = np.asarray(ring, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) % 2:
        raise ValueError("has a polygon that is no list of x and y in turn")
    return numbers.reshape(-1, 2)


def _pixels(counts: Sequence[int], height: int, width: int) -> Any:
    """(height, width) which pixels belong to the area: runs of those outside and inside in turn, down each column."""
    runs = np.asarray(counts, dtype=np.int64)
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"is a mask of {height} x {width} pixels")
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"has runs that do not make {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """The runs that a text stands for, as COCO compresses them.

    A character holds five bits of a number, the lowest first, and a sixth that says whether more follow. The last of
    the bits is the sign. From the fourth on, a number is the difference to the run before the last one.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("has compressed runs that are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("has compressed runs that break off")
    return runs
