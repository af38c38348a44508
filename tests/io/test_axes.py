"""Axes of stacks: named by the file, asked for where nothing names them, and never taken from what happens to fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import Result
from conftest import discs
from helpers.models import save_random_model
from numpy.typing import NDArray

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import inspect_image, read_frames

Bioseg = Callable[..., Result]


pytestmark = pytest.mark.filterwarnings("ignore:<tifffile.TiffWriter.write> data with shape:DeprecationWarning")


def noise(*shape: int, dtype: Any = np.uint16, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def frames(path: Path, axes: str | None = None, **told: Any) -> NDArray[Any]:
    """All frames (F, C, H, W) of a file."""
    return np.stack(list(read_frames(path, Stacks(axes, **told))))


# What Python programs write every day: `tifffile.imwrite(path, array)` with no word of the axes.
UNNAMED = [
    ((2, 64, 64), "Give --axes CYX (2 channels), TYX or ZYX (2 images), or YXC (64 channels)."),
    ((3, 64, 64), "Give --axes CYX (3 channels), TYX or ZYX (3 images), or YXC (64 channels)."),
    ((5, 64, 64), "Give --axes CYX (5 channels), TYX or ZYX (5 images), or YXC (64 channels)."),
    ((64, 64, 5), "Give --axes YXC (5 channels), CYX (64 channels), or TYX or ZYX (64 images)."),
    ((64, 64, 4), "Give --axes YXC (4 channels), CYX (64 channels), or TYX or ZYX (64 images)."),
    ((2, 64, 64, 3), "Give --axes TYXC or ZYXC (2 images)."),
    ((2, 5, 64, 64), "Give --axes, a letter for each: T (time), Z (plane), C (channel), Y (row), X (column), such as"),
]


@pytest.mark.parametrize(("shape", "advice"), UNNAMED)
def test_what_nothing_names_is_asked_for(tmp_path: Path, shape: tuple[int, ...], advice: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape))
    with pytest.raises(DataError) as error:
        inspect_image(tmp_path / "a.tif", Stacks())
    sizes = " x ".join(map(str, shape))
    assert error.value.what == f"Nothing in the file says which axis of its {sizes} pixels is which"
    assert error.value.where == str(tmp_path / "a.tif")
    assert error.value.fix is not None and error.value.fix.startswith(advice)
    with pytest.raises(DataError) as error:
        inspect_image(tmp_path / "a.tif")  # a command without the option does not advise it
    assert error.value.fix == "Save it with named axes (OME, ImageJ), or each image as a file of its own."


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"metadata": None}])
@pytest.mark.parametrize(
    ("shape", "axes", "order"),
    [
        ((5, 64, 48), "CYX", (0, 1, 2)),
        ((3, 64, 48), "CYX", (0, 1, 2)),
        ((4, 64, 48), "CYX", (0, 1, 2)),
        ((64, 48, 5), "YXC", (2, 0, 1)),
        ((64, 48, 2), "YXC", (2, 0, 1)),
        ((5, 64, 48), "CXY", (0, 2, 1)),
    ],
)
def test_the_option_decides_on_one_image_of_several_channels(
    tmp_path: Path, options: dict[str, Any], shape: tuple[int, ...], axes: str, order: tuple[int, ...]
) -> None:
    pixels = noise(*shape)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", axes), pixels.transpose(order)[None])
    axes_found = inspect_image(tmp_path / "a.tif", Stacks(axes)).axes
    assert axes_found is not None and axes_found.shown == axes
    # Three planes of colour, without a word of tifffile's own, are what the tags say they are.
    assert axes_found.by == ("file" if shape[0] == 3 and options == {"metadata": None} else "axes")


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_option_decides_on_frames_whatever_their_number(tmp_path: Path, axes: str, count: int) -> None:
    pixels = noise(count, 64, 48)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib")
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", axes), pixels[:, None])


def test_four_axes(tmp_path: Path) -> None:
    pixels = noise(2, 5, 64, 48)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", "TCYX"), pixels)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", "CTYX"), pixels.transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", "TZYX"), pixels.reshape(10, 1, 64, 48))
    colours = noise(2, 64, 48, 3, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", colours)
    for axes in ("TYXC", "TYX"):  # samples of a pixel are named by the file
        np.testing.assert_array_equal(frames(tmp_path / "c.tif", axes), colours.transpose(0, 3, 1, 2))


def test_masks_and_images_of_fewer_axes_take_the_letters_they_have(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", noise(5, 64, 48))
    assert frames(tmp_path / "mask.tif", "TCYX").shape == (5, 1, 64, 48)
    tifffile.imwrite(tmp_path / "one.tif", noise(64, 48))
    assert frames(tmp_path / "one.tif", "TCYX").shape == (1, 1, 64, 48)
    tifffile.imwrite(tmp_path / "flat.tif", noise(1, 5, 64, 48))
    assert frames(tmp_path / "flat.tif", "CYX").shape == (1, 5, 64, 48)
    tifffile.imwrite(tmp_path / "colour.tif", noise(64, 48, 3, dtype=np.uint8))
    assert frames(tmp_path / "colour.tif", "CYX").shape == (1, 3, 64, 48)


@pytest.mark.parametrize("shape", [(64, 48, 1), (1, 64, 48), (1, 1, 64, 48)])
def test_an_axis_of_size_one_asks_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif"), pixels.reshape(1, 1, 64, 48))


NAMED: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[int, int]]] = {
    "imagej": ((5, 64, 48), {"imagej": True, "metadata": {"axes": "TYX"}}, (5, 1)),
    "imagej channels": ((5, 64, 48), {"imagej": True, "metadata": {"axes": "CYX"}}, (1, 5)),
    "ome channels": ((5, 64, 48), {"ome": True, "metadata": {"axes": "CYX"}}, (1, 5)),
    "shaped": ((64, 48, 5), {"metadata": {"axes": "YXC"}, "photometric": "minisblack"}, (1, 5)),
    "samples": ((64, 48, 5), {"photometric": "minisblack", "planarconfig": "contig"}, (1, 5)),
    "sample planes": ((5, 64, 48), {"photometric": "minisblack", "planarconfig": "separate"}, (1, 5)),
    "colours": ((64, 48, 3), {}, (1, 3)),
    "pages": ((5, 64, 48), {"metadata": None}, (5, 1)),
    "one page each": ((40, 64, 48), {"metadata": None}, (40, 1)),
}


@pytest.mark.parametrize(("shape", "options", "counts"), NAMED.values(), ids=NAMED)
def test_what_the_file_names_is_not_asked_for(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], counts: tuple[int, int]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape), **options)
    info = inspect_image(tmp_path / "a.tif")
    assert (info.frames, info.channels) == counts
    assert info.axes is not None and info.axes.by == ("pages" if options == {"metadata": None} else "file")


def test_pages_too_thin_to_be_images_are_asked_about(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(64, 48, 5), metadata=None)  # 64 pages of 48 x 5
    with pytest.raises(DataError, match="which axis of its 64 x 48 x 5 pixels"):
        frames(tmp_path / "a.tif")
    with pytest.raises(DataError, match="--axes TYX makes images of 48 x 5 pixels"):
        frames(tmp_path / "a.tif", "TYX")


def test_damaged_names_of_axes_are_no_names(tmp_path: Path) -> None:
    for options in ({"ome": True}, {"imagej": True}):
        tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48), metadata={"axes": "CYX"}, **options)
        whole = (tmp_path / "a.tif").read_bytes()
        for good, bad in ((b"<Pixels", b"<<ixels"), (b"channels=5", b"channels=x")):
            whole = whole.replace(good, bad)
        (tmp_path / "a.tif").write_bytes(whole)
        with pytest.raises(DataError, match="which axis of its 5 x 64 x 48 pixels"):
            inspect_image(tmp_path / "a.tif")
        assert frames(tmp_path / "a.tif", "CYX").shape == (1, 5, 64, 48)


def test_xml_with_entities_names_no_axes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48), ome=True, metadata={"axes": "CYX"})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        description = str(tif.ome_metadata)
    entity = '<!DOCTYPE OME [<!ENTITY a "a">]><OME '
    hostile = description.replace("<OME ", entity, 1).encode()
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48), description=hostile, metadata=None)
    with pytest.raises(DataError, match="which axis of its 5 x 64 x 48 pixels"):
        inspect_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("axes", "option"), [("TYX", "CYX"), ("ZYX", "CYX"), ("CYX", "TYX"), ("CYX", "ZYX")])
def test_the_option_never_overrules_a_file(tmp_path: Path, axes: str, option: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48), imagej=True, metadata={"axes": axes})
    with pytest.raises(DataError) as error:
        frames(tmp_path / "a.tif", option)
    assert error.value.what == f"The file names its axes {axes}, and --axes says {option}"


@pytest.mark.parametrize(("axes", "option"), [("TYX", "TCYX"), ("TYX", "ZYX"), ("CYX", "TCYX"), ("TCYX", "TYX")])
def test_a_file_that_names_some_of_the_letters_is_no_contradiction(tmp_path: Path, axes: str, option: str) -> None:
    pixels = noise(*(5, 2, 64, 48)[-len(axes) :])
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": axes})
    info = inspect_image(tmp_path / "a.tif", Stacks(option))
    assert (info.frames > 1, info.channels > 1) == ("T" in axes, "C" in axes)


def test_letters_that_do_not_fit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(2, 5, 64, 48))
    with pytest.raises(DataError, match=r"--axes CYX does not fit: the file has 4 axes \(2 x 5 x 64 x 48\)"):
        frames(tmp_path / "a.tif", "CYX")


def test_z_among_the_letters_asks_for_the_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48), imagej=True, metadata={"axes": "ZYX"})
    assert frames(tmp_path / "a.tif", "ZYX").shape == (5, 1, 64, 48)
    assert frames(tmp_path / "a.tif", planes=True).shape == (5, 1, 64, 48)
    with pytest.raises(DataError, match=r"volume \(Z=5\)") as error:
        inspect_image(tmp_path / "a.tif")
    assert error.value.fix == "Save each plane as a file of its own."


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((5, 64, 48), 5, "CYX"),
        ((64, 48, 5), 5, "YXC"),
        ((3, 64, 48), 3, "CYX"),
        ((5, 64, 48), 1, None),  # time points, or planes
        ((5, 64, 48), 2, None),
        ((5, 48, 5), 5, None),  # two ways
        ((48, 5, 64), 5, None),
        ((2, 5, 64, 48), 5, None),  # the other axis is still without a name
    ],
)
def test_a_number_of_channels_names_axes_only_where_one_way_is_left(
    tmp_path: Path, shape: tuple[int, ...], channels: int, expected: str | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape))
    stacks = Stacks(channels=channels)
    if expected is None:
        with pytest.raises(DataError, match="which axis"):
            inspect_image(tmp_path / "a.tif", stacks)
    else:
        info = inspect_image(tmp_path / "a.tif", stacks)
        assert info.axes is not None and (info.axes.shown, info.axes.by) == (expected, "channels")
        assert (info.frames, info.channels) == (1, channels)


@pytest.mark.parametrize("letters", ["QYX", "CY", "CCYX", "", "YXS"])
def test_letters_that_are_none(bioseg: Bioseg, tmp_path: Path, letters: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 64, 48))
    result = bioseg("prepare", "folder", "--images", tmp_path, "--out", tmp_path / "a.h5", "--axes", letters)
    assert result.exit_code == 2 and "--axes: each of Y and X once" in result.stderr


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Six files of four discs each, in images/ and masks/, that name no axis."""
    for number in range(6):
        pairs = [discs(10 * number + frame) for frame in range(4)]
        for name, index in (("images", 0), ("masks", 1)):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = np.stack([np.atleast_3d(pair[index].squeeze())[..., 0] for pair in pairs])
            tifffile.imwrite(tmp_path / name / f"m{number}.tif", pixels, photometric="minisblack")
    return tmp_path


