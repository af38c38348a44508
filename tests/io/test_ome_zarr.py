"""OME-Zarr images of both versions: axes, pixel sizes, regions, plates, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.ome_zarr import write_ome_zarr, write_plate
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile, inspect_image, sha256_of_image
from bioseg_cli.io.ome_zarr import images_of
from bioseg_cli.io.pixel_size import PixelSize


def noise(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(500, 3200, shape).astype(np.uint16)


def changed(path: Path, **metadata: Any) -> Path:
    """An image of version 0.4 with other metadata of its levels."""
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0] |= metadata
    (path / ".zattrs").write_text(json.dumps(attributes))
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_frames_channels_and_pixel_size_come_from_the_metadata(tmp_path: Path, zarr_format: int) -> None:
    pixels = noise(2, 3, 4, 40, 50)
    path = write_ome_zarr(tmp_path / "a.zarr", pixels, "tczyx", zarr_format=zarr_format)
    with ImageFile(path, Stacks(planes=True)) as file:
        assert (file.info.frames, file.info.channels, file.info.height, file.info.width) == (8, 3, 40, 50)
        assert file.info.stack == {"T": 2, "Z": 4} and file.info.dtype == np.uint16
        assert file.info.pixel_size == PixelSize(0.5, 0.5)
        np.testing.assert_array_equal(file.read(6, slice(7, 39), slice(3, 50)), pixels[1, :, 2, 7:39, 3:50])


def test_axes_in_another_order_of_space_are_turned(tmp_path: Path) -> None:
    pixels = noise(2, 50, 40)
    with ImageFile(write_ome_zarr(tmp_path / "a.zarr", pixels, "cxy")) as file:
        assert (file.info.height, file.info.width) == (40, 50)
        np.testing.assert_array_equal(file.read(0, slice(5, 9)), pixels.transpose(0, 2, 1)[:, 5:9])


def test_a_volume_is_refused_until_its_planes_are_asked_for(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", noise(3, 40, 50), "zyx")
    with pytest.raises(DataError, match="--planes"):
        inspect_image(path, Stacks())
    assert inspect_image(path, Stacks(planes=True)).frames == 3


def test_scales_are_multiplied_and_units_become_micrometres(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", noise(40, 50), "yx", size=250.0)
    units = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    changed(path, axes=units, coordinateTransformations=[{"type": "scale", "scale": [2.0, 4.0]}])
    size = inspect_image(path).pixel_size
    assert size is not None and (size.y, size.x, size.unit) == pytest.approx((0.5, 1.0, "µm"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"version": "0.3"}, "version 0.3; 0.4 and 0.5 are read"),
        ({"axes": [{"name": "y", "type": "space"}, {"name": "u", "type": "space"}]}, r"axes of the image \(y, u\)"),
        ({"axes": [{"name": "y", "type": "space"}]}, r"axes of the image \(y\)"),
        ({"datasets": [{"path": "absent"}]}, "lists the level absent"),
    ],
)
def test_metadata_that_are_not_understood_are_refused(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    path = changed(write_ome_zarr(tmp_path / "a.zarr", noise(40, 50), "yx"), **metadata)
    with pytest.raises(DataError, match=message):
        inspect_image(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plate_has_an_image_for_each_field_of_its_wells(tmp_path: Path, zarr_format: int) -> None:
    fields = {name: noise(33, 34) for name in ("A/1/0", "A/1/1", "A/2/0")}
    plate = write_plate(tmp_path / "plate.zarr", fields, zarr_format=zarr_format)
    assert images_of(plate) == [plate / name for name in fields]
    assert images_of(plate / "A" / "1") == [plate / "A/1/0", plate / "A/1/1"]
    assert images_of(plate / "A/2/0") == [plate / "A/2/0"]
    with pytest.raises(DataError, match="is a plate, and not one image"):
        inspect_image(plate)


@pytest.mark.parametrize(
    ("wells", "said"),
    [
        (3, "metadata of the folder are damaged"),
        ([3], "metadata of the folder are damaged"),
        ([{"path": None}], "metadata of the folder are damaged"),
        ([{}], "metadata of the folder are damaged"),
        ([{"path": "../other.zarr"}], "which is not in the folder"),
        ([{"path": "/somewhere"}], "which is not in the folder"),
        ([{"path": "B/7"}], "could not be read as a Zarr group"),
    ],
)
def test_a_plate_that_lists_no_wells_of_its_own_is_refused(tmp_path: Path, wells: object, said: str) -> None:
    plate = write_plate(tmp_path / "plate.zarr", {"A/1/0": noise(33, 34)})
    described = json.loads((plate / ".zattrs").read_text())
    described["plate"]["wells"] = wells
    (plate / ".zattrs").write_text(json.dumps(described))
    with pytest.raises(DataError, match=said):
        images_of(plate)


@pytest.mark.parametrize("images", [3, {"path": "0"}, [{"path": 0}], [[]]])
def test_a_well_that_lists_no_images_is_refused(tmp_path: Path, images: object) -> None:
    plate = write_plate(tmp_path / "plate.zarr", {"A/1/0": noise(33, 34)})
    described = json.loads((plate / "A/1/.zattrs").read_text())
    described["well"]["images"] = images
    (plate / "A/1/.zattrs").write_text(json.dumps(described))
    with pytest.raises(DataError, match="metadata of the folder are damaged"):
        images_of(plate)


def test_a_folder_without_metadata_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(DataError, match="could not be read as a Zarr group"):
        images_of(tmp_path / "a.zarr")


def test_the_hash_is_that_of_pixels_and_metadata(tmp_path: Path) -> None:
    first = write_ome_zarr(tmp_path / "a.zarr", noise(40, 50), "yx")
    before = sha256_of_image(first)
    assert sha256_of_image(write_ome_zarr(tmp_path / "b.zarr", noise(40, 50), "yx")) == before
    (first / "labels").mkdir()
    (first / "labels" / ".zattrs").write_text("{}")
    assert sha256_of_image(first) == before
    assert sha256_of_image(write_ome_zarr(tmp_path / "c.zarr", noise(40, 50) + 1, "yx")) != before
    assert sha256_of_image(write_ome_zarr(tmp_path / "d.zarr", noise(40, 50), "yx", size=0.6)) != before
