"""Files of microscopes are read like a TIFF of the same pixels: axes, channels, pixel size, and what is refused."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.microscopes import write_czi, write_lif, write_nd2
from helpers.models import record_of, save_random_model
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile, inspect_image, read_frame
from bioseg_cli.io.pixel_size import PixelSize

Bioseg = Callable[..., Result]
Write = Callable[[Path, NDArray[np.uint16]], Path]

NAMES = ("DAPI", "GFP", "Cy5")


def noise(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)


def czi(compression: str = "") -> Write:
    pytest.importorskip("pylibCZIrw")
    pytest.importorskip("czifile")
    return lambda path, pixels: write_czi(path.with_suffix(".czi"), pixels, NAMES[: pixels.shape[2]], 0.25, compression)


def lif() -> Write:
    pytest.importorskip("liffile")
    return lambda path, pixels: write_lif(path.with_suffix(".lif"), {"a": pixels}, NAMES[: pixels.shape[2]], 0.25)


def nd2() -> Write:
    pytest.importorskip("nd2")
    return lambda path, pixels: write_nd2(path.with_suffix(".nd2"), pixels, NAMES[: pixels.shape[2]], 0.25)


WRITERS: dict[str, Callable[[], Write]] = {
    "czi": czi,
    "czi-zstd0": lambda: czi("zstd0:ExplicitLevel=1"),
    "czi-zstd1": lambda: czi("zstd1:ExplicitLevel=1"),
    "czi-zstd1-hilo": lambda: czi("zstd1:ExplicitLevel=1;PreProcess=HiLoByteUnpack"),
    "lif": lif,
    "nd2": nd2,
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> Write:
    return WRITERS[request.param]()


def test_axes_channels_and_pixel_size_come_from_the_file(tmp_path: Path, write: Write) -> None:
    pixels = noise(2, 4, 3, 40, 50)
    path = write(tmp_path / "a", pixels)
    with ImageFile(path, Stacks(planes=True)) as file:
        info = file.info
        assert (info.frames, info.channels, info.height, info.width, info.dtype) == (8, 3, 40, 50, np.uint16)
        assert info.stack == {"T": 2, "Z": 4} and info.channel_names == NAMES
        assert info.pixel_size is not None and (info.pixel_size.y, info.pixel_size.x) == pytest.approx((0.25, 0.25))
        for frame in range(8):
            np.testing.assert_array_equal(file.read(frame), pixels[frame // 4, frame % 4])
        np.testing.assert_array_equal(file.read(5, slice(7, 39), slice(3, 50)), pixels[1, 1, :, 7:39, 3:50])


def test_a_volume_is_refused_until_its_planes_are_asked_for(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "a", noise(1, 3, 1, 40, 50))
    with pytest.raises(DataError, match="--planes"):
        inspect_image(path, Stacks())
    assert inspect_image(path, Stacks(planes=True)).stack == {"Z": 3}


def test_a_single_image_has_no_stack_and_no_levels(tmp_path: Path, write: Write) -> None:
    pixels = noise(1, 1, 1, 40, 50)
    path = write(tmp_path / "a", pixels)
    assert inspect_image(path).stack == {} and inspect_image(path).channel_names == ("DAPI",)
    np.testing.assert_array_equal(read_frame(path), pixels[0, 0])
    with pytest.raises(DataError, match=r"no level 1.*0 \(40 x 50\)"):
        inspect_image(path, Stacks(level=1))


def test_a_damaged_file_is_named(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "a", noise(1, 1, 1, 40, 50))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="could not be read") as error:
        read_frame(path)
    assert str(path) in str(error.value)


def test_a_lif_that_declares_more_pixels_than_memory_should_hold_is_refused(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", {"i": noise(1, 1, 1, 20, 24)}, ["Green"], 0.5)
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 9)
    text = content[13 : 13 + 2 * length].decode("utf-16-le")
    changed = text.replace('NumberOfElements="20"', f'NumberOfElements="{2**30}"').encode("utf-16-le")
    start = struct.pack("<IIBI", 0x70, len(changed) + 5, 0x2A, len(changed) // 2)
    path.write_bytes(start + changed + content[13 + 2 * length :])
    with pytest.raises(DataError, match="48 GiB of memory, and the limit is 1"):
        inspect_image(path)


def test_images_of_a_lif_that_are_alike_are_frames(tmp_path: Path) -> None:
    pytest.importorskip("liffile")
    pixels = noise(3, 1, 1, 2, 40, 50)
    images = {f"field {number}": one for number, one in enumerate(pixels)}
    path = write_lif(tmp_path / "a.lif", images, NAMES[:2], 0.5)
    with ImageFile(path) as file:
        assert file.info.stack == {"T": 3}
        for frame in range(3):
            np.testing.assert_array_equal(file.read(frame), pixels[frame, 0, 0])
    images["overview"] = noise(1, 1, 2, 20, 30)
    path = write_lif(tmp_path / "b.lif", images, NAMES[:2], 0.5)
    with pytest.raises(DataError, match=r"4 images that are not alike: field 0 \(2 x 40 x 50\)"):
        inspect_image(path)


def test_scenes_of_a_czi_are_not_taken_for_one_image(tmp_path: Path) -> None:
    pytest.importorskip("czifile")
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for scene in range(2):
            file.write(noise(40, 50, 1), plane={"C": 0}, scene=scene, location=(scene * 100, 0))
    with pytest.raises(DataError, match="holds 2 scenes"):
        inspect_image(tmp_path / "a.czi")


@pytest.mark.parametrize("compression", ["uncompressed:", "zstd1:ExplicitLevel=1"])
def test_colours_of_a_czi_are_red_green_and_blue(tmp_path: Path, compression: str) -> None:
    pytest.importorskip("czifile")
    czi = pytest.importorskip("pylibCZIrw.czi")
    colours = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    with czi.create_czi(str(tmp_path / "a.czi"), compression_options=compression) as file:
        file.write(np.ascontiguousarray(colours[..., ::-1]), plane={"C": 0})  # it takes blue first
    np.testing.assert_array_equal(read_frame(tmp_path / "a.czi"), colours.transpose(2, 0, 1))
    assert inspect_image(tmp_path / "a.czi").pixel_size is None


@pytest.mark.slow
def test_predict_and_prepare_take_them_like_tiffs(bioseg: Bioseg, tmp_path: Path, write: Write) -> None:
    (tmp_path / "images").mkdir()
    for number in range(3):
        write(tmp_path / "images" / f"a{number}", discs(number)[0][None, None])
    model = save_random_model(tmp_path / "model.safetensors")
    result = bioseg("predict", model, tmp_path / "images", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(record_of(tmp_path / "out")["files"]) == 3
    tifffile.imwrite(tmp_path / "a0.tif", discs(0)[0])
    assert bioseg("predict", model, tmp_path / "a0.tif", "--out", tmp_path / "alone").exit_code == 0
    mask = tifffile.imread(tmp_path / "out" / "a0.tif")
    np.testing.assert_array_equal(mask, tifffile.imread(tmp_path / "alone" / "a0.tif"))
    assert inspect_image(tmp_path / "out" / "a0.tif").pixel_size == PixelSize(0.25, 0.25)
    result = bioseg("prepare", "folder", "--images", tmp_path / "images", "--out", tmp_path / "d.h5")
    assert result.exit_code == 0, result.output


# Without the packages ---------------------------------------------------------------------------------------------


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra was not installed."""
    for name in ("nd2", "czifile", "liffile"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_packages")
@pytest.mark.parametrize(("name", "package"), [("a.nd2", "nd2"), ("a.CZI", "czifile"), ("a.lif", "liffile")])
def test_a_missing_package_is_named_with_its_install_line(
    bioseg: Bioseg, tmp_path: Path, name: str, package: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / name).write_bytes(b"1")
    for number in range(3):
        tifffile.imwrite(images / f"b{number}.tif", discs(number)[0][0])
    with pytest.raises(UsageError) as error:
        inspect_image(images / name)
    assert f"need the package {package}" in str(error.value) and "pip install 'bioseg[microscopes]'" in str(error.value)
    model = save_random_model(tmp_path / "model.safetensors")
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "bioseg[microscopes]" in result.output and not (tmp_path / "out").exists()
    options = ("--images", images, "--out", tmp_path / "d.h5")
    result = bioseg("prepare", "folder", *options)
    assert result.exit_code == 3 and package in result.output and "bioseg[microscopes]" in result.output
    assert bioseg("prepare", "folder", *options, "--skip-bad").exit_code == 0


def test_what_was_exported_from_a_file_stands_for_it(bioseg: Bioseg, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        tifffile.imwrite(images / f"a{number}.ome.tif", discs(number)[0][0])
    (images / "a0.czi").write_bytes(b"1")
    model = save_random_model(tmp_path / "model.safetensors")
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    result = bioseg("prepare", "folder", "--images", images, "--out", tmp_path / "d.h5")
    assert result.exit_code == 0 and "a0.czi is not read: a readable file of the same name" in " ".join(
        result.output.split()
    )
