"""`bioseg predict`: from image files to masks, and what happens to files that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from click.testing import Result
from conftest import SIZE, discs
from helpers.models import CLASSES, record_of, save_random_model, write_image
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.io.images import inspect_image, read_frame, read_frames
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.overlay import draw_overlay
from bioseg_cli.prediction.predictor import Predictor

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three calibrated uint16 images of discs, t1 to t3."""
    path = tmp_path / "images"
    path.mkdir()
    for number in (1, 2, 3):
        write_image(path / f"t{number}.tif", discs(100 + number)[0][0])
    return path


def test_a_trained_run_finds_the_discs_in_new_files(
    bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = bioseg("predict", disc_run, folder, "--out", out, "--state", "last", "--overlay", "--probabilities")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == [
        "overlays", "predictions.yaml", "probabilities", "t1.tif", "t2.tif", "t3.tif",
    ]  # fmt: skip
    for number in (1, 2, 3):
        truth = discs(100 + number)[1]
        mask = read_mask(out / f"t{number}.tif")
        assert mask.dtype == np.uint8
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8
        assert inspect_image(out / f"t{number}.tif").pixel_size == PixelSize(0.5, 0.5)
        probabilities = read_frame(out / "probabilities" / f"t{number}.tif")
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=0), mask)
        picture = np.asarray(Image.open(out / "overlays" / f"t{number}.png"))
        outline = (picture == (255, 180, 0)).all(axis=-1)
        assert 0 < outline.sum() < 0.5 * outline.size
    record = record_of(out)
    assert record["status"] == "finished" and not record["failures"]
    assert record["model"]["state"] == "last" and len(record["model"]["sha256"]) == 64
    assert [entry["name"] for entry in record["files"]] == ["t1", "t2", "t3"]


