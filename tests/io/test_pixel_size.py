"""Sizes of pixels in metadata: right ones in one unit, wrong ones cost the size and never the image, and are said."""

from __future__ import annotations

import json
import logging
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from helpers.models import save_random_model

from bioseg_cli.errors import DataError
from bioseg_cli.io.images import inspect_image, read_frame
from bioseg_cli.io.pixel_size import MICROMETRE, PixelSize, declares_entities, unusable_sizes

Bioseg = Callable[..., Result]
PIXELS = np.random.default_rng(0).integers(0, 60000, (20, 24), np.uint16)
PLAIN = 'PhysicalSizeX="0.5" PhysicalSizeY="0.25"'


def ome(size: str, *, start: str = '<?xml version="1.0" encoding="UTF-8"?>', end: str = "</OME>") -> str:
    return (
        f'{start}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="P:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="24" SizeY="20" SizeZ="1" SizeC="1" SizeT="1" {size}>'
        f'<Channel ID="C:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image>{end}'
    )


def units(height: str, width: str) -> str:
    return f'{PLAIN} PhysicalSizeYUnit="{height}" PhysicalSizeXUnit="{width}"'


def written(path: Path, description: str | bytes, **options: Any) -> Path:
    """A TIFF of `PIXELS` with that description, 4 pixels a unit down and 2 across by its tags."""
    content = description if isinstance(description, bytes) else description.encode()
    tifffile.imwrite(path, PIXELS, description=content, metadata=None, resolution=(2, 4), **options)
    return path


ACROSS = PixelSize(0.25, 0.5, MICROMETRE)
READ = {
    "plain": (ome(PLAIN), ACROSS),
    "nm across, µm down": (ome('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.25"'), ACROSS),
    "µm across, mm down": (
        ome('PhysicalSizeX="0.5" PhysicalSizeY="0.00025" PhysicalSizeYUnit="mm" PhysicalSizeXUnit="µm"'), ACROSS,
    ),
    "Å": (ome('PhysicalSizeX="5000" PhysicalSizeY="2500" PhysicalSizeXUnit="Å" PhysicalSizeYUnit="Å"'), ACROSS),
    "inches": (ome(units("in", "in").replace("0.25", "0.0001").replace("0.5", "0.0001")), PixelSize(2.54, 2.54)),
    "width alone": (ome('PhysicalSizeX="500" PhysicalSizeXUnit="nm"'), PixelSize(0.5, 0.5)),
    "height alone": (ome('PhysicalSizeY="0.25"'), PixelSize(0.25, 0.25)),
    "byte order mark": ("\ufeff" + ome(PLAIN), ACROSS),
    "white space before": ("\r\n " + ome(PLAIN), ACROSS),
    "zero byte at the end": (ome(PLAIN) + "\0", ACROSS),
    "latin-1": (ome(units("µm", "µm")).encode("latin-1"), ACROSS),
    "another declared encoding": (ome(PLAIN, start='<?xml version="1.0" encoding="UTF-16"?>'), ACROSS),
    "no name space": (ome(PLAIN).replace(' xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"', ""), ACROSS),
    "dimensions damaged": (ome(PLAIN).replace('DimensionOrder="XYZCT"', ""), ACROSS),
    "size of the image damaged": (ome(PLAIN).replace('SizeX="24"', 'SizeX="x"'), ACROSS),
    "ImageJ": ("ImageJ=1.53t\nunit=\\u00B5m\n", ACROSS),
    "ImageJ, mojibake": ("ImageJ=1.53t\nunit=\u00c2µm\n", ACROSS),
    "ImageJ, words": ("ImageJ=1.53t\nunit=Micrometres\n", ACROSS),
    "ImageJ, two units": ("ImageJ=1.53t\nunit=micron\nyunit=nm\n", PixelSize(0.00025, 0.5)),
    "ImageJ, damaged counts": ("ImageJ=1.53t\nimages=x\nunit=micron\n", ACROSS),
}  # fmt: skip


