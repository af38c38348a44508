"""The plugin of napari without its window: the manifest, masks as layers, frames of layers, scribbles as files."""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.documented import ROOT
from helpers.models import CLASSES, save_random_model, write_image

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError
from bioseg_cli.io.image_writer import write_labels
from bioseg_cli.io.pixel_size import PixelSize

pytest.importorskip("napari")

from napari.layers import Image, Labels, Layer
from npe2 import PluginManifest

from bioseg_cli.napari_plugin.layers import LayerFrames
from bioseg_cli.napari_plugin.prediction import predict_layer
from bioseg_cli.napari_plugin.reader import mask_reader
from bioseg_cli.napari_plugin.scribbles import export_scribbles

Bioseg = Callable[..., Result]

BLACK_AND_CLASSES = [(*(part / 255 for part in info.colour), 1.0) for info in CLASSES]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


def opened(path: Path) -> Labels:
    """The layer that napari makes of what the reader gives."""
    read = mask_reader(str(path))
    assert read is not None
    ((data, told, kind),) = read(str(path))
    layer: Any = Layer.create(data, told, kind)
    assert isinstance(layer, Labels)
    return layer


def class_of(layer: Labels, value: int) -> str:
    return str(layer.features.set_index("index")["class"][value])


# The manifest ---------------------------------------------------------------------------------------------------------


def test_napari_finds_the_manifest_and_what_it_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package, _, name = project["entry-points"]["napari.manifest"][project["name"]].partition(":")
    folder = Path(importlib.import_module(package).__file__ or "").parent
    manifest = PluginManifest.from_file(folder / name)
    assert manifest.name == project["name"]
    for command in manifest.contributions.commands or ():
        module, _, member = str(command.python_name).partition(":")
        assert callable(getattr(importlib.import_module(module), member))
    used = {each.command for each in (*(manifest.contributions.readers or ()), *(manifest.contributions.widgets or ()))}
    assert used == {command.id for command in manifest.contributions.commands or ()}


# Masks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--lut",)])
def test_a_mask_has_names_colours_and_size_of_its_prediction(
    bioseg: Bioseg, model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "a.tif"
    if options:
        (tmp_path / "out" / "predictions.yaml").unlink()  # the colours are in the file itself
    layer = opened(path)
    np.testing.assert_array_equal(layer.data, tifffile.imread(path))
    assert [class_of(layer, value) for value in range(3)] == ["background", "cell", "rim"]
    for value in (1, 2):
        np.testing.assert_allclose(layer.get_color(value), BLACK_AND_CLASSES[value], atol=1e-6)
    assert layer.colormap.map(0)[3] == 0  # the image is seen through the background
    assert layer.scale.tolist() == [0.5, 0.5] and {str(unit) for unit in layer.units} == {"micrometer"}
    assert layer.name == "a"


def test_frames_of_a_mask_are_an_axis_of_the_layer(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.stack([discs(number)[0][0] for number in range(3)]), "TYX")
    assert bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out").exit_code == 0
    layer = opened(tmp_path / "out" / "a.tif")
    assert layer.data.shape == (3, 48, 48) and layer.scale.tolist() == [1, 0.5, 0.5]


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    write_image(tmp_path / "image.tif", discs(0)[0][0])
    write_labels(tmp_path / "labels.tif", discs(0)[1], None)
    (tmp_path / "text.tif").write_text("0 = background")
    for name in ("image.tif", "labels.tif", "text.tif"):
        assert mask_reader(str(tmp_path / name)) is None
    assert mask_reader([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]) is None


def test_a_damaged_record_costs_the_colours_alone(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    assert bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out").exit_code == 0
    (tmp_path / "out" / "predictions.yaml").write_text("status: [")
    layer = opened(tmp_path / "out" / "a.tif")
    assert class_of(layer, 1) == "cell" and not np.allclose(layer.get_color(1), BLACK_AND_CLASSES[1])


# Frames of layers -----------------------------------------------------------------------------------------------------


def test_axes_before_the_rows_are_frames_or_the_channels() -> None:
    pixels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.uint16)
    layer = Image(pixels, rgb=False, scale=(9, 1, 0.5, 0.25), translate=(1, 2, 3, 4), units=("s", "pixel", "µm", "µm"))
    frames = LayerFrames(layer, 3)
    assert frames.shape == (2,) and frames.grid == (2, 4, 5) and frames.size == PixelSize(0.5, 0.25)
    np.testing.assert_array_equal(np.stack(list(frames)), pixels)
    layer.affine = [[1, 0, 0, 0, 7], [0, 1, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 0, 1, 5], [0, 0, 0, 0, 1]]
    layer.shear = [0, 0, 0, 0, 0, 0.5]
    labels = Labels(np.zeros((2, 4, 5), int), **frames.placed)
    assert labels.scale.tolist() == [9, 0.5, 0.25] and labels.translate.tolist() == [1, 3, 4]
    here, there = np.array([1, 2, 3]), np.array([1, 0, 2, 3])
    np.testing.assert_allclose(labels.data_to_world(here), np.delete(layer.data_to_world(there), 1))
    alone = LayerFrames(layer, 1)
    assert alone.shape == (2, 3)
    np.testing.assert_array_equal(np.stack(list(alone))[:, 0], pixels.reshape(6, 4, 5))
    with pytest.raises(BiosegError, match="0 axes of 7 channels: it is 2 x 3 x 4 x 5"):
        LayerFrames(layer, 7)


def test_colours_are_channels_without_their_opacity_and_levels_are_one_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 10, 4)).astype(np.uint8)
    (frame,) = LayerFrames(Image(pixels, rgb=True), 3)
    np.testing.assert_array_equal(frame, pixels[..., :3].transpose(2, 0, 1))
    (frame,) = LayerFrames(Image([pixels[..., 0], pixels[::2, ::2, 0]], multiscale=True), 1)
    np.testing.assert_array_equal(frame[0], pixels[..., 0])
    assert LayerFrames(Image(pixels[..., 0])).size is None