def test_the_record_repeats_the_prediction(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    assert bioseg("predict", model, folder, "--out", tmp_path / "a", "--tile", 64).exit_code == 0
    result = bioseg("predict", "--config", tmp_path / "a" / "predictions.yaml", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(read_mask(tmp_path / "a" / "t2.tif"), read_mask(tmp_path / "b" / "t2.tif"))
    assert record_of(tmp_path / "b")["config"]["tile"] == 64


def test_a_moved_model_predicts_as_its_run_did(bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes((disc_run / "checkpoints" / "best-supervised.safetensors").read_bytes())
    for name, run in (("a", disc_run), ("b", moved)):
        assert bioseg("predict", run, folder / "t1.tif", "--out", tmp_path / name, "--probabilities").exit_code == 0
    a, b = (read_frame(tmp_path / name / "probabilities" / "t1.tif") for name in "ab")
    np.testing.assert_array_equal(a, b)


def test_a_data_set_gives_a_mask_for_every_image_of_a_split(
    bioseg: Bioseg, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    for split, count in (("val", 3), ("test", 2), ("all", 13)):
        out = tmp_path / split
        assert bioseg("predict", disc_run, disc_dataset, "--out", out, "--split", split).exit_code == 0
        assert len(list(out.glob("*.tif"))) == count
    with Dataset(disc_dataset) as dataset:
        for index in dataset.indices("test").tolist():
            mask = read_mask(tmp_path / "test" / f"{dataset.name(index)}.tif")
            truth = dataset.labels(index)
            assert (mask & truth).sum() / (mask | truth).sum() > 0.7


def test_frames_become_pages(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    movie = np.stack([discs(number)[0][0] for number in range(4)])
    write_image(tmp_path / "movie.tif", movie, axes="TYX")
    out = tmp_path / "out"
    result = bioseg("predict", model, tmp_path / "movie.tif", "--out", out, "--overlay", "--probabilities")
    assert result.exit_code == 0, result.output
    pages = np.stack(list(read_frames(out / "movie.tif")))[:, 0]
    assert pages.shape == movie.shape
    write_image(tmp_path / "single.tif", movie[2])
    single = bioseg("predict", model, tmp_path / "single.tif", "--out", tmp_path / "one")
    assert single.exit_code == 0, single.output
    assert "1 mask written to" in single.stdout
    np.testing.assert_array_equal(pages[2], read_mask(tmp_path / "one" / "single.tif"))
    assert inspect_image(out / "probabilities" / "movie.tif").frames == 4
    assert sorted(p.name for p in (out / "overlays").iterdir()) == [f"movie_f00{n}.png" for n in range(4)]


def test_a_volume_needs_planes(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "z.tif", np.stack([discs(n)[0][0] for n in range(3)]), axes="ZYX")
    result = bioseg("predict", model, tmp_path / "z.tif", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "volume (Z=3)" in result.stderr and "--planes" in result.stderr
    assert bioseg("predict", model, tmp_path / "z.tif", "--out", tmp_path / "out2", "--planes").exit_code == 0
    assert inspect_image(tmp_path / "out2" / "z.tif", Stacks(planes=True)).frames == 3


def test_unreadable_files_do_not_stop_the_others(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "t2.tif").read_bytes()
    (folder / "t2.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.tif").write_text("not an image")
    movie = np.stack([discs(n)[0][0] for n in range(3)]).astype(np.float32)
    movie[1, 0, 0] = np.nan
    tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack", metadata=None)
    out = tmp_path / "out"
    result = bioseg("predict", model, folder, "--out", out, "--any-dtype", "--overlay", "--json")
    assert result.exit_code == 1
    assert "3 of 5 images failed" in result.stderr
    assert all(name in result.stderr for name in ("t2.tif", "notes.tif", "movie.tif"))
    assert sorted(p.name for p in out.glob("*.tif")) == ["t1.tif", "t3.tif"]
    assert sorted(p.name for p in (out / "overlays").iterdir()) == ["t1.png", "t3.png"]
    document = json.loads(result.stdout)
    assert [failure["name"] for failure in document["failures"]] == ["movie", "notes", "t2"]
    assert [entry["name"] for entry in document["files"]] == ["t1", "t3"]
    assert record_of(out)["failures"] == document["failures"]


def test_nothing_but_failures_is_bad_data(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_text("not an image")
    result = bioseg("predict", model, tmp_path / "a.tif", tmp_path / "b.tif", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "Not one of the 2 images" in result.stderr
    assert all(name in result.stderr for name in ("a.tif", "b.tif"))
    # Nothing was left behind that the next attempt would have to overwrite.
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "a.tif" in result.stderr and "could not be read" in result.stderr


@pytest.mark.parametrize(
    ("trained", "pixels", "said"),
    [
        ({}, np.zeros((SIZE, SIZE, 3), np.uint16), "3 channels (colour), the model was trained on 1 channel (grey)"),
        ({"channels": 3}, np.zeros((SIZE, SIZE), np.uint16), "1 channel (grey), the model was trained on 3 channels"),
        ({}, np.zeros((SIZE, SIZE), np.uint8), "The image is uint8, the model was trained on uint16"),
        ({"dtype": "uint8"}, np.zeros((SIZE, SIZE), np.uint16), "The image is uint16, the model was trained on uint8"),
        ({}, np.zeros((SIZE, SIZE), np.float32), "The image is float32, the model was trained on uint16"),
    ],
)
def test_images_of_another_kind_are_refused(
    bioseg: Bioseg, tmp_path: Path, trained: dict[str, Any], pixels: NDArray[Any], said: str
) -> None:
    model = save_random_model(tmp_path / "model.safetensors", **trained)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert said in result.stderr and "a.tif" in result.stderr
    assert not list((tmp_path / "out").glob("*.tif"))


def test_another_pixel_type_can_be_allowed(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    image = discs(1)[0][0]
    tifffile.imwrite(tmp_path / "wide.tif", image.astype(np.uint32))
    tifffile.imwrite(tmp_path / "same.tif", image)
    result = bioseg(
        "predict", model, tmp_path / "wide.tif", tmp_path / "same.tif", "--any-dtype", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "wide.tif"), read_mask(tmp_path / "out" / "same.tif"))


def test_float_images_of_any_width_are_one_kind(tmp_path: Path) -> None:
    model = load_model(save_random_model(tmp_path / "m.safetensors", dtype="float32"), torch.device("cpu"))
    predictor = Predictor(model, resolve_precision("fp32", torch.device("cpu")))
    image = discs(1)[0]
    wide, narrow = (predictor.probabilities(image.astype(dtype)) for dtype in (np.float64, np.float32))
    np.testing.assert_allclose(wide, narrow, atol=1e-5)


def test_colour_images_reach_a_colour_model(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors", channels=3, dtype="uint8")
    colours = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    write_png(tmp_path / "rgb.png", colours)
    Image.fromarray(np.dstack([colours, np.full((50, 70), 255, np.uint8)])).save(tmp_path / "rgba.png")
    result = bioseg(
        "predict", model, tmp_path / "rgb.png", tmp_path / "rgba.png", "--out", tmp_path / "out", "--overlay"
    )
    assert result.exit_code == 0, result.output
    masks = [read_mask(tmp_path / "out" / f"{name}.tif") for name in ("rgb", "rgba")]
    assert masks[0].shape == (50, 70)
    np.testing.assert_array_equal(*masks)


def test_tiles_do_not_change_the_masks(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "big.tif", discs(5, size=333)[0][0])
    probabilities = []
    for tile in (112, 1024):
        out = tmp_path / str(tile)
        options = ("--tile", tile, "--probabilities", "--precision", "fp32")
        assert bioseg("predict", model, tmp_path / "big.tif", "--out", out, *options).exit_code == 0
        probabilities.append(read_frame(out / "probabilities" / "big.tif"))
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-3)


def test_images_of_any_size_keep_it(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    shapes = [(1, 1), (17, 600), (100, 3), (65, 64)]
    for number, shape in enumerate(shapes):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full(shape, 1000, np.uint16))
    paths = [tmp_path / f"{number}.tif" for number in range(len(shapes))]
    result = bioseg("predict", model, *paths, "--out", tmp_path / "out", "--tile", 64)
    assert result.exit_code == 0, result.output
    assert [read_mask(tmp_path / "out" / path.name).shape for path in paths] == shapes


def test_masks_are_never_replaced_unasked(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bioseg("predict", model, folder, "--out", out).exit_code == 0
    before = (out / "t1.tif").stat().st_mtime_ns
    result = bioseg("predict", model, folder / "t1.tif", "--out", out)
    assert result.exit_code == 2 and "--overwrite" in result.stderr
    assert (out / "t1.tif").stat().st_mtime_ns == before
    (out / "mine.tif").write_text("not bioseg's")
    assert bioseg("predict", model, folder / "t1.tif", "--out", out, "--overwrite").exit_code == 0
    # Masks of the earlier prediction went with it, files of others did not.
    assert sorted(p.name for p in out.glob("*.tif")) == ["mine.tif", "t1.tif"]


def test_a_record_that_names_files_elsewhere_deletes_nothing(
    bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.yaml").write_text(yaml.safe_dump({"files": [{"outputs": ["../images/t3.tif"]}]}))
    assert bioseg("predict", model, folder / "t1.tif", "--out", tmp_path / "out", "--overwrite").exit_code == 0
    assert (folder / "t3.tif").is_file()


def test_two_images_never_share_a_mask(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_image(other / "T1.tif", discs(9)[0][0])
    result = bioseg("predict", model, folder, other, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "same mask" in result.stderr and "other" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_mask_never_replaces_its_image(bioseg: Bioseg, model: Path, folder: Path) -> None:
    whole = (folder / "t1.tif").read_bytes()
    result = bioseg("predict", model, folder, "--out", folder, "--overwrite")
    assert result.exit_code == 2 and "replace the image" in result.stderr
    assert (folder / "t1.tif").read_bytes() == whole


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing"])
def test_no_other_output_replaces_an_image(bioseg: Bioseg, model: Path, tmp_path: Path, option: str) -> None:
    out = tmp_path / "out"
    (out / "probabilities").mkdir(parents=True)
    write_image(out / "probabilities" / "a.tif", discs(0)[0][0])
    before = (out / "probabilities" / "a.tif").read_bytes()
    arguments = ("predict", model, out / "probabilities" / "a.tif", "--out", out, "--probabilities")
    result = bioseg(*arguments, option, "--overwrite")
    assert result.exit_code == 2 and "for what is written beside masks" in " ".join(result.stderr.split())
    assert (out / "probabilities" / "a.tif").read_bytes() == before and not (out / "a.tif").exists()


def test_missing_things_are_named(bioseg: Bioseg, disc_run: Path, model: Path, folder: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    for arguments, said in (
        ((tmp_path / "gone", folder), "gone"),
        ((tmp_path / "gone.safetensors", folder), "no such model"),
        ((model, tmp_path / "gone.tif"), "gone.tif"),
        ((folder, folder), "not a run"),
        ((disc_run, folder, "--state", "best-final"), "has no state"),
    ):
        if "best-final" in arguments and (disc_run / "checkpoints" / "best-final.safetensors").exists():
            continue
        result = bioseg("predict", *arguments, *out)
        assert result.exit_code == 3, result.output
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_averaged_views_agree_with_a_turned_image(disc_run: Path) -> None:
    model = load_model(disc_run / "checkpoints" / "best-supervised.safetensors", torch.device("cpu"))
    precision = resolve_precision("fp32", torch.device("cpu"))
    image = discs(20)[0]
    averaged, plain = Predictor(model, precision, tta=True), Predictor(model, precision)
    expected = averaged.probabilities(image)
    for turned, back in (
        (np.rot90(image, 1, (1, 2)), lambda maps: np.rot90(maps, -1, (1, 2))),
        (image[:, ::-1], lambda maps: maps[:, ::-1]),
    ):
        np.testing.assert_allclose(back(averaged.probabilities(turned)), expected, atol=1e-5)
        assert np.abs(back(plain.probabilities(turned)) - plain.probabilities(image)).max() > 1e-3
    views = [np.rot90(image[:, :, :: 1 - 2 * flip], turns, (1, 2)) for turns in range(4) for flip in (0, 1)]
    maps = [np.rot90(plain.probabilities(view), -(number // 2), (1, 2)) for number, view in enumerate(views)]
    mean = np.mean([view[:, :, :: 1 - 2 * (number % 2)] for number, view in enumerate(maps)], axis=0)
    np.testing.assert_allclose(expected, mean, atol=1e-5)


def test_averaged_views_from_the_command_line(bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path) -> None:
    result = bioseg("predict", disc_run, folder, "--out", tmp_path / "masks", "--tta")
    assert result.exit_code == 0, result.output
    assert yaml.safe_load((tmp_path / "masks" / "predictions.yaml").read_text())["config"]["tta"] is True
    scores = [json.loads(bioseg("evaluate", disc_run, "--json", *flag).stdout)["runs"][0] for flag in ((), ("--tta",))]
    assert scores[0]["mean_iou"] != scores[1]["mean_iou"]


def test_overlap_beyond_half_a_tile_is_refused(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    result = bioseg("predict", model, folder, "--out", tmp_path / "out", "--tile", 128, "--overlap", 65)
    assert result.exit_code == 2 and "at most half" in result.stderr


def test_other_pixel_sizes_are_pointed_out(bioseg: Bioseg, model: Path, folder: Path, tmp_path: Path) -> None:
    write_image(folder / "far.tif", discs(1)[0][0], size=1.0)
    result = bioseg("predict", model, folder, "--out", tmp_path / "out", "--quiet")
    assert result.exit_code == 0
    assert "far.tif is unlike the training images. Its pixels are 1 x 1 µm" in result.stderr
    assert inspect_image(tmp_path / "out" / "far.tif").pixel_size == PixelSize(1.0, 1.0)


def test_probabilities_in_bfloat16_are_close_and_add_up(tmp_path: Path) -> None:
    model = load_model(save_random_model(tmp_path / "m.safetensors"), torch.device("cpu"))
    image = discs(1)[0]
    single, brain = (
        Predictor(model, resolve_precision(name, torch.device("cpu"))).probabilities(image) for name in ("fp32", "bf16")
    )
    np.testing.assert_allclose(brain.sum(axis=0), 1, atol=1e-6)
    assert 0 < np.abs(brain - single).max() < 0.1


def test_overlays_outline_each_class_in_its_colour() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 10:20] = 1
    labels[10:20, 40:60] = 2
    pixels = np.full((1, 40, 60), 2000, np.uint16)
    pixels[0, 0, 0] = 1000
    decoder = HeadDecoder("main", CLASSES)
    picture = draw_overlay(pixels, labels, decoder)
    for code, inside in ((1, (10, 10)), (2, (10, 45))):
        assert tuple(picture[inside]) == CLASSES[code].colour
        assert tuple(picture[inside[0] - 1, inside[1] + 3]) == CLASSES[code].colour
    assert len(np.unique(picture[15, 12:18])) == 1  # the inside stays visible
    coloured = (picture == CLASSES[2].colour).all(axis=-1)
    assert not coloured[12:18, 58:].any()  # a class that goes on beyond the picture has no outline there
    constant = draw_overlay(np.zeros((1, 8, 8), np.float32), np.zeros((8, 8), np.uint8), decoder)
    assert constant.max() == 0