@pytest.mark.parametrize(("description", "expected"), READ.values(), ids=READ)
def test_sizes_are_read_in_one_unit(tmp_path: Path, description: str | bytes, expected: PixelSize) -> None:
    info = inspect_image(written(tmp_path / "a.tif", description))
    assert info.pixel_size is not None and info.pixel_size.unit == MICROMETRE and info.no_size is None
    assert (info.pixel_size.y, info.pixel_size.x) == pytest.approx((expected.y, expected.x))
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0], PIXELS)


HOSTILE = '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
UNUSABLE = {
    "empty": (ome('PhysicalSizeX="" PhysicalSizeY=""'), "PhysicalSizeY is ''"),
    "comma": (ome('PhysicalSizeX="0,5" PhysicalSizeY="0.25"'), "PhysicalSizeX is '0,5'"),
    "nan": (ome('PhysicalSizeX="nan"'), "PhysicalSizeX is 'nan'"),
    "inf": (ome('PhysicalSizeX="inf"'), "PhysicalSizeX is 'inf'"),
    "zero": (ome('PhysicalSizeX="0"'), "PhysicalSizeX is '0'"),
    "negative": (ome('PhysicalSizeX="-0.5"'), "PhysicalSizeX is '-0.5'"),
    "huge": (ome('PhysicalSizeX="0.5" PhysicalSizeXUnit="km"'), "5e+08 x 5e+08 µm is no size of a pixel"),
    "light years": (ome(units("ly", "ly")), "is no size of a pixel"),
    "tiny": (ome('PhysicalSizeX="1e-9"'), "1e-09 x 1e-09 µm is no size of a pixel"),
    "two units": (ome(units("µm", "pixel")), "its width is in pixel and its height in µm"),
    "cut off": (ome(PLAIN)[:-60], "the OME-XML is damaged"),
    "cut out": (ome(PLAIN)[:170] + "</OME>", "the OME-XML is damaged"),
    "entities": (ome(PLAIN, start=HOSTILE), "the OME-XML declares entities of its own"),
}


@pytest.mark.parametrize(("description", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_can_not_be_used_costs_the_size_alone(tmp_path: Path, description: str, reason: str) -> None:
    info = inspect_image(written(tmp_path / "a.tif", description))
    assert info.pixel_size is None and info.no_size is not None and reason in info.no_size
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0], PIXELS)


NOTHING = [ome(""), ome(units("reference frame", "reference frame")), ome(units("pixel", "pixel"))]
NOTHING += [f"ImageJ=1.53t\nunit={unit}\n" for unit in ("", "pixel", "inch", "Pixels")] + ["ImageJ=1.53t\n", "a note"]


@pytest.mark.parametrize("description", NOTHING)
def test_what_says_nothing_of_the_sample_is_no_size_and_no_fault(tmp_path: Path, description: str) -> None:
    info = inspect_image(written(tmp_path / "a.tif", description))
    assert info.pixel_size is None and info.no_size is None


@pytest.mark.parametrize(("unit", "expected"), [(3, 2500.0), (4, 250.0), (5, 0.25), (2, None), (1, None)])
def test_resolution_tags(tmp_path: Path, unit: int, expected: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, resolution=(4, 4), resolutionunit=unit)
    size = inspect_image(tmp_path / "a.tif").pixel_size
    assert (None if size is None else size.y) == expected


@pytest.mark.parametrize("ratio", [(0, 0), (5, 0), (0, 5)])
def test_resolutions_that_are_no_numbers(tmp_path: Path, ratio: tuple[int, int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, resolution=(4, 4), resolutionunit=3)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages.first.tags["XResolution"].valueoffset
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[place : place + 8] = struct.pack("<II", *ratio)
    (tmp_path / "a.tif").write_bytes(content)
    info = inspect_image(tmp_path / "a.tif")
    assert (info.pixel_size, info.no_size) == (None, f"XResolution is {ratio[0]}/{ratio[1]}")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0], PIXELS)