def test_a_layer_is_predicted_like_the_file(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    movie = np.stack([discs(number)[0][0] for number in range(3)])
    write_image(tmp_path / "a.tif", movie, "TYX")
    assert bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out").exit_code == 0
    shares: list[float] = []
    layer = Image(movie, scale=(1, 0.25, 0.25), units=("s", "µm", "µm"))
    found = predict_layer(model, layer, progress=shares.append)
    np.testing.assert_array_equal(found.labels, tifffile.imread(tmp_path / "out" / "a.tif"))
    assert found.names == ("background", "cell", "rim") and found.colours == tuple(info.colour for info in CLASSES)
    assert len(found.warnings) == 1 and "pixel size" in found.warnings[0]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


# Scribbles ------------------------------------------------------------------------------------------------------------


def scribbled(number: int) -> tuple[Image, Labels]:
    """An image of discs, and a few strokes on its background and on the discs."""
    pixels, mask = discs(number)
    drawn = np.zeros(mask.shape, int)
    drawn[5:44:13] = 1 + mask[5:44:13]
    return Image(pixels[0], name=f"disc {number}", scale=(0.5, 0.5), units=("µm", "µm")), Labels(drawn)


@pytest.mark.slow
def test_scribbles_become_a_data_set_that_trains(bioseg: Bioseg, tmp_path: Path) -> None:
    for number in range(6):
        export_scribbles(tmp_path / "drawn", *scribbled(number), ["cell"], overwrite=False)
    folders = ("--images", tmp_path / "drawn" / "images", "--masks", tmp_path / "drawn" / "masks")
    result = bioseg("prepare", "folder", *folders, "--out", tmp_path / "d.h5")
    assert result.exit_code == 0, result.output
    with Dataset(tmp_path / "d.h5") as dataset:
        assert [info.name for info in dataset.classes] == ["background", "cell"]
        assert dataset.info.pixel_size == PixelSize(0.5, 0.5) and dataset.size == 6
        for index in range(6):
            image, scribbles = scribbled(int(dataset.name(index)[5]))
            np.testing.assert_array_equal(dataset.image(index)[0], image.data)
            expected = np.where(scribbles.data == 0, 255, scribbles.data - 1)
            np.testing.assert_array_equal(dataset.labels(index), expected)
    options = ("--run", tmp_path / "run", "--width", 2, "--steps", 3, "--quiet")
    result = bioseg("train-uda", tmp_path / "d.h5", *options)
    assert result.exit_code == 0, result.output


def test_frames_become_pages_and_those_without_a_stroke_are_unlabelled(bioseg: Bioseg, tmp_path: Path) -> None:
    pairs = [scribbled(number) for number in range(5)]
    movie = Image(np.stack([image.data for image, _ in pairs]), name="a/b: 1")
    strokes = np.stack([scribbles.data for _, scribbles in pairs])
    strokes[3] = 0
    path = export_scribbles(tmp_path / "drawn", movie, Labels(strokes), ["cell"], overwrite=False)
    assert path.name == "a_b_1.tif"
    folders = ("--images", tmp_path / "drawn" / "images", "--masks", tmp_path / "drawn" / "masks")
    result = bioseg("prepare", "folder", *folders, "--split-by", "random", "--out", tmp_path / "d.h5", "--json")
    assert result.exit_code == 0, result.output
    assert sum(split["labelled"] for split in json.loads(result.stdout)["images"].values()) == 4


def test_what_cannot_be_labels_is_refused_and_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    image, scribbles = scribbled(0)
    whole = Labels(discs(0)[1], features={"index": [0, 1], "class": ["background", "cell"]})
    for layer, names, said in (
        (Labels(np.zeros((48, 48), int)), ["cell"], "Nothing is drawn"),
        (Labels(np.ones((9, 9), int)), ["cell"], "scribbles have 9 x 9 pixels, the image 48 x 48"),
        (Labels(scribbles.data * 2), ["cell"], "value 4, and the classes end at 2"),
        (whole, ["cell"], "mask of classes"),
        (scribbles, [""], "are not names"),
        (scribbles, ["cell", "Cell"], "are not names"),
        (scribbles, ["Background"], "are not names"),
    ):
        with pytest.raises(BiosegError, match=said):
            export_scribbles(tmp_path / "drawn", image, layer, names, overwrite=False)
    assert not (tmp_path / "drawn").exists()
    path = export_scribbles(tmp_path / "drawn", image, scribbles, ["cell"], overwrite=False)
    before = path.read_bytes()
    more = Labels(np.where(scribbles.data == 0, 1, scribbles.data))
    with pytest.raises(BiosegError, match="exported before"):
        export_scribbles(tmp_path / "drawn", image, more, ["cell"], overwrite=False)
    assert path.read_bytes() == before
    export_scribbles(tmp_path / "drawn", image, more, ["cell"], overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(path), more.data)
