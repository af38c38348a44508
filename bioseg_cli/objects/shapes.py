"""Outlines of objects as files that people open: ROIs of ImageJ and GeoJSON of QuPath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely import MultiPolygon, Polygon, get_coordinates

from bioseg_cli.config import ClassInfo
from bioseg_cli.objects.measurements import Row

MOVE, LINE, CLOSE = 0, 1, 4
"""Segments of the paths of ImageJ."""


@dataclass(frozen=True)
class OutlinedObject:
    """An object to be written.

    Attributes:
        number: of the object in its file.
        code: of its class.
        info: name and colour of its class.
        outline: see `outlines`.
        time, plane: from 0 on, of the frame that it lies on; None without such an axis.
        measurements: of the object, for programs that show them.
    """

    number: int
    code: int
    info: ClassInfo
    outline: MultiPolygon
    time: int | None
    plane: int | None
    measurements: Row


def write_rois(path: Path, objects: Sequence[OutlinedObject], channels: int = 1) -> None:
    """Write a zip of ROIs for the ROI manager of ImageJ and Fiji; the group of a ROI is its class.

    Args:
        path: of the file.
        objects: with their outlines.
        channels: of the image.
    """
    from roifile import roiwrite

    roiwrite(path, [_roi(outlined, channels) for outlined in objects], mode="w")


def _roi(outlined: OutlinedObject, channels: int) -> Any:
    from roifile import ROI_TYPE, ImagejRoi

    # ImageJ finds a ROI by its place in a stack of one axis, and by plane and time point in a hyperstack.
    single = channels == 1 and (outlined.time is None or outlined.plane is None)
    stack = (outlined.plane if outlined.time is None else outlined.time) if single else None
    places = {} if single else {"z": outlined.plane, "t": outlined.time}
    corners = get_coordinates(outlined.outline).astype(np.int32)
    roi = ImagejRoi.frompoints(corners, name=f"{outlined.number:05d}", position=stack, **places)
    parts = list(outlined.outline.geoms)
    if len(parts) == 1 and not parts[0].interiors:
        roi = ImagejRoi.frompoints(corners[:-1], name=f"{outlined.number:05d}", position=stack, **places)
        roi.roitype = ROI_TYPE.TRACED
    else:
        path = np.concatenate([_path(part) for part in parts])
        roi.roitype = ROI_TYPE.RECT
        roi.right, roi.bottom = (int(side) for side in corners.max(axis=0))
        roi.integer_coordinates, roi.n_coordinates = None, 0
        roi.multi_coordinates, roi.shape_roi_size = path, len(path)
    roi.group = outlined.code
    roi.stroke_color = bytes((255, *outlined.info.colour))
    return roi


def _path(part: Polygon) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The rings of a polygon as a path of ImageJ."""
    rings = []
    for ring in (part.exterior, *part.interiors):
        corners = get_coordinates(ring)[:-1]
        kinds = np.full(len(corners), LINE)
        kinds[0] = MOVE
        rings.append(np.append(np.column_stack([kinds, corners]).ravel(), CLOSE))
    return np.concatenate(rings).astype(np.float32)


def write_geojson(path: Path, objects: Sequence[OutlinedObject], reduction: tuple[float, float] = (1.0, 1.0)) -> None:
    """Write a collection of annotations that QuPath imports and `annotations.geojson` reads.

    Args:
        path: of the file.
        objects: outlined on a level of a pyramid.
        reduction: how many pixels of the full resolution, in which QuPath counts, a pixel of that level stands for,
            along the height and along the width.
    """
    features = [_feature(outlined, reduction) for outlined in objects]
    document = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8", errors="backslashreplace")


def _feature(outlined: OutlinedObject, reduction: tuple[float, float]) -> dict[str, Any]:
    polygons = [
        [_whole_where_possible(get_coordinates(ring) * reduction[::-1]) for ring in (part.exterior, *part.interiors)]
        for part in outlined.outline.geoms
    ]
    geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    if outlined.time is not None or outlined.plane is not None:
        geometry["plane"] = {"c": -1, "z": outlined.plane or 0, "t": outlined.time or 0}
    numbers = {name: value for name, value in outlined.measurements.items() if type(value) in (int, float)}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "name": str(outlined.number),
            "classification": {"name": outlined.info.name, "color": list(outlined.info.colour)},
            "measurements": numbers,
        },
    }


def _whole_where_possible(corners: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[float]]:
    whole = corners.astype(int)
    found: list[list[float]] = (whole if (whole == corners).all() else corners).tolist()
    return found
