"""Shapes layers of napari, saved as CSV: a row for each corner, with its row and column in the image.

napari counts from the centre of the first pixel. The file holds neither classes nor widths of lines.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from bioseg_cli.annotations.geometry import ellipse, polygon, stroke
from bioseg_cli.annotations.shape import DAMAGED, Annotation, Area, Points, Shape, frame_of, shape_errors
from bioseg_cli.errors import DataError

_COLUMNS = ["index", "shape-type", "vertex-index"]
_LINES = ("line", "path")


def rows(path: Path) -> list[list[str]] | None:
    """The rows of a CSV file of shapes, with its header; None for a file of another kind."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            return [header, *reader] if header[:3] == _COLUMNS else None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The CSV file cannot be read ({error})", where=path, fix=DAMAGED) from None


def annotation(path: Path, table: Sequence[Sequence[str]], stem: str, images: Container[str]) -> Annotation:
    """The shapes of a layer.

    Args:
        path: the file.
        table: its rows, with the header.
        stem: its name without suffixes: `IMAGE`, or `IMAGE.CLASS`.
        images: the names of all images, to tell the two apart.

    Raises:
        DataError: a shape that is no area or line, or whose values cannot be read.
    """
    image, dot, class_name = stem.rpartition(".")
    if not dot or stem in images:
        image, class_name = stem, ""
    axes = len(table[0]) - len(_COLUMNS)
    with shape_errors(path, "the table"):
        if table[0][len(_COLUMNS) :] != [f"axis-{axis}" for axis in range(axes)] or axes < 2:
            raise ValueError(f"has the columns {', '.join(table[0])}, and not two axes or more")
        corners_of = groupby((row for row in table[1:] if row), key=lambda row: (row[0], row[1]))
        shapes = tuple(
            _shape(path, f"shape {index}", kind, class_name or None, list(corners), axes)
            for (index, kind), corners in corners_of
        )
    return Annotation(path, shapes, image)


def joined(layers: Iterable[Annotation]) -> list[Annotation]:
    """The layers of each image as one annotation."""
    of_image: dict[str | None, list[Annotation]] = defaultdict(list)
    for layer in layers:
        of_image[layer.image].append(layer)
    return [same[0] if len(same) == 1 else _together(same) for same in of_image.values()]


def _together(layers: Sequence[Annotation]) -> Annotation:
    shapes = [replace(shape, name=f"{shape.name} of {layer.source.name}") for layer in layers for shape in layer.shapes]
    return Annotation(layers[0].source.parent, tuple(shapes), layers[0].image)


def _shape(
    path: Path, name: str, kind: str, class_name: str | None, table: Sequence[Sequence[str]], axes: int
) -> Shape:
    with shape_errors(path, name):
        values = _coordinates(table, axes)
        frame = _frame(values[:, :-2])
        return Shape(name, class_name, _area(kind, values[:, :-3:-1] + 0.5), frame, kind in _LINES)


def _coordinates(table: Sequence[Sequence[str]], axes: int) -> Points:
    """The numbers (n, axes) behind the columns that every table has."""
    for row in table:
        if len(row) != len(_COLUMNS) + axes:
            raise ValueError(f"has a row of {len(row)} values, and not {len(_COLUMNS) + axes}")
    try:
        values = np.array([[float(value) for value in row[len(_COLUMNS) :]] for row in table])
    except ValueError:
        raise ValueError("has a coordinate that is no number") from None
    if not np.isfinite(values).all():
        raise ValueError("has coordinates that are not finite numbers")
    return values


def _area(kind: str, points: Points) -> Area:
    if kind in _LINES:
        return stroke(points)
    if kind == "ellipse":
        if len(points) != 4:
            raise ValueError(f"is an ellipse with {len(points)} corners, and not 4")
        first, second, third, fourth = points
        return ellipse(
            points.mean(axis=0), (second + third - first - fourth) / 4, (third + fourth - first - second) / 4
        )
    if kind in ("polygon", "rectangle"):
        return polygon(points)
    raise ValueError(f"is of the type {kind}, and no polygon, rectangle, ellipse, path or line")


def _frame(places: Points) -> int | None:
    """The frame from the places (n, axes) of the corners on the axes before row and column."""
    first = np.rint(places[0]).astype(int).tolist()
    if (np.rint(places) != first).any():
        raise ValueError("lies on several frames")
    if len(first) > 2:
        raise ValueError(f"has {len(first) + 2} axes, and an image here has a row, a column and one more")
    return frame_of(first[0], first[1] if len(first) > 1 else 0) if first else None