def test_a_metamorph_field_without_its_size(real_data: Path, tmp_path: Path) -> None:
    path = min((real_data / "BBBC039" / "images").iterdir())
    with tifffile.TiffFile(path) as tif:
        place = tif.pages.first.tags["UIC1tag"].valueoffset
        assert tif.stk_metadata is not None and tif.stk_metadata["XCalibration"] == 0.645
    content = bytearray(path.read_bytes())
    # UIC1 holds pairs of a number and a value or its place; 4 is the height's, 5 the width's calibration.
    pairs = [(at, struct.unpack("<II", content[at : at + 8])) for at in range(place, place + 400, 8)]
    offset = next(value for _, (code, value) in pairs if code == 4)
    content[offset : offset + 8] = struct.pack("<II", 0, 1)
    (tmp_path / "a.tif").write_bytes(content)
    info = inspect_image(tmp_path / "a.tif")
    assert info.pixel_size is None and info.no_size is not None and "Calibration is 0" in info.no_size
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif"), read_frame(path))


@pytest.mark.parametrize(("width", "expected"), [(5e-7, ACROSS), (0.0, None), (float("nan"), None)])
def test_lsm(tmp_path: Path, width: float, expected: PixelSize | None) -> None:
    counts = struct.pack("<Iiiiiiiiii", 0x00400494C, 500, 24, 20, 1, 1, 1, 2, 12, 10)
    described = (counts + struct.pack("<ddd", width, 2.5e-7, 1e-6)).ljust(500, b"\0")
    with tifffile.TiffWriter(tmp_path / "a.lsm") as writer:
        writer.write(PIXELS, metadata=None, extratags=[(34412, 1, 500, described, True)])
        writer.write(np.zeros((10, 12, 3), np.uint8), metadata=None, photometric="rgb", subfiletype=1)
    info = inspect_image(tmp_path / "a.lsm")
    assert info.pixel_size == expected
    assert info.no_size == (f"VoxelSizeX is {width}" if expected is None else None)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.lsm")[0], PIXELS)


def test_remarks_come_once_for_each_kind() -> None:
    reasons = [(f"{n}.tif", f"PhysicalSizeX is '0,{n}'") for n in range(200)]
    reasons += [("a.tif", None), ("b.tif", "the OME-XML is damaged")]
    assert unusable_sizes(reasons) == [
        "the pixel size in 0.tif can't be used: PhysicalSizeX is '0,0'; 199 more files are like it",
        "the pixel size in b.tif can't be used: the OME-XML is damaged",
    ]


def prepared(bioseg: Bioseg, folder: Path, sizes: list[str]) -> dict[str, Any]:
    """The summary of a data set of one image for each of the sizes."""
    images = folder / "images"
    images.mkdir()
    for number, size in enumerate(sizes):
        pixels = PIXELS + np.uint16(number)
        description = ome(size).encode()
        tifffile.imwrite(images / f"c{number}.tif", pixels, description=description, metadata=None)
    result = bioseg("prepare", "folder", "--images", images, "--out", folder / "d.h5", "--json")
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


HALF = 'PhysicalSizeX="0.5"'


def test_prepare_records_the_size_that_all_state(bioseg: Bioseg, tmp_path: Path) -> None:
    summary = prepared(bioseg, tmp_path, [HALF, 'PhysicalSizeX="500" PhysicalSizeXUnit="nm"', HALF])
    assert summary["pixel_size"] == {"y": 0.5, "x": 0.5, "unit": "µm"}
    assert not [note for note in summary["notes"] if "size" in note]


