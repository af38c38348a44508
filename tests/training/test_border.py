"""The head that learns the borders of objects: what it learns, what it leaves alone, and what objects come of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import DISC_SETTINGS, write_discs
from helpers.models import save_random_model, write_image
from helpers.networks import CPU, FP32
from helpers.runs import manifest, rows
from pydantic import ValidationError
from scipy.ndimage import label

from bioseg_cli.config import BORDER_HEAD
from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.objects.instances import ObjectRule, find_objects
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.manifest import run_hash
from bioseg_cli.training.border import apart, border_of, marking
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

Bioseg = Callable[..., Result]


DRAWN = {0: np.broadcast_to(np.arange(48)[:, None] < 30, (48, 48))}
"""Of the first image the upper part is drawn; its edge cuts discs."""


def each(mask: np.ndarray) -> np.ndarray:
    """Every disc is an object."""
    numbers: np.ndarray = label(mask)[0].astype(np.uint16)
    return numbers


def lines(mask: np.ndarray) -> np.ndarray:
    """Of discs every row is an object."""
    return mask * np.arange(1, len(mask) + 1, dtype=np.uint16)[:, None]


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs whose masks number them."""
    return write_discs(tmp_path_factory.mktemp("data") / "numbered.h5", number=each, drawn=DRAWN)


def config(**settings: object) -> TrainUDAConfig:
    given = {"labels": 2, "width": 2, "unsup_loss": "none", "border": 2, "steps": 6, **settings}
    return TrainUDAConfig.model_validate(given)


def test_borders_are_where_objects_end_or_touch_and_not_at_the_frame() -> None:
    numbers = np.array(
        [
            [0, 1, 1, 1, 1, 2, 2, 2],
            [0, 1, 1, 1, 1, 2, 2, 2],
            [0, 1, 1, 1, 1, 2, 2, 2],
            [0, 1, 1, 1, 1, 2, 2, 2],
        ]
    )
    columns = {1: [1, 4, 5], 2: [1, 2, 3, 4, 5, 6], 3: [1, 2, 3, 4, 5, 6, 7]}
    for width, expected in columns.items():
        border = border_of(numbers, width)
        assert sorted(set(np.nonzero(border)[1].tolist())) == expected
        assert (border == border[0]).all()
    corner = np.zeros((5, 5), int)
    corner[:3, :3] = 1
    # A pixel whose neighbour by a corner is of no object is at the border too.
    assert (border_of(corner, 1) == ((corner == 1) & ~np.pad(np.ones((2, 2), bool), (0, 3)))).all()


def test_marked_masks_come_apart_into_classes_and_borders(numbered: Path) -> None:
    with Dataset(numbered) as dataset:
        marked = marking(dataset, np.array([0, 3]), 2)
        assert marked(1) is None
        for index in (0, 3):
            mask = marked(index)
            assert mask is not None
            labels = torch.from_numpy(np.where(mask == dataset.ignore, IGNORE, mask.astype(np.int64)))
            codes, border = apart(labels[None])
            stored = dataset.labels(index)
            np.testing.assert_array_equal(codes[0], np.where(stored == dataset.ignore, IGNORE, stored.astype(int)))
            objects, undrawn = dataset.objects(index) > 0, stored == dataset.ignore
            expected = border_of(dataset.objects(index), 2).astype(int)
            assert 0 < expected.sum() < objects.sum()
            # Two pixels from what nobody drew, it is not known whether the object ends.
            unknown = undrawn | (objects & np.pad(undrawn, ((0, 2), (0, 0)))[2:])
            assert (unknown & ~undrawn).any() == (index == 0)
            np.testing.assert_array_equal(border[0], np.where(unknown, IGNORE, expected))