def test_prepare_asks_and_then_says_how_many_frames_there_are(bioseg: Bioseg, stacks: Path) -> None:
    command = [
        "prepare",
        "folder",
        "--images",
        stacks / "images",
        "--masks",
        stacks / "masks",
        "--out",
        stacks / "d.h5",
    ]
    result = bioseg(*command)
    assert result.exit_code == 3 and "--axes CYX (4 channels)" in result.stdout
    # What is wrong with all is said once for the images, and once for the masks.
    assert result.stdout.count("Nothing in the file") == 1 and "12 of 12 files cannot be used" in result.stderr
    assert all(f"{folder}/m{number}.tif" in result.stdout for folder in ("images", "masks") for number in range(6))
    assert not (stacks / "d.h5").exists()
    result = bioseg(*command, "--axes", "tyx", "--json")
    assert result.exit_code == 0, result.output
    note = "6 files hold 24 frames, each an image of its own; the frames of a file are in one group"
    assert note in json.loads(result.stdout)["notes"]
    record = yaml.safe_load((stacks / "d.yaml").read_text())
    assert record["config"]["axes"] == "TYX" and note in record["dataset"]["notes"]
    with Dataset(stacks / "d.h5") as dataset:
        assert dataset.size == 24
        splits: dict[str, set[str]] = {}
        for index in range(24):
            source = dataset.source(index)
            image, mask = discs(10 * int(source.file[1]) + source.frame)
            np.testing.assert_array_equal(dataset.image(index), image)
            np.testing.assert_array_equal(dataset.labels(index), mask)
            splits.setdefault(source.file, set()).add(str(dataset.split[index]))
        assert all(len(found) == 1 for found in splits.values())


