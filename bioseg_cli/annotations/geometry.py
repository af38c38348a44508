"""Outlines of polygons, by shapely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from shapely import MultiPolygon, Polygon, make_valid
from shapely.geometry.base import BaseGeometry

from bioseg_cli.annotations.shape import Outline

Points = npt.NDArray[np.float64]
"""Corners (n, 2), each x and y."""


def corners(values: object) -> Points:
    """Corners (n, 2) from sequences of x and y, perhaps of more; raises `ValueError` unless all are finite."""
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError("has no list of points")
    if not np.isfinite(points).all():
        raise ValueError("has coordinates that are not finite numbers")
    return points[:, :2]


def multipolygon(parts: Iterable[tuple[object, Sequence[object]]]) -> Outline:
    """The area of several polygons, each a ring of points and its holes.

    A ring that crosses itself encloses all that it runs around.

    Raises:
        ValueError: coordinates that are no numbers, or nothing is enclosed.
    """
    polygons = [Polygon(_ring(shell), [_ring(hole) for hole in holes]) for shell, holes in parts]
    return _outline(polygons[0] if len(polygons) == 1 else MultiPolygon(polygons))


def _ring(values: object) -> Points:
    points = corners(values)
    if len({*map(tuple, points.tolist())}) < 3:
        raise ValueError("encloses no area: it has fewer than three different points")
    return points


def _outline(area: BaseGeometry) -> Outline:
    repaired = not area.is_valid
    if repaired:
        area = make_valid(area, method="structure", keep_collapsed=False)
    parts = [part for part in getattr(area, "geoms", [area]) if isinstance(part, Polygon) and part.area > 0]
    if not parts:
        raise ValueError("encloses no area")
    return Outline(MultiPolygon(parts), repaired)


def edges(outline: Outline) -> Points:
    """The edges (n, 4) of all rings of an outline: x and y of both ends, the upper end first."""
    rings = [
        np.asarray(ring.coords)[:, :2] for part in outline.polygons.geoms for ring in (part.exterior, *part.interiors)
    ]
    both = np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings])
    upside_down = both[:, 1] > both[:, 3]
    both[upside_down] = both[upside_down][:, [2, 3, 0, 1]]
    return both
