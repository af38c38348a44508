"""`bioseg predict` on OME-Zarr images and plates: masks as TIFFs, and as labels in the folder of the images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
import zarr
from click.testing import Result
from conftest import discs
from helpers.models import save_random_model, write_image
from helpers.ome_zarr import write_ome_zarr, write_plate

Bioseg = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_image_gives_the_mask_of_the_same_pixels_in_a_tiff(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    pixels = discs(0)[0][0]
    write_image(tmp_path / "tiff.tif", pixels)
    image = write_ome_zarr(tmp_path / "image.ome.zarr", pixels, "yx", zarr_format=3)
    for options in ((), ("--skip-existing",)):
        result = bioseg("predict", model, tmp_path / "tiff.tif", image, "--out", tmp_path / "out", *options)
        assert result.exit_code == 0, result.output
    record = yaml.safe_load((tmp_path / "out" / "predictions.yaml").read_text())
    assert record["counts"]["skipped"] == 2
    assert record["files"][1]["pixel_size"] == {"y": 0.5, "x": 0.5, "unit": "µm"}
    mask = tifffile.imread(tmp_path / "out" / "image.tif")
    np.testing.assert_array_equal(mask, tifffile.imread(tmp_path / "out" / "tiff.tif"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_of_a_plate_are_the_masks_and_leave_the_images_alone(
    bioseg: Bioseg, model: Path, tmp_path: Path, zarr_format: int
) -> None:
    fields = {name: discs(seed)[0][0] for seed, name in enumerate(("A/1/0", "A/1/1", "A/2/0"))}
    plate = write_plate(tmp_path / "plate.zarr", fields, zarr_format=zarr_format)
    before = content(plate)
    assert bioseg("predict", model, plate, "--out", tmp_path / "out").exit_code == 0
    result = bioseg("predict", model, plate, "--out", plate)
    assert result.exit_code == 0, result.output
    assert {name: data for name, data in content(plate).items() if "labels" not in name} == before
    for name in fields:
        labels: Any = zarr.open_group(plate / name / "labels" / "model", mode="r")["0"]
        mask = tifffile.imread(tmp_path / "out" / f"plate-{name.replace('/', '-')}.tif")
        np.testing.assert_array_equal(labels[...], mask)
    record = yaml.safe_load((tmp_path / "plate-model-predictions.yaml").read_text())
    assert record["files"][2]["outputs"] == ["A/2/0/labels/model"] and record["status"] == "finished"
    refused = bioseg("predict", model, plate, "--out", plate)
    assert refused.exit_code == 2 and "--overwrite" in refused.stderr
    assert bioseg("predict", model, plate, "--out", plate, "--overwrite").exit_code == 0


def test_the_record_of_other_labels_in_the_same_folder_is_not_replaced_unasked(
    bioseg: Bioseg, model: Path, tmp_path: Path
) -> None:
    plate = write_plate(tmp_path / "plate.zarr", {name: discs(0)[0][0] for name in ("A/1/0", "A/2/0")})
    record = tmp_path / "plate-model-predictions.yaml"
    assert bioseg("predict", model, plate / "A/1/0", "--out", plate).exit_code == 0
    before = record.read_bytes()
    second = ("predict", model, plate / "A/2/0", "--out", plate)
    refused = bioseg(*second)
    assert refused.exit_code == 2 and record.name in refused.stderr and record.read_bytes() == before
    assert not (plate / "A/2/0/labels").exists()
    assert bioseg(*second, "--overwrite").exit_code == 0
    assert yaml.safe_load(record.read_text())["files"][0]["outputs"] == ["A/2/0/labels/model"]


def test_two_images_of_one_name_both_have_their_labels(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    pixels = discs(0, size=96)[0][0]
    inside = write_ome_zarr(tmp_path / "p" / "a.zarr" / "0", pixels, "yx")
    root = write_ome_zarr(tmp_path / "q" / "a-0.zarr", pixels, "yx")
    result = bioseg("predict", model, inside, root, "--out", tmp_path / "new.zarr", "--tile", 64)
    assert result.exit_code == 0 and "2 masks written" in result.stdout, result.output
    assert all((tmp_path / "new.zarr" / place / "labels" / "model").is_dir() for place in ("0", "."))


def test_labels_go_into_another_folder_unless_it_holds_another_image(
    bioseg: Bioseg, model: Path, tmp_path: Path
) -> None:
    pixels = discs(0)[0][0]
    image, other = (write_ome_zarr(tmp_path / name, pixels, "yx") for name in ("a.zarr", "b.zarr"))
    refused = bioseg("predict", model, image, "--out", other)
    assert refused.exit_code == 2 and "holds an image" in refused.stderr
    assert bioseg("predict", model, image, "--out", tmp_path / "new.zarr").exit_code == 0
    group = zarr.open_group(tmp_path / "new.zarr" / "labels" / "model", mode="r")
    label: Any = group.attrs["image-label"]
    assert (tmp_path / "new.zarr" / "labels" / "model" / label["source"]["image"]).resolve() == image.resolve()


def test_parts_write_labels_into_one_folder_and_never_two_the_same(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    pixels = discs(0)[0][0]
    image, other = (write_ome_zarr(tmp_path / name, pixels, "yx") for name in ("a.zarr", "b.zarr"))
    for part in ("1/2", "2/2"):
        refused = bioseg("predict", model, image, other, "--out", tmp_path / "new.zarr", "--part", part)
        assert refused.exit_code == 2 and "would have the same labels" in refused.stderr
    plate = write_plate(tmp_path / "plate.zarr", {"A/1/0": pixels, "A/2/0": pixels})
    for part in ("1/2", "2/2"):
        result = bioseg("predict", model, plate, "--out", plate, "--part", part)
        assert result.exit_code == 0, result.output


def test_what_has_no_place_in_an_ome_zarr_folder_is_refused(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    image = write_ome_zarr(tmp_path / "b.zarr", discs(0)[0][0], "yx")
    refused = bioseg("predict", model, tmp_path / "a.tif", "--out", image)
    assert refused.exit_code == 2 and "Only OME-Zarr images" in refused.stderr
    for options in (("--overlay",), ("--probabilities",), ("--skip-existing",), ("--jobs", "2")):
        refused = bioseg("predict", model, image, "--out", image, *options)
        assert refused.exit_code == 2 and options[0] in refused.stderr
    assert not (image / "labels").exists()


def test_the_package_that_is_missing_is_named_before_anything_is_predicted(
    bioseg: Bioseg, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_ome_zarr(tmp_path / "a.zarr", discs(0)[0][0], "yx")
    for name in ("io.ome_zarr", "io.zarr_labels", "prediction.zarr_masks"):
        monkeypatch.delitem(sys.modules, f"bioseg_cli.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "zarr", None)
    result = bioseg("predict", model, image, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "pip install 'bioseg[zarr]'" in result.stderr
    assert not (tmp_path / "out").exists()
