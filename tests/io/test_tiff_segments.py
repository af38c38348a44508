"""Regions of image files are those of the whole image, and no more of the file is decoded than they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.io.images import ImageFile, read_frame

HEIGHT, WIDTH = 90, 117


def noise(*shape: int, dtype: Any = np.uint16, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "contiguous": ("YX", {"metadata": None}),
    "contiguous, big-endian": ("YX", {"metadata": None, "byteorder": ">"}),
    "strips": ("YX", {"compression": "zlib", "rowsperstrip": 7}),
    "one strip": ("YX", {"compression": "zlib", "rowsperstrip": HEIGHT}),
    "strips, big-endian": ("YX", {"compression": "lzw", "rowsperstrip": 11, "byteorder": ">", "predictor": True}),
    "uncompressed tiles": ("YX", {"tile": (32, 16)}),
    "tiles": ("YX", {"tile": (16, 48), "compression": "zlib", "predictor": True}),
    "bigtiff tiles": ("YX", {"tile": (32, 32), "compression": "zstd", "bigtiff": True}),
    "imagej": ("TYX", {"imagej": True}),
    "imagej, compressed": ("TYX", {"imagej": True, "compression": "zlib", "rowsperstrip": 20}),
    "imagej channels": ("TCYX", {"imagej": True, "compression": "zlib", "rowsperstrip": 20}),
    "ome": ("TCYX", {"ome": True, "tile": (32, 32), "compression": "zlib"}),
    "ome, channels first": ("CTYX", {"ome": True, "compression": "zlib", "rowsperstrip": 9}),
    "pages": ("TYX", {"tile": (64, 32), "metadata": None}),
    "colour": ("YXS", {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}),
    "colour, contiguous": ("YXS", {"photometric": "rgb", "metadata": None}),
    "colour planes": ("SYX", {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16), "metadata": None}),
    "colour planes, strips": (
        "SYX",
        {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib", "rowsperstrip": 13},
    ),
    "colour pages": ("TYXS", {"photometric": "rgb", "ome": True, "compression": "zlib", "rowsperstrip": 8}),
    "alpha": ("YXS", {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (32, 32), "metadata": None}),
    "jpeg": ("YXS", {"photometric": "ycbcr", "compression": "jpeg", "tile": (32, 32), "metadata": None}),
}


@pytest.fixture(params=FILES)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, NDArray[Any]]:
    """Axes, path and pixels of a TIFF."""
    axes, options = FILES[request.param]
    samples = 4 if "extrasamples" in options else 3
    sizes = {"T": 3, "C": 2, "Y": HEIGHT, "X": WIDTH, "S": samples}
    pixels = noise(*(sizes[axis] for axis in axes), dtype=np.uint8 if "S" in axes else np.uint16)
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, **options}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    return axes, tmp_path / "a.tif", pixels


def test_regions_are_those_of_the_whole_image(written: tuple[str, Path, NDArray[Any]]) -> None:
    axes, path, _ = written
    with tifffile.TiffFile(path) as tif:  # decoded by tifffile at once: JPEG is lossy
        pixels = tif.asarray()
    expected = np.moveaxis(pixels, [axes.index(a) for a in "TCSYX" if a in axes], range(-pixels.ndim, 0))
    expected = expected.reshape(3 if "T" in axes else 1, -1, HEIGHT, WIDTH)[:, :3]
    generator = np.random.default_rng(1)
    with ImageFile(path) as file:
        assert (file.info.frames, file.info.channels) == expected.shape[:2]
        for _ in range(40):
            frame = int(generator.integers(len(expected)))
            top, bottom = np.sort(generator.choice(HEIGHT + 1, 2, replace=False)).tolist()
            left, right = np.sort(generator.choice(WIDTH + 1, 2, replace=False)).tolist()
            region = file.read(frame, slice(top, bottom), slice(left, right))
            assert region.dtype == file.info.dtype and region.flags.c_contiguous
            np.testing.assert_array_equal(region, expected[frame, :, top:bottom, left:right])
        bands = [file.read(0, slice(top, top + 12)) for top in range(0, HEIGHT, 12)]
        np.testing.assert_array_equal(np.concatenate(bands, axis=1), expected[0])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_other_formats_have_regions_too(tmp_path: Path, name: str) -> None:
    write_png(tmp_path / name, noise(40, 50, 3, dtype=np.uint8))
    whole = read_frame(tmp_path / name)
    with ImageFile(tmp_path / name) as file:
        region = file.read(0, slice(7, 30), slice(11, 50))
    np.testing.assert_array_equal(region, whole[:, 7:30, 11:50])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the strips and tiles that are read from now on."""
    original, found = tifffile.FileHandle.read_segments, []

    def read_segments(self: tifffile.FileHandle, offsets: Any, sizes: Any, indices: Any = None, **options: Any) -> Any:
        found.extend(indices)
        return original(self, offsets, sizes, indices, **options)

    monkeypatch.setattr(tifffile.FileHandle, "read_segments", read_segments)
    return found


