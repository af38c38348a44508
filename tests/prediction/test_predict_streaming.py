"""Prediction by rows: whatever the size, the format and the memory, the masks are those of the whole image."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import discs
from helpers.models import CLASSES, record_of, save_random_model, write_image
from helpers.streaming import CPU, left_in, limit, predict_files, predictor_of
from PIL import Image

from bioseg_cli.errors import DataError, RunError
from bioseg_cli.io.image_writer import write_labels, write_probabilities
from bioseg_cli.io.images import read_frame
from bioseg_cli.io.legend import Legend
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction import gathered, memory, overlay

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
LOSSLESS = 48
"""Overlap in pixels at which tiles change nothing for the random models, whose depth is 2."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


KINDS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (64, 48), "compression": "zlib", "metadata": None},
    "strips": {"compression": "lzw", "rowsperstrip": 17, "metadata": None},
    "contiguous": {"metadata": None},
    "bigtiff": {"bigtiff": True, "tile": (32, 32), "metadata": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_labels_of_the_whole_image(bioseg: Bioseg, model: Path, tmp_path: Path, kind: str) -> None:
    image = discs(5, size=333)[0][0][:, :290]
    tifffile.imwrite(tmp_path / "a.tif", image, **KINDS[kind])
    whole = predictor_of(model).probabilities(image[None])
    options = ("--tile", 112, "--probabilities", "--precision", "fp32", "--quiet")
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    written = read_frame(tmp_path / "out" / "probabilities" / "a.tif")
    np.testing.assert_allclose(written, whole, atol=1e-3)
    mask = read_mask(tmp_path / "out" / "a.tif")
    np.testing.assert_array_equal(mask, written.argmax(axis=0))
    # In tiles, at once and by rows, from an array and from a file: the same.
    tiled = predictor_of(model, tile=112).probabilities(image[None])
    np.testing.assert_allclose(written, tiled, atol=1e-6)
    assert record_of(tmp_path / "out")["tiles"] == {"tile": 112, "overlap": LOSSLESS, "largest_batch": 1}


def test_pages_larger_than_a_tile_become_pages(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    movie = np.stack([discs(number, size=150)[0][0] for number in range(3)])
    write_image(tmp_path / "movie.tif", movie, axes="TYX")
    out = tmp_path / "out"
    options = ("--tile", 64, "--probabilities", "--overlay", "--precision", "fp32")
    result = bioseg("predict", model, tmp_path / "movie.tif", "--out", out, *options)
    assert result.exit_code == 0, result.output
    predictor = predictor_of(model, tile=64)
    for number, image in enumerate(movie):
        expected = predictor.probabilities(image[None])
        np.testing.assert_allclose(read_frame(out / "probabilities" / "movie.tif", number), expected, atol=1e-6)
        mask = read_frame(out / "movie.tif", number)[0]
        np.testing.assert_array_equal(mask, predictor.labels(expected))
        picture = np.asarray(Image.open(out / "overlays" / f"movie_f{number:03d}.png"))
        np.testing.assert_array_equal(picture, overlay.draw_overlay(image[None], mask, predictor.decoder))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("size", [None, PixelSize(0.25, 0.65)])
def test_files_are_those_that_writing_at_once_gives(
    model: Path, tmp_path: Path, frames: int, size: PixelSize | None
) -> None:
    images = np.stack([discs(number, size=100)[0][0] for number in range(frames)])
    resolution = {} if size is None else {"resolution": (1 / size.x, 1 / size.y)}
    metadata = {"axes": "TYX", "unit": "um" if size else ""}
    tifffile.imwrite(tmp_path / "a.tif", images, imagej=True, metadata=metadata, **resolution)
    predictor = predictor_of(model)
    predict_files(predictor, [tmp_path / "a.tif"], tmp_path / "out", probabilities=True)
    probabilities = predictor.probabilities(images[:, None])
    labels = predictor.labels(probabilities)
    legend = Legend(tuple(value.name for value in CLASSES))
    write_labels(tmp_path / "labels.tif", labels if frames > 1 else labels[0], size, legend)
    write_probabilities(tmp_path / "probabilities.tif", probabilities if frames > 1 else probabilities[0], size)
    for streamed, at_once in (("a.tif", "labels.tif"), ("probabilities/a.tif", "probabilities.tif")):
        with tifffile.TiffFile(tmp_path / "out" / streamed) as a, tifffile.TiffFile(tmp_path / at_once) as b:
            assert a.imagej_metadata == b.imagej_metadata
            assert (a.series[0].axes, a.series[0].shape) == (b.series[0].axes, b.series[0].shape)
            assert a.series[0].dtype == b.series[0].dtype and len(a.pages) == len(b.pages)
            tags = [{tag.name: tag.value for tag in tif.pages.first.tags} for tif in (a, b)]
            for differing in ("StripOffsets", "StripByteCounts", "ImageDescription", "Software", "DateTime"):
                for each in tags:
                    each.pop(differing, None)
            assert tags[0] == tags[1]
            np.testing.assert_allclose(a.asarray(), b.asarray(), atol=1e-5)


@pytest.mark.parametrize("damage", ["nan", "truncated", "garbled"])
@pytest.mark.parametrize("tile", [64, 1024])
def test_damage_in_the_last_rows_leaves_nothing(bioseg: Bioseg, tmp_path: Path, damage: str, tile: int) -> None:
    model = save_random_model(tmp_path / "model.safetensors", dtype="float32")
    images = tmp_path / "images"
    images.mkdir()
    pixels = discs(1, size=300)[0][0].astype(np.float32)
    for name in ("a", "b", "c"):
        tifffile.imwrite(images / f"{name}.tif", pixels, compression="zlib", rowsperstrip=10, metadata=None)
    if damage == "nan":
        pixels[-1, -1] = np.nan
        tifffile.imwrite(images / "b.tif", pixels, compression="zlib", rowsperstrip=10, metadata=None)
    else:
        whole = (images / "b.tif").read_bytes()
        with tifffile.TiffFile(images / "b.tif") as tif:
            start = tif.pages.first.dataoffsets[-1]
        (images / "b.tif").write_bytes(whole[: start + 9] + (b"" if damage == "truncated" else whole[:999]))
    out = tmp_path / "out"
    options = ("--tile", tile, "--overlay", "--probabilities")
    result = bioseg("predict", model, images, "--out", out, *options)
    assert result.exit_code == 1, result.output
    assert "b.tif" in result.stderr and "1 of 3 images failed" in result.stderr
    assert left_in(out) == [
        "a.tif", "c.tif", "overlays/a.png", "overlays/c.png", "predictions.yaml", "probabilities/a.tif",
        "probabilities/c.tif",
    ]  # fmt: skip
    np.testing.assert_array_equal(read_mask(out / "a.tif"), read_mask(out / "c.tif"))


def test_memory_depends_on_a_row_of_tiles_and_not_on_the_image(model: Path, tmp_path: Path) -> None:
    width, heights, peaks = 300, (900, 1500, 4500), []  # the first for what is loaded once
    predictor = predictor_of(model, tile=64, overlap=16)
    for height in heights:
        path = tmp_path / f"{height}.tif"
        image = np.tile(discs(2, size=width)[0][0], (height // width, 1))
        tifffile.imwrite(path, image, tile=(128, 128), compression="zlib")
        del image
        tracemalloc.start()
        try:
            predict_files(predictor, [path], tmp_path / "out", probabilities=True, overlay=False)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert read_mask(tmp_path / "out" / path.name).shape == (height, width)
    whole = (heights[2] - heights[1]) * width * 3 * 4
    assert peaks[2] - peaks[1] < 0.1 * whole


def test_images_of_many_sizes_are_batched_in_order(model: Path, tmp_path: Path) -> None:
    shapes = [(40, 50)] * 3 + [(50, 40), (150, 60)] + [(40, 50)] * 2 + [(1, 9)] * 3
    paths = []
    for number, (height, width) in enumerate(shapes):
        paths.append(tmp_path / f"{number:02d}.tif")
        tifffile.imwrite(paths[-1], discs(number, size=150)[0][0][:height, :width], metadata=None)
    predictor = predictor_of(model, tile=80)
    limited = limit(predictor, np.inf)
    entries = predict_files(predictor, paths, tmp_path / "out")
    assert [entry.name for entry in entries] == [path.stem for path in paths]
    assert [entry.shape for entry in entries] == [tuple(shape) for shape in shapes]
    asked = [shape for shape in limited.asked if shape[3] != 60]  # which are tiles
    assert asked == [(3, 1, 40, 50), (1, 1, 50, 40), (2, 1, 40, 50), (3, 1, 1, 9)]
    for path in paths:
        alone = predictor.labels(predictor.probabilities(read_frame(path)))
        np.testing.assert_array_equal(read_mask(tmp_path / "out" / path.name), alone)


def test_frames_of_a_bad_file_are_taken_out_of_their_batch(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors", dtype="float32")
    movie = np.stack([discs(number)[0][0] for number in range(3)]).astype(np.float32)
    bad = movie.copy()
    bad[2, -1, -1] = np.inf
    for name, frames in (("a", movie), ("b", bad), ("c", movie)):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames, photometric="minisblack", metadata=None)
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    result = bioseg("predict", model, *paths, "--out", tmp_path / "out", "--overlay")
    assert result.exit_code == 1 and "b.tif" in result.stderr
    pictures = [f"overlays/{name}_f{number:03d}.png" for name in "ac" for number in range(3)]
    assert left_in(tmp_path / "out") == ["a.tif", "c.tif", *pictures, "predictions.yaml"]
    a, c = (tifffile.imread(tmp_path / "out" / f"{name}.tif") for name in "ac")
    np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("out of memory"), None])
def test_smaller_tiles_take_over_where_memory_runs_out(
    model: Path, tmp_path: Path, error: BaseException | None
) -> None:
    paths = [tmp_path / f"{name}.tif" for name in ("small", "large", "later")]
    for path, size in zip(paths, (100, 700, 300), strict=True):
        tifffile.imwrite(path, discs(7, size=size)[0][0], metadata=None)
    said: list[str] = []
    predictor = predictor_of(model, say=said.append)
    expected = [predictor.labels(predictor.probabilities(read_frame(path))) for path in paths]
    limited = limit(predictor, 300**2, error)
    entries = predict_files(predictor, paths, tmp_path / "out", overlay=True, probabilities=True)
    assert [entry.name for entry in entries] == ["small", "large", "later"]
    assert predictor.tile == 256 and len(said) == 1
    # What was done before is not done again, and nothing is left of what was thrown away.
    assert sum(shape[2:] == (100, 100) for shape in limited.asked) == 1
    assert len(left_in(tmp_path / "out")) == 9
    for path, labels in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(read_mask(tmp_path / "out" / path.name), labels)


def test_smaller_batches_come_before_smaller_tiles(model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(12)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, discs(number)[0][0], metadata=None)
    predictor = predictor_of(model, tile=1024)
    size = read_frame(paths[0]).shape[-1]
    limited = limit(predictor, 3 * size**2)
    entries = predict_files(predictor, paths, tmp_path / "out")
    assert [entry.name for entry in entries] == [path.stem for path in paths]
    assert (predictor.tile, predictor.largest_batch) == (1024, 3)
    assert [shape[0] for shape in limited.asked] == [12, 6, 3, 3, 3, 3]


def test_arrays_too_are_predicted_in_less_memory(model: Path) -> None:
    predictor = predictor_of(model)
    images = np.stack([discs(number, size=300)[0] for number in range(4)])
    expected = predictor.probabilities(images)
    limit(predictor, 200**2)
    np.testing.assert_allclose(predictor.probabilities(images), expected, atol=1e-3)
    assert predictor.tile == 128


@pytest.mark.parametrize(("tile", "left"), [(256, 256), (None, 128)])
def test_memory_that_suffices_for_nothing_is_an_error(model: Path, tmp_path: Path, tile: int | None, left: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", discs(1, size=300)[0][0], metadata=None)
    predictor = predictor_of(model, tile=tile, any_dtype=False)
    limit(predictor, 100)
    with pytest.raises(RunError, match=f"300 x 300 pixels in tiles of {left}") as error:
        predict_files(predictor, [tmp_path / "a.tif"], tmp_path / "out")
    assert "a.tif" in str(error.value) and "--tile" in str(error.value)
    assert not left_in(tmp_path / "out")


def test_tiles_fit_in_the_free_memory(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = load_model(model, CPU).card.architecture
    for free, tile in ((None, 1024), (2**40, 1024), (2**26, 256), (1, 128)):
        monkeypatch.setattr(memory, "free_bytes", lambda _, free=free: free)
        assert predictor_of(model).tile == tile
    assert predictor_of(model, overlap=200).tile == 512
    assert predictor_of(model, tile=640).tile == 640
    # 12 maps of 4 channels and 4 bytes a pixel, in 0.7 of a third of the memory.
    exact = 12 * 4 * 512**2 * 4
    for free, tile in ((math.ceil(3 * exact / 0.7), 512), (int(3 * exact / 0.7) - 1, 256)):
        monkeypatch.setattr(memory, "free_bytes", lambda _, free=free: free)
        assert predictor_of(model, processes=3).tile == tile
    assert memory.activation_bytes(architecture, 512**2) == exact
    monkeypatch.undo()
    free = memory.free_bytes(CPU)
    assert free is None or free > 2**20


def test_large_pictures_are_reduced(
    bioseg: Bioseg, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "LARGEST_PICTURE", 100)
    image = discs(3, size=333)[0][0][:, :150]
    tifffile.imwrite(tmp_path / "a.tif", image, metadata=None)
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out", "--overlay", "--tile", 64)
    assert result.exit_code == 0, result.output
    mask = read_mask(tmp_path / "out" / "a.tif")
    picture = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png"))
    expected = overlay.draw_overlay(image[None, ::4, ::4], mask[::4, ::4], predictor_of(model).decoder)
    np.testing.assert_array_equal(picture, expected)
    assert picture.shape == (84, 38, 3)


def test_an_output_that_cannot_be_written_stops_the_prediction(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file where the folder should be")
    tifffile.imwrite(tmp_path / "a.tif", discs(1, size=1000)[0][0], metadata=None)
    with pytest.raises(DataError, match="could not be written"):
        predict_files(predictor_of(model, tile=64), [tmp_path / "a.tif"], out)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_an_interrupt_leaves_nothing_half_written(model: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.tile(discs(1, size=500)[0][0], (20, 2)), tile=(256, 256))
    out = tmp_path / "out"
    # A process in the background may have been told to ignore the signal.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from bioseg_cli.cli.app import main; main()"
    )
    command = [sys.executable, "-c", program, "predict", str(model), str(tmp_path / "a.tif"), "--out", str(out)]
    process = subprocess.Popen([*command, "--tile", "64", "--probabilities", "--overlay"], stderr=subprocess.PIPE)
    begun = time.monotonic()
    while not list(out.glob(".a*")) and process.poll() is None and time.monotonic() < begun + 120:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said.decode()
    assert not left_in(out)