def test_prepare_says_which_files_lack_a_size(bioseg: Bioseg, tmp_path: Path) -> None:
    summary = prepared(bioseg, tmp_path, [HALF, "", 'PhysicalSizeX="0,5"', HALF])
    assert summary["pixel_size"] == {"y": 0.5, "x": 0.5, "unit": "µm"}
    assert "the pixel size in c2.tif can't be used: PhysicalSizeX is '0,5'" in summary["notes"]
    said = "2 of 4 files give no pixel size (c1.tif, c2.tif); that of the others, 0.5 x 0.5 µm, is recorded for all"
    assert said in summary["notes"]


def test_prepare_says_that_sizes_differ(bioseg: Bioseg, tmp_path: Path) -> None:
    summary = prepared(bioseg, tmp_path, [HALF, HALF, 'PhysicalSizeX="0.25"'])
    assert summary["pixel_size"] is None
    said = "the images differ in pixel size, so none is recorded: 2 of 3 have 0.5 x 0.5 µm (c0.tif, "
    said += "c1.tif), 1 of 3 has 0.25 x 0.25 µm (c2.tif)"
    assert said in summary["notes"]


def test_predict_says_it_once_and_records_it(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "m.safetensors")
    (tmp_path / "images").mkdir()
    for number in range(3):
        written(tmp_path / "images" / f"{number}.tif", ome('PhysicalSizeX="0,5"'))
    result = bioseg("predict", model, tmp_path / "images", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    said = "The pixel size in 0.tif can't be used: PhysicalSizeX is '0,5'; 2 more files are like it"
    assert result.stderr.count("can't be used") == 1 and said in result.stderr
    assert "no_pixel_size: PhysicalSizeX is '0,5'" in (tmp_path / "out" / "predictions.yaml").read_text()


def test_a_height_of_another_size_than_in_training_is_seen(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "m.safetensors")  # trained at 0.5 µm
    written(tmp_path / "a.tif", ome('PhysicalSizeX="0.5" PhysicalSizeY="1"'))
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out")
    assert "a.tif is unlike the training images. Its pixels are 1 x 0.5 µm" in " ".join(result.stderr.split())


def test_what_tifffile_logs_does_not_reach_the_terminal(tmp_path: Path) -> None:
    for name, description in (("cut", ome(PLAIN)[:170] + "</OME>"), ("shaped", '{"shape": [7, 24]}')):
        written(tmp_path / f"{name}.tif", description)
    program = "import sys; from pathlib import Path; from bioseg_cli.io.images import read_frame\n"
    program += "for name in sys.argv[1:]: read_frame(Path(name))"
    paths = [str(tmp_path / f"{name}.tif") for name in ("cut", "shaped")]
    ended = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert ended.stdout == ended.stderr == ""


@pytest.mark.parametrize("tag", ["BitsPerSample", "StripOffsets", "SampleFormat", "StripByteCounts"])
def test_damage_that_tifffile_only_logs_is_an_error(tmp_path: Path, tag: str, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS.astype(np.float32), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages.first.tags[tag].offset
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[place + 2 : place + 4] = struct.pack("<H", 200)  # no data type has this number
    (tmp_path / "a.tif").write_bytes(content)
    with caplog.at_level(logging.ERROR, "tifffile"), pytest.raises(DataError) as error:
        inspect_image(tmp_path / "a.tif")
    assert "invalid data type" in caplog.text
    assert error.value.what == "The file is damaged: tifffile reports 'invalid data type 200'"


def test_damage_to_other_tags_costs_nothing_else(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, resolution=(4, 4), resolutionunit=3)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages.first.tags["XResolution"].offset
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[place + 2 : place + 4] = struct.pack("<H", 200)
    (tmp_path / "a.tif").write_bytes(content)
    info = inspect_image(tmp_path / "a.tif")
    assert info.pixel_size is None and info.no_size == "there is no XResolution"
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0], PIXELS)


def test_entities_are_seen_however_they_are_written() -> None:
    for text in (HOSTILE, "<!doctype OME>", "<! ENTITY a 'b'>"):
        assert declares_entities(text)
    assert not declares_entities(ome(PLAIN) + "<!-- DOCTYPE -->")
