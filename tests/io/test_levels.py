"""Levels of pyramids: their pixels and pixel sizes, and what is said where a level is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.ome_zarr import write_ome_zarr
from helpers.pyramids import level_of, write_ome_pyramid, write_paged_pyramid
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile, inspect_image, read_frame, sha256_of_image
from bioseg_cli.io.levels import reduction
from bioseg_cli.io.pixel_size import PixelSize

Write = Callable[[Path, np.ndarray], Path]

PIXELS = np.random.default_rng(0).integers(500, 3200, (203, 260)).astype(np.uint16)

WRITERS: dict[str, Write] = {
    "ome.tif": write_ome_pyramid,
    "tif": write_paged_pyramid,
    "2.zarr": lambda path, pixels: write_ome_zarr(path, pixels, "yx", zarr_format=2, levels=3),
    "3.zarr": lambda path, pixels: write_ome_zarr(path, pixels, "yx", zarr_format=3, levels=3),
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_is_read_with_its_pixel_size(tmp_path: Path, suffix: str, level: int) -> None:
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", PIXELS)
    expected = level_of(PIXELS, level)
    with ImageFile(path, Stacks(level=level)) as file:
        assert (file.info.height, file.info.width) == expected.shape
        assert file.info.pixel_size == PixelSize(0.5 * 2**level, 0.5 * 2**level)
        assert file.info.reduction == (2**level, 2**level)
        np.testing.assert_array_equal(file.read()[0], expected)
        np.testing.assert_array_equal(file.read(0, slice(9, 40), slice(3, 50))[0], expected[9:40, 3:50])


@pytest.mark.parametrize("suffix", WRITERS)
def test_without_a_choice_it_is_the_full_resolution(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", PIXELS)
    assert inspect_image(path) == inspect_image(path, Stacks())
    np.testing.assert_array_equal(read_frame(path)[0], PIXELS)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_level_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", PIXELS)
    with pytest.raises(DataError, match=r"no level 3.*: 0 \(203 x 260\), 1 \(102 x 130\), 2 \(51 x 65\)\n"):
        inspect_image(path, Stacks(level=3))


def test_an_image_without_a_pyramid_has_level_0_alone(tmp_path: Path) -> None:
    Image.fromarray(PIXELS.astype(np.uint8)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    for name in ("a.png", "a.tif"):
        assert inspect_image(tmp_path / name, Stacks(level=0)).height == 203
        with pytest.raises(DataError, match=r"no level 1.*: 0 \(203 x 260\)\n"):
            inspect_image(tmp_path / name, Stacks(level=1))


def test_frames_and_channels_of_a_level_are_those_of_the_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 70, 90)).astype(np.uint16)
    path = write_ome_pyramid(tmp_path / "a.ome.tif", pixels, "TCZYX", photometric="minisblack")
    with ImageFile(path, Stacks(planes=True, level=1)) as file:
        assert (file.info.frames, file.info.channels) == (8, 3) and file.info.stack == {"T": 2, "Z": 4}
        for frame in range(8):
            np.testing.assert_array_equal(file.read(frame), pixels[frame // 4, :, frame % 4, ::2, ::2])


def test_colours_of_a_level_are_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 160, 3)).astype(np.uint8)
    path = write_ome_pyramid(tmp_path / "a.ome.tif", pixels, "YXS", photometric="rgb")
    with ImageFile(path, Stacks(level=2)) as file:
        assert file.info.channel_names == ("red", "green", "blue")
        np.testing.assert_array_equal(file.read(), pixels[::4, ::4].transpose(2, 0, 1))


def test_a_level_of_a_turned_image_is_turned(tmp_path: Path) -> None:
    turned = [(274, "H", 1, 6, False)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(PIXELS, subifds=1, tile=(32, 32), metadata=None, extratags=turned)
        tif.write(np.ascontiguousarray(PIXELS[::2, ::2]), subfiletype=1, tile=(32, 32), metadata=None)
    with ImageFile(tmp_path / "a.tif", Stacks(level=1)) as file:
        assert (file.info.height, file.info.width) == (130, 102) and file.info.reduction == (2, 2)
        np.testing.assert_array_equal(file.read()[0], np.rot90(PIXELS[::2, ::2], -1))


def test_the_hash_of_an_ome_zarr_image_is_that_of_the_level(tmp_path: Path) -> None:
    first = write_ome_zarr(tmp_path / "a.zarr", PIXELS, "yx")
    other = PIXELS.copy()
    other[1::2] += 1  # which level 1 does not show
    second = write_ome_zarr(tmp_path / "b.zarr", other, "yx")
    assert sha256_of_image(first, 1) == sha256_of_image(second, 1) != sha256_of_image(first)
    assert sha256_of_image(first) != sha256_of_image(second)


@pytest.mark.parametrize(
    ("full", "reduced", "factor"),
    [
        *((1001, 501, 2), (1001, 500, 2), (1000, 250, 4), (1001, 8, 128), (46000, 2875, 16), (7, 7, 1)),
        *((999, 333, 3), (1000, 600, 1000 / 600)),
    ],
)
def test_sides_that_were_rounded_give_the_factor_of_the_writer(full: int, reduced: int, factor: float) -> None:
    assert reduction(full, reduced) == factor
