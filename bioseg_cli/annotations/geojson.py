"""GeoJSON as QuPath exports it: polygons with holes, in pixels, with the names of their classes.

The format is RFC 7946's, with coordinates of x and y; `properties.classification` and `geometry.plane` are QuPath's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioseg_cli.annotations.geometry import multipolygon
from bioseg_cli.annotations.shape import Annotation, Outline, Shape, frame_of, shape_errors


def is_geojson(document: Any) -> bool:
    """Whether a JSON document is a feature of GeoJSON, a collection of features, or a list of them."""
    if isinstance(document, list):
        return bool(document) and all(
            isinstance(feature, dict) and feature.get("type") == "Feature" for feature in document
        )
    return isinstance(document, dict) and document.get("type") in ("Feature", "FeatureCollection")


def annotation(path: Path, document: Any) -> Annotation:
    """The shapes of a GeoJSON document.

    Raises:
        DataError: a feature that is no area, or whose values cannot be read.
    """
    features = document
    if isinstance(document, dict):
        features = document.get("features") if document["type"] == "FeatureCollection" else [document]
    with shape_errors(path, "the collection of features"):
        return Annotation(path, tuple(_shape(path, number, feature) for number, feature in enumerate(features, 1)))


def _shape(path: Path, number: int, feature: Any) -> Shape:
    with shape_errors(path, f"feature {number}"):
        properties = feature.get("properties") or {}
        given = properties.get("name")
        name = f"feature {number}" + (f" ({given})" if given else "")
    with shape_errors(path, name):
        geometry = feature["geometry"]
        return Shape(name, _class_name(properties), _outline(geometry), _frame(geometry, properties))


def _class_name(properties: Mapping[str, Any]) -> str | None:
    """The class as QuPath shows it: a class that is derived from others has several names."""
    classification = properties.get("classification") or {}
    if isinstance(classification, str):
        return classification
    return classification.get("name") or ": ".join(classification.get("names") or []) or None


def _outline(geometry: Mapping[str, Any] | None) -> Outline:
    kind = None if geometry is None else geometry["type"]
    if geometry is None or kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"is of the type {kind}, and only Polygon and MultiPolygon are areas")
    polygons = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
    return multipolygon([(shell, holes) for shell, *holes in polygons])


def _frame(geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> int | None:
    """The time point or plane; of a shape on the first one QuPath writes none."""
    plane = geometry.get("plane") or {}
    frame = frame_of(int(plane.get("t", 0)), int(plane.get("z", 0)))
    return frame if plane or "objectType" in properties else None
