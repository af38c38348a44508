"""Outlines of numbered objects along the edges of their pixels.

Coordinates are those of `annotations.shape`: x and y count pixels from the outer corner of the first pixel. An outline
holds the centres of its object's pixels and no others, so drawing it gives the object back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon, box, union_all
from shapely.geometry.polygon import orient


def outlines(numbers: NDArray[np.integer[Any]]) -> Iterator[MultiPolygon]:
    """Yield the outline of each of the objects 1, 2, ..., n of a map (H, W).

    Parts that touch by a corner alone are polygons of their own. Shells run counterclockwise where y points up, as in
    GeoJSON, and holes the other way.
    """
    from scipy import ndimage

    for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), 1):
        inside = np.pad(numbers[rows, columns] == number, ((0, 0), (1, 1))).astype(np.int8)
        row, start = np.nonzero(np.diff(inside) == 1)
        _, stop = np.nonzero(np.diff(inside) == -1)
        top = row + rows.start
        area = union_all(box(columns.start + start, top, columns.start + stop, top + 1)).simplify(0)
        parts = [part for part in getattr(area, "geoms", [area]) if isinstance(part, Polygon)]
        yield MultiPolygon([orient(part) for part in parts])
