"""Measurements of objects beside shapes whose size is known, and the tables of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.blobs import disc, random_objects

from bioseg_cli.errors import DataError
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.objects.instances import Objects
from bioseg_cli.objects.measurements import measured
from bioseg_cli.objects.tables import join_tables, write_parquet, write_rows

CLASSES = ("background", "cell", "rim")


def objects(numbers: np.ndarray) -> Objects:
    return Objects(numbers.astype(np.int32), np.ones(int(numbers.max()), dtype=np.int64))


def test_a_rectangle_has_its_sides_in_the_unit_of_the_image() -> None:
    numbers = np.zeros((20, 30), np.int32)
    numbers[2:6, 10:20] = 1
    pixels = np.arange(2 * 600, dtype=np.uint16).reshape(2, 20, 30)
    (row,) = measured(objects(numbers), pixels, PixelSize(0.5, 0.5), CLASSES)
    expected = {
        "object": 1, "class": "cell", "pixels": 40, "area_um2": 10, "centroid_x_um": 7.5, "centroid_y_um": 2,
        "left_um": 5, "top_um": 1, "right_um": 10, "bottom_um": 3, "solidity": 1, "cut_by_edge": False,
        "intensity_mean_c1": pixels[0, 2:6, 10:20].mean(), "intensity_min_c1": 70, "intensity_max_c1": 169,
        "intensity_mean_c2": pixels[1, 2:6, 10:20].mean(), "intensity_min_c2": 670, "intensity_max_c2": 769,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["eccentricity"] == pytest.approx(np.sqrt(1 - (4**2 - 1) / (10**2 - 1)), abs=0.01)


def test_a_disc_has_the_perimeter_and_axes_of_a_circle() -> None:
    pixels = np.zeros((1, 100, 100), np.float32)
    (row,) = measured(objects(disc(100, 100, 50, 50, 30)), pixels, PixelSize(2.0, 2.0, "nm"), CLASSES)
    assert row["perimeter_nm"] == pytest.approx(2 * np.pi * 60, rel=0.02)
    assert row["major_axis_nm"] == pytest.approx(120, rel=0.02) and row["minor_axis_nm"] == row["major_axis_nm"]
    assert row["area_nm2"] == pytest.approx(np.pi * 60**2, rel=0.02)
    (row,) = measured(objects(disc(100, 100, 50, 50, 30)), pixels, None, CLASSES)
    assert row["perimeter_px"] == pytest.approx(2 * np.pi * 30, rel=0.02) and row["centroid_y_px"] == 50.5


def test_pixels_that_are_not_square_stretch_lengths_and_leave_the_perimeter_out() -> None:
    (row,) = measured(objects(disc(100, 100, 50, 40, 30)), np.zeros((1, 100, 100)), PixelSize(1.0, 3.0), CLASSES)
    assert row["perimeter_um"] is None
    assert row["major_axis_um"] == pytest.approx(180, rel=0.02) and row["minor_axis_um"] == pytest.approx(60, rel=0.02)
    assert (row["centroid_x_um"], row["centroid_y_um"]) == (121.5, 50.5)


def test_any_object_can_be_measured_without_a_warning() -> None:
    for seed in range(4):
        numbers = random_objects(seed)
        numbers[0, :3], numbers[-1, -1] = numbers.max() + 1, numbers.max() + 2
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rows = measured(objects(numbers), np.ones((1, *numbers.shape)), None, CLASSES)
        assert [row["pixels"] for row in rows] == np.bincount(numbers.ravel())[1:].tolist()
        assert all(0 < row["solidity"] <= 1 and row["intensity_min_c1"] == 1 for row in rows)
        touching = {*numbers[0], *numbers[-1], *numbers[:, 0], *numbers[:, -1]}
        assert [row["cut_by_edge"] for row in rows] == [row["object"] in touching for row in rows]


def test_tables_of_other_columns_are_joined_and_read_as_they_were(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [{"image": "001", "class": "NA", "area_um2": 2.5}])
    write_rows(tmp_path / "empty.csv", [])
    write_rows(tmp_path / "b.csv", [{"image": "b, c", "class": "rim", "area_px2": 3}])
    join_tables([tmp_path / f"{name}.csv" for name in ("a", "empty", "b")], tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines == ["image,class,area_um2,area_px2", "001,NA,2.5,", '"b, c",rim,,3']
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "all.csv", tmp_path / "all.parquet")
    frame = pandas.read_parquet(tmp_path / "all.parquet")
    assert frame["image"].tolist() == ["001", "b, c"] and frame["class"].tolist() == ["NA", "rim"]
    assert frame["area_um2"][0] == 2.5 and frame["area_px2"][1] == 3
    join_tables([tmp_path / "empty.csv"], tmp_path / "none.csv")
    write_parquet(tmp_path / "none.csv", tmp_path / "none.parquet")
    assert len(pandas.read_parquet(tmp_path / "none.parquet")) == 0


@pytest.mark.parametrize(
    "content",
    [b"image,class\na,cell,3\n", b"image,class\na,\xff\n", b"image\xff,class\n", b"image\n" + b"a" * 200_000 + b"\n"],
    ids=["too many cells", "no text", "no text in the header", "a cell too long"],
)
def test_a_table_that_somebody_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match="The table of objects is damaged") as caught:
        join_tables([tmp_path / "a.csv"], tmp_path / "all.csv")
    assert caught.value.where == str(tmp_path / "a.csv") and not (tmp_path / "all.csv").exists()


def test_a_table_that_somebody_removed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The table of objects is gone") as caught:
        join_tables([tmp_path / "a.csv"], tmp_path / "all.csv")
    assert caught.value.where == str(tmp_path / "a.csv") and not (tmp_path / "all.csv").exists()