def test_only_the_tiles_of_a_region_are_decoded(tmp_path: Path, decoded: list[int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(160, 160), tile=(32, 32), compression="zlib")
    with ImageFile(tmp_path / "a.tif") as file:
        file.read(0, slice(40, 64), slice(33, 70))
    assert sorted(decoded) == [6, 7]


@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (32, 48)}, {"rowsperstrip": 90}])
def test_reading_downwards_decodes_nothing_twice(tmp_path: Path, options: dict[str, Any], decoded: list[int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(90, 100), compression="zlib", **options)
    with ImageFile(tmp_path / "a.tif") as file:
        for top in range(0, 90, 10):
            file.read(0, slice(top, top + 10))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert sorted(decoded) == list(range(len(tif.pages.first.dataoffsets)))


def test_channels_in_pages_of_their_own_are_decoded_once_too(tmp_path: Path, decoded: list[int]) -> None:
    pixels = noise(3, 90, 100)
    stored: dict[str, Any] = {"compression": "zlib", "rowsperstrip": 16, "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "a.tif", pixels, ome=True, **stored)
    with ImageFile(tmp_path / "a.tif") as file:
        rows = [file.read(0, slice(top, top + 10)) for top in range(0, 90, 10)]
    np.testing.assert_array_equal(np.concatenate(rows, axis=1), pixels)
    assert sorted(decoded) == sorted(3 * list(range(6)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 8}, {"tile": (32, 32)}])
def test_damage_is_met_where_it_is(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = noise(90, 100).astype(np.float32)
    pixels[80, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **options)
    with ImageFile(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(0, slice(0, 64))[0], pixels[:64])
        with pytest.raises(DataError, match="1 values are not finite numbers"):
            file.read(0, slice(64, 90))
    assert "compression" not in options or cut_short(tmp_path / "a.tif")


def cut_short(path: Path) -> bool:
    """Whether the end of a file that lacks some bytes in the middle of its last strip is not read as if it were."""
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        start, size = page.dataoffsets[-1], page.databytecounts[-1]
    path.write_bytes(whole[:start] + b"\0" * size + whole[start + size :])
    with ImageFile(path) as file:
        file.read(0, slice(0, 64))
        with pytest.raises(DataError, match="could not be read"):
            file.read(0, slice(64, 90))
    return True


def test_empty_tiles_are_empty_space(tmp_path: Path) -> None:
    tiles = iter([np.full((16, 16), 7, np.uint8), None, None, np.full((16, 16), 9, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), metadata=None)
    with ImageFile(tmp_path / "a.tif") as file:
        region = file.read(0, slice(8, 24), slice(8, 24))[0]
    expected = np.kron([[7, 0], [0, 9]], np.ones((8, 8)))
    np.testing.assert_array_equal(region, expected)
