"""The legend of a mask comes back from its file, and nothing else is taken for one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bioseg_cli.io.image_writer import write_image, write_labels
from bioseg_cli.io.images import ImageFile
from bioseg_cli.io.legend import Legend
from bioseg_cli.io.pixel_size import PixelSize

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


@pytest.mark.parametrize("colours", [None, [(0, 0, 0), (255, 180, 1), (3, 2, 254)]])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_what_is_written_is_read(
    tmp_path: Path, colours: list[tuple[int, int, int]] | None, shape: tuple[int, ...]
) -> None:
    legend = Legend(("background", "cell = large", "Zellkern µ"), colours)
    write_labels(tmp_path / "a.tif", np.broadcast_to(LABELS, shape), PixelSize(0.5, 0.5), legend)
    assert Legend.read(tmp_path / "a.tif") == legend


def test_a_name_with_a_line_break_stays_one_line(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.tif", LABELS, None, Legend(("background", "cell\n2 = rim", "a\tb\u2028c")))
    assert Legend.read(tmp_path / "a.tif") == Legend(("background", "cell\\n2 = rim", "a\\tb\\u2028c"))


@pytest.mark.parametrize("info", ["0 = a\n2 = b", "Created by somebody", "0 = a\nand more", "", "1 = a\n0 = b"])
def test_other_remarks_are_no_legend(tmp_path: Path, info: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS, imagej=True, metadata={"Info": info})
    assert Legend.read(tmp_path / "a.tif") is None


def test_other_files_have_no_legend(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "plain.tif", LABELS, description="0 = background\n1 = cell")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "short.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:20])
    for name in ("a.png", "plain.tif", "empty.tif", "short.tif"):
        assert Legend.read(tmp_path / name) is None
    with pytest.raises(OSError):
        Legend.read(tmp_path / "absent.tif")


@pytest.mark.parametrize("kind", [0, 1, 2, 7, 12])
@pytest.mark.parametrize("tag", [256, 258, 262, 270, 320])
def test_a_damaged_tag_costs_the_legend_and_nothing_else(tmp_path: Path, tag: int, kind: int) -> None:
    legend = Legend(("background", "cell"), [(0, 0, 0), (255, 180, 1)])
    write_labels(tmp_path / "a.tif", LABELS % 2, None, legend)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages.first.tags[tag].offset
    struct.pack_into("<H", content, place + 2, kind)
    (tmp_path / "a.tif").write_bytes(content)
    assert Legend.read(tmp_path / "a.tif") in (None, legend, Legend(legend.names))


def test_a_value_of_many_digits_is_no_legend(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS, imagej=True, metadata={"Info": f"{'1' * 5000} = a"})
    assert Legend.read(tmp_path / "a.tif") is None


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_frames_of_an_image_come_back_in_their_order(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, channels, 20, 30)).astype(np.uint8)
    write_image(tmp_path / "a.tif", pixels, PixelSize(0.5, 0.25))
    with ImageFile(tmp_path / "a.tif") as file:
        assert file.info.stack == {"T": 4} and file.info.pixel_size == PixelSize(0.5, 0.25)
        np.testing.assert_array_equal(np.stack([file.read(frame) for frame in range(4)]), pixels)
