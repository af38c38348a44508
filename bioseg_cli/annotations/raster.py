"""From areas to pixels: a pixel is inside where its centre is.

A centre on the border of a polygon is inside if the area lies to the right of it, or below a level border. So polygons
that touch share no pixel and leave none out. Java's shapes have that rule too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from shapely import LineString, clip_by_rect, get_parts, segmentize

from bioseg_cli.annotations.shape import Area, Bitmap, Outline, Stroke

_PIECE = 32
"""Pixels: a stroke is drawn in pieces, since the rectangle around a long slanted one is large."""
_ASIDE = 1e-6
"""How far a centre counts right of where it is, and below, so that it lies on no border of a stroke."""


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


def covered(area: Area, height: int, width: int) -> Covered:
    """The pixels of an image of `height` x `width` that an area covers; what lies outside of the image is left out."""
    left, top, right, bottom = area.bounds
    rows = slice(max(int(np.floor(top)), 0), max(min(int(np.ceil(bottom)), height), 0))
    columns = slice(max(int(np.floor(left)), 0), max(min(int(np.ceil(right)), width), 0))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return Covered(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=bool))
    if isinstance(area, Bitmap):
        above, before = rows.start - area.row, columns.start - area.column
        inside = area.inside[above : above + rows.stop - rows.start, before : before + columns.stop - columns.start]
        return Covered(rows, columns, inside)
    if isinstance(area, Stroke):
        return Covered(rows, columns, _stroked(area, rows, columns))
    return Covered(rows, columns, _within(area, rows, columns))


def _within(outline: Outline, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    """(h, w) which centres of the pixels between `rows` and `columns` lie within an outline.

    From left to right along the centres of a row, each edge that is crossed changes between outside and inside.
    """
    x, y, other_x, other_y = _edges(outline).T
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


def _edges(outline: Outline) -> npt.NDArray[np.float64]:
    """The edges (n, 4) of all rings of an outline: x and y of both ends, the upper end first."""
    both = np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in outline.rings])
    upside_down = both[:, 1] > both[:, 3]
    both[upside_down] = both[upside_down][:, [2, 3, 0, 1]]
    return both


def _stroked(stroke: Stroke, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    """(h, w) which centres of the pixels between `rows` and `columns` a pen comes over."""
    inside = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
    radius = stroke.width / 2
    centres = np.array([columns.start, rows.start]) + 0.5 + _ASIDE
    for start, stop in _pieces(stroke.points - centres, radius, inside.shape):
        low = np.maximum(np.floor(np.minimum(start, stop) - radius), 0).astype(int)
        high = np.ceil(np.maximum(start, stop) + radius).astype(int) + 1
        part = inside[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        y, x = np.ogrid[low[1] : low[1] + part.shape[0], low[0] : low[0] + part.shape[1]]
        (along_x, along_y), length = stop - start, np.sum((stop - start) ** 2)
        share = ((x - start[0]) * along_x + (y - start[1]) * along_y) / (length or 1)
        nearest = np.clip(share, 0, 1)
        part |= (x - start[0] - nearest * along_x) ** 2 + (y - start[1] - nearest * along_y) ** 2 <= radius**2
    return inside


def _pieces(points: npt.NDArray[np.float64], radius: float, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """(n, 2, 2) start and end of the short pieces of a line that come near an image of (h, w)."""
    if (points == points[0]).all():
        return np.stack([points[:1], points[:1]], axis=1)
    height, width = shape
    near = clip_by_rect(LineString(points), -radius - 1, -radius - 1, width + radius, height + radius)
    lines = [np.asarray(line.coords) for line in get_parts(segmentize(near, max(_PIECE, radius)))]
    return np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines] or [np.zeros((0, 2, 2))])
