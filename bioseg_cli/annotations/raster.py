"""From areas to pixels: a pixel is inside where its centre is.

A centre on the border of a polygon is inside if the area lies to the right of it, or below a level border. So polygons
that touch share no pixel and leave none out. Java's shapes have that rule too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bioseg_cli.annotations.geometry import edges
from bioseg_cli.annotations.shape import Outline


@dataclass(frozen=True)
class Covered:
    """The pixels of an image that an area covers.

    Attributes:
        rows, columns: the part of the image that holds all of them.
        inside: (h, w) which pixels of that part they are.
    """

    rows: slice
    columns: slice
    inside: npt.NDArray[np.bool_]


def covered(area: Outline, height: int, width: int) -> Covered:
    """The pixels of an image of `height` x `width` that an area covers; what lies outside of the image is left out."""
    left, top, right, bottom = area.bounds
    rows = slice(max(int(np.floor(top)), 0), max(min(int(np.ceil(bottom)), height), 0))
    columns = slice(max(int(np.floor(left)), 0), max(min(int(np.ceil(right)), width), 0))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return Covered(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=bool))
    return Covered(rows, columns, _within(area, rows, columns))


def _within(outline: Outline, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    """(h, w) which centres of the pixels between `rows` and `columns` lie within an outline.

    From left to right along the centres of a row, each edge that is crossed changes between outside and inside.
    """
    x, y, other_x, other_y = edges(outline).T
    first = np.clip(np.ceil(y - 0.5), rows.start, rows.stop).astype(np.int64)
    last = np.clip(np.ceil(other_y - 0.5), rows.start, rows.stop).astype(np.int64)
    edge = np.repeat(np.arange(len(x)), last - first)
    crossed = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    slope = (other_x[edge] - x[edge]) / (other_y[edge] - y[edge])
    crossing = np.ceil(x[edge] + (crossed + 0.5 - y[edge]) * slope - 0.5)
    width = columns.stop - columns.start
    column = np.clip(crossing - columns.start, 0, width).astype(np.int64)
    changes = np.zeros((rows.stop - rows.start, width + 1), dtype=bool)
    np.logical_xor.at(changes, (crossed - rows.start, column), True)
    inside: npt.NDArray[np.bool_] = np.logical_xor.accumulate(changes[:, :width], axis=1)
    return inside