@pytest.mark.parametrize("geometry", ["paper", "wide"])
def test_a_step_learns_classes_as_without_borders_and_the_borders_beside_them(numbered: Path, geometry: str) -> None:
    with Dataset(numbered) as dataset:
        given = {"batch_size": 2, "geometry": geometry, "sup_loss": "ce-dice"}
        method, plain = UDA(dataset, config(**given), CPU), UDA(dataset, config(**given, border=0), CPU)
        assert method.heads == {"main": 2, BORDER_HEAD: 2} and not method.training_heads
        network = build_network(config(**given), dataset, method.heads).eval()
        batch, shown = method.draw(0, 1), plain.draw(0, 1)
        losses = method.loss(network, batch, FP32)
        assert torch.equal(losses["supervised"], plain.loss(network, shown, FP32)["supervised"])
        mirrored = geometry == "wide"
        labels = batch.labelled_weak.warp(
            batch.labelled.labels, "nearest", fill=0 if mirrored else IGNORE, mirrored=mirrored
        )
        said = network(batch.labelled_weak.warp(batch.labelled.images, mirrored=mirrored))
        expected = plain._labelled_loss(said[BORDER_HEAD].float(), apart(labels)[1])
        torch.testing.assert_close(losses["border"], expected)
        torch.testing.assert_close(losses["total"], losses["supervised"] + expected)


def test_crops_and_validation_show_the_classes_alone(numbered: Path) -> None:
    with Dataset(numbered) as dataset:
        method = UDA(dataset, config(crop=32, crop_around="labels"), CPU)
        codes, _ = apart(method.draw(0, 0).labelled.labels)
        assert set(codes.unique().tolist()) <= {IGNORE, 0, 1}
        index = int(dataset.indices("val")[0])
        labels = method._source.batch(np.array([index])).labels
        assert set(labels.unique().tolist()) == {0, 1}


def test_masks_without_objects_and_labels_of_a_forest_are_refused(disc_dataset: Path, bioseg: Bioseg) -> None:
    with Dataset(disc_dataset) as dataset, pytest.raises(UsageError, match="tell classes and not single objects"):
        UDA(dataset, config(), CPU)
    with pytest.raises(
        ValidationError, match="--border needs single objects, and --pseudo-labels forest labels classes"
    ):
        config(pseudo_labels="forest")
    result = bioseg("train-uda", disc_dataset, "--border", 2, "--run", "unused", "--steps", 1)
    assert result.exit_code == 2 and "leave out --border" in result.stderr


