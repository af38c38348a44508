"""Selections of ImageJ: their pixels, classes and frames, and what is refused."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import roifile
from helpers.drawn import (
    bounded,
    composite,
    labelled_frames,
    make_stacks,
    mask,
    only,
    polygon_roi,
    prepared,
    roi_with_number,
    square,
    with_fields,
)
from roifile import ROI_SUBTYPE, ROI_TYPE

from bioseg_cli.annotations import imagej
from bioseg_cli.errors import DataError

ROWS, COLUMNS = np.mgrid[:64, :64] + 0.5


def read(tmp_path: Path, data: bytes | roifile.ImagejRoi, name: str = "a.roi"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.tobytes())
    return only(path).shapes


def archive(path: Path, **entries: bytes | roifile.ImagejRoi) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(f"{name}.roi", data if isinstance(data, bytes) else data.tobytes())
    return path


def box(rows: slice, columns: slice) -> np.ndarray:
    inside = np.zeros((64, 64), dtype=bool)
    inside[rows, columns] = True
    return inside


def ellipse(x: float, y: float, half_width: float, half_height: float, angle: float = 0.0) -> np.ndarray:
    along = (COLUMNS - x) * np.cos(angle) + (ROWS - y) * np.sin(angle)
    across = (ROWS - y) * np.cos(angle) - (COLUMNS - x) * np.sin(angle)
    return (along / half_width) ** 2 + (across / half_height) ** 2 <= 1


def integer_roi(kind: ROI_TYPE, points: list[tuple[int, int]], **fields: object) -> roifile.ImagejRoi:
    return with_fields(roifile.ImagejRoi.frompoints(np.array(points)), roitype=kind, **fields)


DIAMOND = [(20, 10), (30, 20), (20, 30), (10, 20)]
LINE = {"roitype": ROI_TYPE.LINE, "x1": 4.0, "y1": 9.0, "x2": 30.0, "y2": 9.0}


@pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
def test_corners_of_areas_count_from_the_corner_of_the_image(tmp_path, kind) -> None:
    (shape,) = read(tmp_path, integer_roi(kind, [(2, 3), (12, 3), (12, 9), (2, 9)]))
    np.testing.assert_array_equal(mask(shape), box(slice(3, 9), slice(2, 12)))
    (shape,) = read(tmp_path, polygon_roi(np.array(DIAMOND) + np.array([0.25, 0.125]), roitype=kind))
    np.testing.assert_array_equal(mask(shape), np.abs(COLUMNS - 20.25) + np.abs(ROWS - 20.125) < 10)
    assert not shape.thin


def test_rectangles_and_ovals(tmp_path) -> None:
    (shape,) = read(tmp_path, bounded(ROI_TYPE.RECT, 5, 6, 20, 16))
    np.testing.assert_array_equal(mask(shape), box(slice(6, 16), slice(5, 20)))
    (shape,) = read(tmp_path, bounded(ROI_TYPE.OVAL, 10, 20, 41, 38))
    np.testing.assert_array_equal(mask(shape), ellipse(25.5, 29, 15.5, 9))
    fine = {"options": roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION, "xd": 10.3, "yd": 20.2, "widthd": 9.9, "heightd": 5.1}
    (shape,) = read(tmp_path, bounded(ROI_TYPE.RECT, 10, 20, 20, 25, **fine))
    np.testing.assert_array_equal(mask(shape), box(slice(20, 25), slice(10, 20)))
    (shape,) = read(tmp_path, bounded(ROI_TYPE.OVAL, 10, 20, 20, 25, **fine))
    np.testing.assert_array_equal(mask(shape), ellipse(15.25, 22.75, 4.95, 2.55))


def test_the_corners_of_a_rectangle_may_be_round(tmp_path) -> None:
    (shape,) = read(tmp_path, bounded(ROI_TYPE.RECT, 10, 10, 40, 30, rounded_rect_arc_size=12))
    inner = np.maximum(np.abs(COLUMNS - 25) - 9, 0) ** 2 + np.maximum(np.abs(ROWS - 20) - 4, 0) ** 2 <= 36
    np.testing.assert_array_equal(mask(shape), inner)


def test_slanted_ellipses_and_rectangles(tmp_path) -> None:
    axis = {"x1": 12.0, "y1": 20.0, "x2": 44.0, "y2": 44.0}  # 40 long
    roi = integer_roi(ROI_TYPE.FREEHAND, DIAMOND, subtype=ROI_SUBTYPE.ELLIPSE, **axis)
    (shape,) = read(tmp_path, roi_with_number(roi, 0.3))
    np.testing.assert_array_equal(mask(shape), ellipse(28, 32, 20, 6, np.arctan2(24, 32)))
    roi = integer_roi(ROI_TYPE.FREEHAND, DIAMOND, subtype=ROI_SUBTYPE.ROTATED_RECT, **axis)
    (shape,) = read(tmp_path, roi_with_number(roi, 9.1))
    along = (COLUMNS - 28) * 0.8 + (ROWS - 32) * 0.6
    across = (ROWS - 32) * 0.8 - (COLUMNS - 28) * 0.6
    np.testing.assert_array_equal(mask(shape), (np.abs(along) < 20) & (np.abs(across) < 4.55))


def test_compound_selections_have_holes_and_islands(tmp_path) -> None:
    rings = [square(4, 4, 40, 40), square(10, 10, 30, 30), square(15, 15, 20, 20)]
    (shape,) = read(tmp_path, composite(rings))
    expected = box(slice(4, 40), slice(4, 40)) ^ box(slice(10, 30), slice(10, 30)) ^ box(slice(15, 20), slice(15, 20))
    np.testing.assert_array_equal(mask(shape), expected)


def test_lines_are_strokes_between_centres_of_pixels(tmp_path) -> None:
    (shape,) = read(tmp_path, with_fields(roifile.ImagejRoi(), **LINE))
    np.testing.assert_array_equal(mask(shape), box(slice(9, 10), slice(4, 31)))
    assert shape.thin
    for width in ({"stroke_width": 5}, {"float_stroke_width": 5.0}):
        (shape,) = read(tmp_path, with_fields(roifile.ImagejRoi(), name="wide", **LINE, **width))
        beyond = np.maximum(np.abs(COLUMNS - 17.5) - 13, 0)
        np.testing.assert_array_equal(mask(shape), beyond**2 + (ROWS - 9.5) ** 2 <= 2.5**2)
    for kind in (ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE):
        (shape,) = read(tmp_path, integer_roi(kind, [(5, 5), (15, 5), (15, 12)]))
        expected = box(slice(5, 6), slice(5, 16)) | box(slice(5, 13), slice(15, 16))
        np.testing.assert_array_equal(mask(shape), expected)


def test_points_are_single_pixels_each_on_its_frame(tmp_path) -> None:
    roi = integer_roi(ROI_TYPE.POINT, [(5, 6), (63, 0), (0, 63)])
    shapes = read(tmp_path, roi)
    assert [np.argwhere(mask(shape)).tolist() for shape in shapes] == [[[6, 5]], [[0, 63]], [[63, 0]]]
    shapes = read(tmp_path, with_fields(roifile.ImagejRoi.frompoints(np.array([(5.4, 6.6)])), roitype=ROI_TYPE.POINT))
    assert np.argwhere(mask(shapes[0])).tolist() == [[7, 5]]
    placed = {"counters": np.zeros(3, np.uint8), "counter_positions": np.array([2, 0, 4], np.uint32)}
    shapes = read(tmp_path, with_fields(roi, position=3, name="p", **placed))
    assert [shape.frame for shape in shapes] == [1, 2, 3]
    with pytest.raises(DataError, match="has points on several planes of a hyperstack"):
        read(tmp_path, with_fields(roi, position=0, z_position=2))


@pytest.mark.parametrize(
    ("fields", "class_name"),
    [
        ({"name": "nucleus"}, "nucleus"),
        ({"name": "nucleus-12"}, "nucleus"),
        ({"name": "T-cell"}, "T-cell"),
        ({"name": "0034-0051"}, None),
        ({"name": "0002-0034-0051"}, None),
        ({"name": "nucleus", "group": 3}, "group 3"),
        ({"name": "0034-0051", "group": 300}, "group 300"),
    ],
)
def test_the_class_is_the_group_or_the_name(tmp_path, fields, class_name) -> None:
    roi = bounded(ROI_TYPE.RECT, 5, 6, 20, 16, **fields)
    (shape,) = only(archive(tmp_path / "a.zip", entry=roi)).shapes
    assert shape.class_name == class_name


def test_a_selection_without_a_name_is_called_like_its_entry_and_one_saved_alone_has_no_class(tmp_path) -> None:
    roi = bounded(ROI_TYPE.RECT, 5, 6, 20, 16)
    (shape,) = only(archive(tmp_path / "a.zip", nucleus=roi)).shapes
    assert shape.class_name == "nucleus"
    assert read(tmp_path, roi)[0].class_name is None
    assert read(tmp_path, with_fields(roi, name="a"))[0].class_name is None
    assert read(tmp_path, with_fields(roi, name="cell"))[0].class_name == "cell"


@pytest.mark.parametrize(
    ("fields", "frame"),
    [
        ({}, None),
        ({"position": 3}, 2),
        ({"t_position": 4, "z_position": 1, "c_position": 2}, 3),
        ({"z_position": 5}, 4),
        ({"c_position": 2, "z_position": 1, "t_position": 1, "position": 2}, 0),
    ],
)
def test_the_frame_is_the_position_in_the_stack(tmp_path, fields, frame) -> None:
    # roifile writes the positions of a hyperstack beside a name.
    (shape,) = read(tmp_path, bounded(ROI_TYPE.RECT, 5, 6, 20, 16, name="cell", **fields))
    assert shape.frame == frame


def curve() -> bytes:
    data = bytearray(composite([square(4, 4, 40, 40)]))
    data[64 + 12 : 64 + 16] = struct.pack(">f", 3)
    return bytes(data)


def cut_name() -> bytes:
    return bounded(ROI_TYPE.RECT, 5, 6, 20, 16, name="nucleus").tobytes()[:-6]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Selection a cannot be read (ImageJ ROI data too short"),
        (b"x" * 99, "Selection a cannot be read (not an ImageJ ROI"),
        (integer_roi(ROI_TYPE.POLYGON, DIAMOND).tobytes()[:70], "Selection a cannot be read"),
        (cut_name(), "Selection a cannot be read (ImagejRoi name exceeds data size"),
        (composite([square(3, 3, 9, 3)[:2]]), "Selection a encloses no area"),
        (curve(), "Selection a holds curves"),
        (integer_roi(ROI_TYPE.ANGLE, DIAMOND[:3]), "Selection a is of the type angle"),
        (bounded(ROI_TYPE.RECT, 1, 1, 9, 9, subtype=ROI_SUBTYPE.IMAGE), "Selection a cannot be read"),
        (with_fields(roifile.ImagejRoi(), **LINE, subtype=ROI_SUBTYPE.ARROW), "Selection a is an arrow"),
        (bounded(ROI_TYPE.RECT, 5, 5, 5, 9), "Selection a encloses no area"),
        (polygon_roi(np.array(DIAMOND), subpixel_coordinates=np.full((4, 2), np.nan)), "not finite numbers"),
        (bounded(ROI_TYPE.RECT, 1, 1, 9, 9, name="x", t_position=2, z_position=3), "time point 1 of plane 2"),
        (
            with_fields(integer_roi(ROI_TYPE.POINT, DIAMOND[:2]), counters=np.array([0, 1], np.uint8)),
            "Selection a has points of several counters",
        ),
    ],
)
def test_damage_and_what_is_no_area_is_refused(tmp_path, data, said) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    assert said in str(caught.value)


def test_archives_that_are_none_or_unpack_to_too_much_are_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="The archive cannot be read"):
        only(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.roi", bytes(3 * 2**20))
    monkeypatch.setattr(imagej, "_MOST_BYTES", 2**20)
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="more than 1 MiB"):
        only(path)
    (tmp_path / "b.roi").write_bytes(bytes(3 * 2**20))
    with pytest.raises(DataError, match="more than 1 MiB"):
        only(tmp_path / "b.roi")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.roi", bounded(ROI_TYPE.RECT, 1, 1, 9, 9).tobytes())
        file.writestr("a.txt", "words")
    with pytest.raises(DataError, match=r"and another file: a\.txt"):
        only(path)


def test_selections_of_a_stack_are_drawn_on_their_frames_and_others_are_refused(bioseg, blank_images) -> None:
    make_stacks(blank_images)
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        roi = bounded(ROI_TYPE.RECT, 5, 6, 20, 16, position=1 + number % 3, name="cell")
        archive(drawn / f"RoiSet_a{number}.zip", outline=roi)
    dataset, _ = prepared(bioseg, blank_images, drawn)
    assert labelled_frames(dataset) == {f"a{number}": [(number % 3, 150)] for number in range(6)}
    archive(drawn / "RoiSet_a0.zip", outline=bounded(ROI_TYPE.RECT, 5, 6, 20, 16, name="cell"))
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    assert "Selection outline was drawn on no frame in particular" in " ".join(result.output.split())
