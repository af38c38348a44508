"""`bioseg predict --level`: a level of a pyramid is predicted as if it was an image of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs, write_discs
from helpers.models import record_of, save_random_model, write_image
from helpers.ome_zarr import write_ome_zarr
from helpers.pyramids import level_of, write_ome_pyramid

from bioseg_cli.io.pixel_size import PixelSize

Bioseg = Callable[..., Result]

PIXELS = np.kron(discs(0, 64)[0][0], np.ones((2, 2), np.uint16))
"""Of 128 x 128 pixels; level 1 is the image of the discs."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def test_the_mask_and_the_pixel_size_are_those_of_the_level(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    slide = write_ome_pyramid(tmp_path / "slide.ome.tif", PIXELS, size=0.25)
    zarr = write_ome_zarr(tmp_path / "zarr.zarr", PIXELS, "yx", size=0.25)
    write_image(tmp_path / "alone.tif", level_of(PIXELS, 1), size=0.5)
    result = bioseg("predict", model, slide, zarr, "--level", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "pixel size" not in result.output  # 0.5 µm is that of the training images, 0.25 µm is not
    assert bioseg("predict", model, tmp_path / "alone.tif", "--out", tmp_path / "out-alone").exit_code == 0
    expected = tifffile.imread(tmp_path / "out-alone" / "alone.tif")
    for entry in record_of(tmp_path / "out")["files"]:
        assert PixelSize.from_json(entry["pixel_size"]) == PixelSize(0.5, 0.5)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / entry["outputs"][0]), expected)


def test_outlines_for_qupath_count_in_pixels_of_the_full_resolution(
    bioseg: Bioseg, model: Path, tmp_path: Path
) -> None:
    write_ome_pyramid(tmp_path / "slide.ome.tif", PIXELS)
    write_image(tmp_path / "alone.tif", level_of(PIXELS, 1), size=1.0)
    for name, level in (("slide.ome.tif", 1), ("alone.tif", 0)):
        options = ("--objects", "--level", level, "--out", tmp_path / f"out{level}")
        assert bioseg("predict", model, tmp_path / name, *options).exit_code == 0
    full, alone = (
        json.loads((tmp_path / place).read_text())["features"]
        for place in ("out1/objects/slide.geojson", "out0/objects/alone.geojson")
    )
    assert len(full) == len(alone) > 1

    def doubled(corners: list) -> list:
        return [doubled(inner) if isinstance(inner, list) else 2 * inner for inner in corners]

    for found, expected in zip(full, alone, strict=True):
        assert found["geometry"]["coordinates"] == doubled(expected["geometry"]["coordinates"])
        assert found["properties"]["measurements"] == expected["properties"]["measurements"]


def test_an_image_without_the_level_is_left_out(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_ome_pyramid(tmp_path / "a.ome.tif", PIXELS)
    write_image(tmp_path / "b.tif", PIXELS)
    result = bioseg("predict", model, tmp_path, "--level", 1, "--out", tmp_path / "out")
    assert result.exit_code == 1
    (failure,) = record_of(tmp_path / "out")["failures"]
    assert failure["name"] == "b" and "no level 1" in failure["error"] and "0 (128 x 128)" in failure["error"]


def test_another_level_is_predicted_again(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "a.zarr", PIXELS, "yx")
    for level, counts in ((1, (1, 0, 0)), (1, (0, 0, 1)), (0, (0, 1, 0))):
        options = ("--level", level, "--skip-existing", "--out", tmp_path / "out")
        result = bioseg("predict", model, tmp_path / "a.zarr", *options)
        assert result.exit_code == 0, result.output
        found = record_of(tmp_path / "out")["counts"]
        assert (found["predicted"], found["predicted_again"], found["skipped"]) == counts
    assert tifffile.imread(tmp_path / "out" / "a.tif").shape == (128, 128)


def test_what_has_no_levels_is_refused_at_once(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_discs(tmp_path / "d.h5", ("train", "val"))
    write_ome_zarr(tmp_path / "a.zarr", PIXELS, "yx")
    (tmp_path / "brain.nii.gz").write_bytes(b"")
    for source, out, said in (
        ("d.h5", "out", "Volumes and data sets have no levels"),
        ("brain.nii.gz", "out", "Volumes and data sets have no levels"),
        ("a.zarr", "a.zarr", "labels in an OME-Zarr folder have every level"),
    ):
        result = bioseg("predict", model, tmp_path / source, "--level", 1, "--out", tmp_path / out)
        assert result.exit_code == 2 and said in " ".join(result.output.split()), result.output
    assert not (tmp_path / "out").exists()
