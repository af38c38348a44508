"""Outlines of objects, as GeoJSON and as ROIs, give the pixels back that they were made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import roifile
from helpers.blobs import random_objects
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from bioseg_cli.annotations.geojson import annotation
from bioseg_cli.annotations.raster import covered
from bioseg_cli.config import ClassInfo
from bioseg_cli.objects.outlines import outlines
from bioseg_cli.objects.shapes import OutlinedObject, write_geojson, write_rois

CELL = ClassInfo(name="cell", colour=(255, 180, 0))


def corner_objects() -> NDArray[np.int32]:
    """What outlines easily get wrong, in 7 x 8 pixels up to every edge."""
    return np.array(
        [
            [1, 1, 0, 2, 0, 3, 3, 3],
            [1, 1, 2, 0, 0, 3, 0, 3],  # 2: pixels that touch by corners; 3: a hole
            [0, 0, 0, 2, 0, 3, 3, 3],
            [4, 4, 4, 0, 0, 0, 0, 0],
            [4, 5, 4, 0, 6, 6, 0, 0],  # 5: one pixel in the hole of 4
            [4, 4, 4, 0, 6, 0, 6, 0],  # 6: a hole that touches the outside by a corner
            [7, 0, 7, 0, 6, 6, 6, 8],  # 7: two pieces
        ],
        dtype=np.int32,
    )


MAPS = [corner_objects(), *map(random_objects, range(12)), np.ones((3, 4), np.int32), np.zeros((3, 4), np.int32)]


def outlined(numbers: NDArray[np.int32], time: int | None = None, plane: int | None = None) -> list[OutlinedObject]:
    return [
        OutlinedObject(number, 1, CELL, outline, time, plane, {"area_um2": 1.5, "class": "cell", "cut_by_edge": True})
        for number, outline in enumerate(outlines(numbers), 1)
    ]


@pytest.mark.parametrize("numbers", MAPS)
def test_geojson_is_read_as_the_same_pixels(numbers: NDArray[np.int32], tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(path, outlined(numbers))
    shapes = annotation(path, json.loads(path.read_text())).shapes
    drawn = np.zeros_like(numbers)
    for number, shape in enumerate(shapes, 1):
        assert shape.class_name == "cell" and not shape.area.repaired
        area = covered(shape.area, *numbers.shape)
        assert not drawn[area.rows, area.columns][area.inside].any()
        drawn[area.rows, area.columns][area.inside] = number
    np.testing.assert_array_equal(drawn, numbers)


@pytest.mark.parametrize("numbers", MAPS)
def test_rois_enclose_the_same_pixels(numbers: NDArray[np.int32], tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_rois(path, outlined(numbers))
    rois = roifile.roiread(path) if numbers.any() else []
    drawn = np.zeros_like(numbers)
    for roi in rois:
        inside = np.zeros(numbers.shape, dtype=bool)
        for ring in roi.coordinates(multi=True) if roi.composite else [roi.coordinates()]:
            # skimage counts from the centre of the first pixel. A ring within a ring is a hole.
            inside ^= polygon2mask(numbers.shape, np.asarray(ring, float)[:, ::-1] - 0.5)
        number = int(roi.name)
        np.testing.assert_array_equal(inside, numbers == number)
        drawn[inside] = number
        assert (roi.group, roi.stroke_color) == (1, bytes((255, 255, 180, 0)))
        rows, columns = np.nonzero(inside)
        assert (roi.left, roi.top) == (columns.min(), rows.min())
    np.testing.assert_array_equal(drawn, numbers)


def test_outlines_have_no_needless_corners() -> None:
    square = np.zeros((9, 9), np.int32)
    square[2:8, 3:6] = 1
    (outline,) = outlines(square)
    assert outline.bounds == (3, 2, 6, 8)
    assert len(outline.geoms[0].exterior.coords) == 5


def test_holes_run_against_their_shell() -> None:
    found = list(outlines(corner_objects()))
    (ring,) = found[2].geoms
    assert ring.exterior.is_ccw and [hole.is_ccw for hole in ring.interiors] == [False]


def test_the_frame_of_an_object_is_written(tmp_path: Path) -> None:
    shapes = outlined(corner_objects(), time=3)
    write_geojson(tmp_path / "a.geojson", shapes)
    document = json.loads((tmp_path / "a.geojson").read_text())
    assert {shape.frame for shape in annotation(tmp_path / "a.geojson", document).shapes} == {3}
    assert document["features"][0]["properties"]["measurements"] == {"area_um2": 1.5}


@pytest.mark.parametrize(
    ("channels", "axes", "t_z_and_page"),
    [
        (1, {"time": 3}, (0, 0, 4)),
        (1, {"plane": 3}, (0, 0, 4)),
        (2, {"time": 3}, (4, 0, 0)),
        (2, {"plane": 3}, (0, 4, 0)),
        (1, {"time": 3, "plane": 1}, (4, 2, 0)),
        (1, {}, (0, 0, 0)),
    ],
)
def test_imagej_finds_the_frame_of_a_roi_in_the_stack_or_the_hyperstack(
    tmp_path: Path, channels: int, axes: dict[str, int], t_z_and_page: tuple[int, int, int]
) -> None:
    write_rois(tmp_path / "a.zip", outlined(corner_objects(), **axes), channels)
    found = {(roi.t_position, roi.z_position, roi.position) for roi in roifile.roiread(tmp_path / "a.zip")}
    assert found == {t_z_and_page}
