"""LabelMe's JSON, one file per image: polygons, rectangles, circles, lines, points and masks, each with a label."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bioseg_cli.annotations.geometry import box, corners, ellipse, pixel, polygon, stroke
from bioseg_cli.annotations.shape import MOST_PIXELS, Annotation, Area, Bitmap, Points, Shape, shape_errors

_LINES = ("line", "linestrip")


def is_labelme(document: Any) -> bool:
    """Whether a JSON document is LabelMe's."""
    return isinstance(document, dict) and {"shapes", "imagePath"} <= document.keys()


def annotation(path: Path, document: Any) -> Annotation:
    """The shapes of a document of LabelMe.

    Raises:
        DataError: a shape of an unknown type, or whose values cannot be read.
    """
    with shape_errors(path, "the document"):
        size = document.get("imageHeight"), document.get("imageWidth")
        shapes = tuple(_shape(path, number, drawn) for number, drawn in enumerate(document["shapes"], 1))
        return Annotation(path, shapes, size=None if None in size else (int(size[0]), int(size[1])))


def _shape(path: Path, number: int, drawn: Mapping[str, Any]) -> Shape:
    with shape_errors(path, f"shape {number}"):
        label, kind = drawn.get("label"), drawn.get("shape_type") or "polygon"
        name = f"shape {number}" + (f" ({label})" if label else "")
    with shape_errors(path, name):
        area = _area(kind, corners(drawn["points"]), drawn)
        return Shape(name, str(label) if label else None, area, thin=kind in (*_LINES, "point"))


def _area(kind: str, points: Points, drawn: Mapping[str, Any]) -> Area:
    if kind in ("polygon", "oriented_rectangle"):
        return polygon(points)
    if kind in _LINES:
        return stroke(points)
    if kind == "rectangle":
        first, second = _exactly(2, points)
        return box(*first, *second)
    if kind == "circle":
        centre, on_border = _exactly(2, points)
        radius = np.hypot(*(on_border - centre))
        return ellipse(centre, (radius, 0), (0, radius))
    if kind == "point":
        return pixel(*_exactly(1, points)[0])
    if kind == "mask":
        return _bitmap(drawn["mask"], points)
    raise ValueError(f"is of the type {kind}, and no polygon, rectangle, circle, line, linestrip, point or mask")


def _exactly(count: int, points: Points) -> Sequence[Points]:
    if len(points) != count:
        raise ValueError(f"has {len(points)} points, and not {count}")
    return list(points)


def _bitmap(encoded: str, points: Points) -> Bitmap:
    """A mask, a PNG in base64, of the rectangle between the centres of two pixels."""
    (left, top), (right, bottom) = np.rint(_exactly(2, points)).astype(int).tolist()
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=["PNG"]) as image:
            # What lies between two fractions is rounded to a pixel more or less.
            if abs(image.width - (right - left + 1)) > 1 or abs(image.height - (bottom - top + 1)) > 1:
                raise ValueError(f"has a mask of {image.height} x {image.width} pixels for another rectangle")
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"is a mask of {image.height} x {image.width} pixels")
            inside = np.asarray(image) != 0
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"has a mask that cannot be read ({error})") from None
    if inside.ndim != 2:
        raise ValueError("has a mask with colours")
    return Bitmap.of(inside, top, left)