@pytest.mark.slow
def test_objects_of_a_run_lie_inside_its_borders(numbered: Path, bioseg: Bioseg, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert bioseg("train-uda", numbered, "--run", run, *DISC_SETTINGS, "--border", 2).exit_code == 0
    assert "train_border" in rows(run)[0] and manifest(run)["config"]["border"] == 2
    (tmp_path / "images").mkdir()
    checkpoint = run / "checkpoints" / "best-supervised.safetensors"
    trained = load_model(checkpoint, CPU)
    assert trained.card.architecture.heads == {"main": 2, BORDER_HEAD: 2}
    # Discs that lie apart are objects with any borders: from here on all is one cell, but for borders anywhere.
    torch.manual_seed(4)
    weights = trained.network.state_dict()
    weights["heads.main.bias"] += torch.tensor([0.0, 1e3])
    weights[f"heads.{BORDER_HEAD}.weight"] = torch.randn_like(weights[f"heads.{BORDER_HEAD}.weight"])
    weights[f"heads.{BORDER_HEAD}.bias"] *= 0
    save_model(checkpoint, weights, trained.card)
    model = load_model(checkpoint, CPU)
    with Dataset(numbered) as dataset:
        for index in dataset.indices("val").tolist():
            write_image(tmp_path / "images" / f"{index}.tif", dataset.image(index)[0])
    out = tmp_path / "out"
    given = (run, tmp_path / "images", "--state", "best-supervised", "--precision", "fp32", "--objects")
    result = bioseg("predict", *given, "--out", out, "--json")
    assert result.exit_code == 0 and "Objects lie inside the borders that the network sees" in result.stderr
    record = json.loads(result.stdout)
    rules = [ObjectRule.model_validate(rule) for rule in record["object_rules"]]
    found, otherwise = 0, {"without": 0, "inverted": 0}
    for entry in record["files"]:
        pixels = tifffile.imread(entry["input"])[None]
        by_head = Predictor(model, FP32).probabilities_by_head(("main", BORDER_HEAD), pixels)
        borders = by_head[BORDER_HEAD].argmax(axis=0) == 1
        codes = tifffile.imread(out / entry["outputs"][0])
        np.testing.assert_array_equal(codes, by_head["main"].argmax(axis=0))
        numbers = find_objects(codes, rules, borders).numbers
        np.testing.assert_array_equal(tifffile.imread(out / "objects" / f"{entry['name']}.tif"), numbers)
        found += numbers.max()
        otherwise["without"] += find_objects(codes, rules).numbers.max()
        otherwise["inverted"] += find_objects(codes, rules, ~borders).numbers.max()
    assert found not in otherwise.values()
    scored = bioseg(
        "evaluate", run, "--split", "val", "--objects", "--baselines", "none", "--precision", "fp32", "--json"
    )
    assert json.loads(scored.stdout)["runs"][0]["objects"]["cell"]["predicted_objects"] == found


@pytest.mark.slow
def test_objects_inside_borders_do_not_depend_on_tiles_and_processes(bioseg: Bioseg, tmp_path: Path) -> None:
    random = load_model(save_random_model(tmp_path / "model.safetensors", border=True), CPU)
    weights = random.network.state_dict()
    weights["heads.main.bias"] += torch.tensor([0.0, 1e3, 0.0])  # all is one cell, but for borders anywhere
    save_model(model := tmp_path / "model.safetensors", weights, random.card)
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(500, 3200, (150, 170)).astype(np.uint16)
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.tif", pixels + (name == "b"))
    ways = {"whole": (), "tiled": ("--tile", 128), "jobs": ("--jobs", 2)}
    for way, options in ways.items():
        asked = ("--out", tmp_path / way, "--objects", "--precision", "fp32", "--any-dtype", *options)
        result = bioseg("predict", model, tmp_path / "images", *asked)
        assert result.exit_code == 0 and "Objects lie inside the borders" in result.stderr
    for other in ("tiled", "jobs"):
        for name in ("a.tif", "objects/a.tif", "objects/b.tif"):
            np.testing.assert_array_equal(*(tifffile.imread(tmp_path / way / name) for way in ("whole", other)))
    assert (tifffile.imread(tmp_path / "whole" / "a.tif") == 1).all()
    assert tifffile.imread(tmp_path / "whole" / "objects" / "a.tif").max() > 1


@pytest.mark.slow
def test_a_training_of_borders_goes_on_with_the_same_objects_alone(
    numbered: Path, bioseg: Bioseg, tmp_path: Path
) -> None:
    joined = write_discs(tmp_path / "joined.h5", number=lines, drawn=DRAWN)
    run = tmp_path / "run"
    asked = ("--width", 2, "--labels", 2, "--unsup-loss", "none", "--border", 1, "--epoch-steps", 2, "--quiet")
    assert bioseg("train-uda", numbered, "--run", run, "--steps", 2, *asked).exit_code == 0
    refused = bioseg("train-uda", joined, "--resume", run, "--steps", 4)
    assert refused.exit_code == 3 and "data set" in refused.stderr
    assert bioseg("train-uda", "--resume", run, "--steps", 4).exit_code == 0
    with Dataset(numbered) as first, Dataset(joined) as second:
        assert first.content_hash == second.content_hash
        for border, equal in ((1, False), (0, True)):
            settings = config(border=border).model_dump(mode="json")
            learnt = [(data.content_hash, None, data.objects_hash) for data in (first, second)]
            assert (len({run_hash("train-uda", settings, *hashes) for hashes in learnt}) == 1) is equal
