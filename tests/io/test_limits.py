"""Sizes that a header declares: refused before memory is taken, with the limit, which can be raised."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import declared
from PIL import Image

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.images import ImageFile, inspect_image, read_frame
from bioseg_cli.io.limits import GIB, LARGEST, check_declared, check_memory, largest_bytes

SIDE = 400
"""Of images of 160 kB, which compress to nearly nothing."""


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that images of 400 x 400 pixels exceed."""
    monkeypatch.setenv(LARGEST, str(100_000 / GIB))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: declared.png(path.with_suffix(".png"), 10**6, 10**6),
        lambda path: declared.png(path.with_suffix(".png"), 40_000, 40_000),
        lambda path: declared.jpeg(path.with_suffix(".jpg"), 65_500),
        lambda path: declared.bmp(path.with_suffix(".bmp"), 10**6),
        lambda path: declared.tiff(path.with_suffix(".tif"), 10**6, 10**6),
        lambda path: declared.tiff(path.with_suffix(".tif"), 64, 4_000_000_000),
        lambda path: declared.tiff(path.with_suffix(".tif"), 10**6, 10**6, tile=65_536),
        lambda path: declared.tiff(path.with_suffix(".tif"), 64, 40_000_000, rows=40_000_000),
    ],
    ids=["png", "png below Pillow's guard", "jpeg", "bmp", "tiff", "rows", "tiles", "one strip"],
)
def test_a_small_picture_that_declares_much_is_refused_by_its_header(tmp_path: Path, write):
    path = write(tmp_path / "bomb")
    assert path.stat().st_size < 2000
    with pytest.raises(DataError) as caught:
        inspect_image(path)
    assert LARGEST in str(caught.value) and "GiB" in caught.value.what
    assert caught.value.where == str(path)


def whole_images(folder: Path) -> list[Path]:
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels).save(folder / "a.jpg", quality=1)
    tifffile.imwrite(folder / "a.tif", pixels, compression="zlib", rowsperstrip=1)
    return [folder / "a.png", folder / "a.jpg", folder / "a.tif"]


def test_what_inflates_beyond_the_limit_is_refused_and_the_limit_can_be_raised(
    tmp_path: Path, low: None, monkeypatch: pytest.MonkeyPatch
):
    paths = whole_images(tmp_path)
    for path in paths:
        with pytest.raises(DataError, match=f"{SIDE} x {SIDE} pixels.* takes .* GiB of memory, and the limit is"):
            read_frame(path)
    monkeypatch.setenv(LARGEST, str(SIDE * SIDE / GIB))
    for path in paths:
        assert read_frame(path).shape == (1, SIDE, SIDE)


def test_a_file_that_is_as_large_as_its_pixels_needs_no_question(tmp_path: Path, low: None):
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", noise)
    tifffile.imwrite(tmp_path / "c.tif", noise, compression="zlib")
    for name in ("a.png", "b.tif", "c.tif"):
        assert (read_frame(tmp_path / name)[0] == noise).all()


def test_a_large_image_may_still_be_read_row_by_row(tmp_path: Path, low: None):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 4, (SIDE, SIDE), dtype=np.uint8)
    tifffile.imwrite(path, np.concatenate([noise, np.zeros_like(noise)]), compression="zlib", rowsperstrip=8)
    with ImageFile(path) as file:
        assert (file.read(0, slice(0, 100))[0] == noise[:100]).all()
        with pytest.raises(DataError, match="the limit"):
            file.read(0)


def test_the_limit_is_one_gibibyte_unless_it_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(LARGEST, raising=False)
    assert largest_bytes() == GIB
    monkeypatch.setenv(LARGEST, "2.5")
    assert largest_bytes() == int(2.5 * GIB)
    for wrong in ("much", "0", "-1", "inf", "nan"):
        monkeypatch.setenv(LARGEST, wrong)
        with pytest.raises(UsageError, match=LARGEST):
            largest_bytes()


def test_the_limits_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x"
    path.write_bytes(bytes(1000))
    monkeypatch.setenv(LARGEST, str(2000 / GIB))
    for size in (2000, 4000):
        check_memory(path, "It", size)
    with pytest.raises(DataError, match=r"(?s)It takes .* set BIOSEG_LARGEST_GIB=1 and repeat"):
        check_memory(path, "It", 4001)
    check_declared(path, "It", 1_000_000, 1000)
    check_declared(path, "It", 2000, 0)
    with pytest.raises(DataError, match="so much cannot be in it"):
        check_declared(path, "It", 1_000_001, 1000)


def test_a_volume_that_declares_more_than_its_file_can_hold(tmp_path: Path):
    volumes = pytest.importorskip("bioseg_cli.io.volumes")
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    for shape, said in (
        ((1500, 1500, 1500), "so much cannot be in it"),
        ((32767, 32767, 1), "A plane of 32767 x 32767 voxels of the type int16"),
    ):
        header.set_data_shape(shape)
        (tmp_path / "v.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
        with pytest.raises(DataError, match=LARGEST) as caught:
            volumes.open_volume(tmp_path / "v.nii.gz")
        assert said in caught.value.what