def test_prepare_takes_planes(bioseg: Bioseg, stacks: Path) -> None:
    for path in (*(stacks / "images").iterdir(), *(stacks / "masks").iterdir()):
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZYX"})
    command = [
        "prepare",
        "folder",
        "--images",
        stacks / "images",
        "--masks",
        stacks / "masks",
        "--out",
        stacks / "d.h5",
    ]
    result = bioseg(*command)
    assert result.exit_code == 3 and "volume (Z=4)" in result.stdout and "Give --planes" in result.stdout
    assert bioseg(*command, "--planes").exit_code == 0
    with Dataset(stacks / "d.h5") as dataset:
        assert dataset.size == 24


def test_one_file_of_a_folder_in_another_layout_is_refused(bioseg: Bioseg, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", noise(64, 48, 5, seed=number))
    tifffile.imwrite(tmp_path / "images" / "3.tif", noise(5, 64, 48))
    result = bioseg("prepare", "folder", "--images", tmp_path / "images", "--out", tmp_path / "d.h5", "--axes", "YXC")
    assert result.exit_code == 3
    assert "3.tif" in result.stderr and "--axes YXC makes images of 5 x 64 pixels" in result.stderr


def test_predict_asks_says_and_records(bioseg: Bioseg, stacks: Path) -> None:
    grey, five = save_random_model(stacks / "1.safetensors"), save_random_model(stacks / "5.safetensors", channels=5)
    command = ["predict", grey, stacks / "images", "--out", stacks / "out"]
    result = bioseg(*command)
    assert result.exit_code == 3 and "--axes CYX (4 channels)" in result.stderr
    result = bioseg(*command, "--axes", "TYX")
    assert result.exit_code == 0, result.output
    said = "6 files hold 24 frames, each an image of its own; a mask has a page for each frame of its file"
    assert said in result.stderr
    record = yaml.safe_load((stacks / "out" / "predictions.yaml").read_text())
    assert record["config"]["axes"] == "TYX"
    assert {(entry["axes"], entry["axes_by"]) for entry in record["files"]} == {("TYX", "axes")}
    again = bioseg("predict", "--config", stacks / "out" / "predictions.yaml", "--out", stacks / "again")
    assert again.exit_code == 0, again.output
    (stacks / "five").mkdir()
    for number in range(2):
        tifffile.imwrite(stacks / "five" / f"{number}.tif", noise(64, 48, 5, seed=number))
    result = bioseg("predict", five, stacks / "five", "--out", stacks / "out5")
    assert result.exit_code == 0, result.output
    said = "Nothing in 0.tif and 1 more files names the axes; read as YXC, which alone gives the channels of the model"
    assert said in result.stderr
    record = yaml.safe_load((stacks / "out5" / "predictions.yaml").read_text())
    assert {(entry["axes"], entry["axes_by"]) for entry in record["files"]} == {("YXC", "channels")}
    assert inspect_image(stacks / "out5" / "1.tif").height == 64


def test_evaluate_asks_and_says(bioseg: Bioseg, stacks: Path) -> None:
    command = [
        "evaluate",
        "--predictions",
        stacks / "masks",
        "--truth",
        stacks / "masks",
        "--images",
        stacks / "images",
    ]
    result = bioseg(*command)
    assert result.exit_code == 3 and "--axes CYX (4 channels)" in result.stderr
    result = bioseg(*command, "--axes", "TYX", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["runs"][0]
    assert found["images"] == 24 and found["mean_iou"] == 1
    for whose in ("True", "Predicted"):
        assert f"{whose} masks: 6 files hold 24 frames, each an image of its own." in found["notes"]
    assert 0 < found["baselines"]["otsu"]["mean_iou"] <= 1
    result = bioseg("evaluate", stacks, "--axes", "TYX")
    assert result.exit_code == 2 and "--axes, --planes" in result.stderr


def test_evaluate_takes_planes(bioseg: Bioseg, stacks: Path) -> None:
    for path in (stacks / "masks").iterdir():
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZYX"})
    command = ["evaluate", "--predictions", stacks / "masks", "--truth", stacks / "masks"]
    result = bioseg(*command)
    assert result.exit_code == 3 and "Give --planes" in result.stderr
    result = bioseg(*command, "--planes", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["runs"][0]["images"] == 24
