"""Areas of what was drawn: polygons, ellipses, strokes of a pen and points; by shapely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from shapely import LinearRing, MultiPolygon, Polygon, STRtree, linestrings, make_valid
from shapely.geometry.base import BaseGeometry

from bioseg_cli.annotations.shape import Outline, Points, Stroke

_FARTHEST = 10_000_000
"""Pixels from the corner of an image; the largest scans of slides have a few hundred thousand."""
_MOST_CROSSINGS = 20_000
"""More take minutes to repair, and nobody draws them."""
_SAGITTA = 0.005
"""How far, in pixels, the polygon of an ellipse may lie within the ellipse."""


def corners(values: object) -> Points:
    """Corners (n, 2) from sequences of x and y, perhaps of more; raises `ValueError` unless all are finite."""
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError("has no list of points")
    if not np.isfinite(points).all():
        raise ValueError("has coordinates that are not finite numbers")
    if (np.abs(points) > _FARTHEST).any():
        raise ValueError(f"has coordinates beyond {_FARTHEST} pixels")
    return points[:, :2]


def multipolygon(parts: Iterable[tuple[object, Sequence[object]]]) -> Outline:
    """The area of several polygons, each a ring of points and its holes.

    A ring that crosses itself encloses all that it runs around.

    Raises:
        ValueError: coordinates that are no numbers, or nothing is enclosed.
    """
    polygons = [Polygon(_ring(shell), [_ring(hole) for hole in holes]) for shell, holes in parts]
    return _outline(polygons[0] if len(polygons) == 1 else MultiPolygon(polygons))


def polygon(points: object) -> Outline:
    """The area within one ring; see `multipolygon`."""
    return multipolygon([(points, ())])


def alternating(rings: Iterable[object]) -> Outline:
    """The area within an odd number of rings, as compound paths have it; raises `ValueError` where there is none."""
    found = tuple(map(corners, rings))
    if not any(len(np.unique(ring, axis=0)) > 2 for ring in found):
        raise ValueError("encloses no area")
    return Outline(found)


def box(left: float, top: float, right: float, bottom: float, *, rounded: float = 0) -> Outline:
    """A rectangle; `rounded` is the radius of its corners."""
    ring = corners([(left, top), (right, top), (right, bottom), (left, bottom)])
    radius = min(rounded, abs(right - left) / 2, abs(bottom - top) / 2)
    if radius > 0:
        return _outline(Polygon(_ring(ring)).buffer(-radius).buffer(radius, quad_segs=_quarter(radius)))
    return polygon(ring)


def ellipse(centre: object, half_axis: object, other_half_axis: object) -> Outline:
    """The ellipse around a centre; the half axes are vectors from the centre.

    Raises:
        ValueError: coordinates that are no numbers, or nothing is enclosed.
    """
    middle, first, second = corners([centre, half_axis, other_half_axis])
    count = 4 * _quarter(max(np.hypot(*first), np.hypot(*second)))
    angles = np.arange(count)[:, None] * 2 * np.pi / count
    return polygon(middle + np.cos(angles) * first + np.sin(angles) * second)


def stroke(points: object, width: float = 1) -> Stroke:
    """What a round pen of `width` pixels draws along a line.

    Raises:
        ValueError: coordinates that are no numbers, or a line that crosses itself too often.
    """
    line = corners(points)
    if not len(line):
        raise ValueError("has no points")
    if not 0 < width <= _FARTHEST:
        raise ValueError(f"is {width} pixels wide")
    _refuse_tangle(line)
    return Stroke(line, float(width))


def pixel(x: float, y: float) -> Outline:
    """The pixel that holds a point."""
    left, top = np.floor(corners([(x, y)])[0]).tolist()
    return box(left, top, left + 1, top + 1)


def _quarter(radius: float) -> int:
    """How many edges a quarter of a circle needs."""
    return int(np.ceil(np.pi / 4 * np.sqrt(max(radius, 1) / (2 * _SAGITTA))))


def _ring(values: object) -> Points:
    points = corners(values)
    if len({*map(tuple, points.tolist())}) < 3:
        raise ValueError("encloses no area: it has fewer than three different points")
    return points


def _outline(area: BaseGeometry) -> Outline:
    repaired = not area.is_valid
    if repaired:
        _refuse_tangle(*(np.asarray(ring.coords) for part in _polygons(area) for ring in _rings(part)))
        area = make_valid(area, method="structure", keep_collapsed=False)
    parts = [part for part in _polygons(area) if part.area > 0]
    if not parts:
        raise ValueError("encloses no area")
    return Outline(tuple(np.asarray(ring.coords)[:, :2] for part in parts for ring in _rings(part)), repaired)


def _polygons(area: BaseGeometry) -> list[Polygon]:
    return [part for part in getattr(area, "geoms", [area]) if isinstance(part, Polygon)]


def _rings(part: Polygon) -> list[LinearRing]:
    return [part.exterior, *part.interiors]


def _refuse_tangle(*lines: Points) -> None:
    """Raise `ValueError` where lines cross too often: shapely needs hours for a tangle of many corners."""
    segments = linestrings(np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines]))
    if len(segments) ** 2 <= _MOST_CROSSINGS:
        return
    tree = STRtree(segments)
    touching = 0
    for first in range(0, len(segments), 20):
        touching += tree.query(segments[first : first + 20], predicate="intersects").shape[1]
        # Each touches itself and its two neighbours, and each crossing counts twice.
        if touching - 3 * len(segments) > 2 * _MOST_CROSSINGS:
            raise ValueError(f"crosses itself more than {_MOST_CROSSINGS} times")
