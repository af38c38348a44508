"""A run is scored on data sets whose classes have its names, in whatever order, and on no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import SIZE, SPLITS, discs
from helpers.models import CLASSES, save_clusters
from scipy import ndimage

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.evaluation.class_order import reordered
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.model.saved import load_model
from bioseg_cli.objects.of_run import rules_of_run

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
NAMES = ("background", "cell", "rim")


def write_rimmed(path: Path, names: Sequence[str] = NAMES, *, called: Sequence[str] | None = None) -> Path:
    """Discs with a rim of a class of its own; the classes are in the order of `names`, and may be called otherwise."""
    normalisation = Normalisation(method="minmax", low=(500.0,), high=(3200.0,))
    classes = tuple(ClassInfo(name=name, colour=(9, code, 0)) for code, name in enumerate(called or names))
    codes = np.array([names.index(name) for name in NAMES], dtype=np.uint8)
    with DatasetWriter(path, count=len(SPLITS), image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer:
        for index, split in enumerate(SPLITS):
            image, mask = discs(index)
            rim = (mask == 1) & ~ndimage.binary_erosion(mask)
            labels = codes[mask + rim]
            image = (image - 600 * rim).astype(np.uint16)
            source = ItemSource(f"disc{index}.tif", f"{index:064x}", 0, (0, 0), (SIZE, SIZE))
            writer.add(Item(image, labels, split, f"g{index}", source))
        writer.finish(DatasetInfo("rimmed", {}, classes, normalisation))
    return path


@pytest.fixture(scope="module")
def rimmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rimmed(tmp_path_factory.mktemp("data") / "rimmed.h5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, rimmed: Path, bioseg: Cli) -> Path:
    path = tmp_path_factory.mktemp("runs") / "rimmed"
    options = ("--width", 4, "--steps", 40, "--batch-size", 2, "--lr", 0.02, "--unsup-loss", "none", "--quiet")
    result = bioseg("train-uda", rimmed, "--run", path, "--labels", 6, *options)
    assert result.exit_code == 0, result.output
    return path


def scored(bioseg: Cli, run: Path, *options: object) -> dict[str, Any]:
    result = bioseg("evaluate", run, "--json", "--baselines", "none", *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    return found


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_classes_in_another_order_are_matched_by_name(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    own = scored(bioseg, run, "--objects")
    assert len({round(own["iou"][name], 2) for name in NAMES}) == 3
    other = write_rimmed(tmp_path / "other.h5", ("background", "rim", "cell"))
    found = scored(bioseg, run, "--data", other, "--objects")
    assert list(found["iou"]) == ["background", "rim", "cell"]
    for key in ("iou", "dice", "objects"):
        assert found[key] == {name: own[key][name] for name in found[key]}
    for key in ("mean_iou", "mean_iou_foreground", "pixel_accuracy"):
        assert found[key] == pytest.approx(own[key], abs=1e-12)
    assert found["calibration"] == own["calibration"]
    order = [0, 2, 1]
    assert found["confusion"] == [[own["confusion"][row][column] for column in order] for row in order]
    assert any("matched by name" in note for note in found["notes"])
    assert not any("matched by name" in note for note in own["notes"])


def test_objects_of_a_class_are_told_apart_by_the_rule_of_its_name(run: Path) -> None:
    cell, rim = rules_of_run(run)[0].learnt
    assert cell != rim
    assert rules_of_run(run, NAMES)[0].learnt == (cell, rim)
    assert rules_of_run(run, ("background", "rim", "cell"))[0].learnt == (rim, cell)


def test_other_names_are_refused_until_they_are_said_to_mean_the_same(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    other = write_rimmed(tmp_path / "other.h5", called=("background", "nucleus", "membrane"))
    refused = bioseg("evaluate", run, "--data", other)
    assert refused.exit_code == 3
    assert "has the classes background, cell, rim; the data set background, nucleus, membrane" in said(refused)
    assert "If they mean the same in this order, give --classes background,cell,rim." in said(refused)
    found = scored(bioseg, run, "--data", other, "--classes", ",".join(NAMES))
    assert found["iou"] == scored(bioseg, run)["iou"]
    swapped = write_rimmed(tmp_path / "swapped.h5", ("background", "rim", "cell"), called=("bg", "membrane", "nucleus"))
    again = scored(bioseg, run, "--data", swapped, "--classes", "background,rim,cell")
    assert again["iou"] == {name: found["iou"][name] for name in ("background", "rim", "cell")}


def test_another_background_is_refused(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    refused = bioseg("evaluate", run, "--data", write_rimmed(tmp_path / "other.h5", ("cell", "background", "rim")))
    assert refused.exit_code == 3
    assert "the first class is the background, and the two do not agree on it" in said(refused)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--classes", "background,cell,rim"), "--classes goes with --data, whose classes it names"),
        (("--data", "DATA", "--classes", "background,cell"), "--classes gives 2 names, and the data set has 3 classes"),
    ],
)
def test_names_that_do_not_fit(options: tuple[str, ...], message: str, bioseg: Cli, run: Path, rimmed: Path) -> None:
    refused = bioseg("evaluate", run, *[rimmed if option == "DATA" else option for option in options])
    assert refused.exit_code == 2 and message in said(refused)


def test_masks_of_bioseg_are_matched_by_the_names_in_their_record(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    other = write_rimmed(tmp_path / "other.h5", ("background", "rim", "cell"))
    masks = tmp_path / "masks"
    assert bioseg("predict", run, other, "--split", "val", "--out", masks).exit_code == 0
    result = bioseg("evaluate", "--predictions", masks, "--truth", other, "--json", "--baselines", "none")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    own = scored(bioseg, run, "--data", other)
    assert found["iou"] == own["iou"] and found["confusion"] == own["confusion"]
    assert any("matched by the names of the classes" in note for note in found["notes"])
    swapped = write_rimmed(tmp_path / "swapped.h5", ("rim", "background", "cell"))
    refused = bioseg("evaluate", "--predictions", masks, "--truth", swapped)
    assert refused.exit_code == 3 and "the two do not agree on it" in said(refused)


def test_reordered_classes_have_the_logits_of_their_names(run: Path) -> None:
    model = load_model(run / "checkpoints" / "last.safetensors", torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    other = reordered(model, [0, 2, 1])
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        ours, theirs = model.network(image)["main"], other.network(image)["main"]
    assert torch.equal(theirs, ours[:, [0, 2, 1]])
    assert [info.name for info in other.card.classes] == ["background", "rim", "cell"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_reordered_clusters_keep_the_names_that_they_mean(tmp_path: Path) -> None:
    model = load_model(save_clusters(tmp_path / "clusters.safetensors"), torch.device("cpu"))
    order = [0, 2, 1]
    shares = tuple((0.5, 0.3, 0.2) for _ in range(3))
    mapping = model.card.mappings["main"].model_copy(update={"shares": shares})
    card = model.card.model_copy(update={"mappings": {**model.card.mappings, "main": mapping}})
    other = reordered(type(model)(model.network, card, model.path), order).card
    for head, known in card.mappings.items():
        found = other.mappings[head]
        assert [other.classes[code].name for code in found.classes] == [CLASSES[code].name for code in known.classes]
    assert other.mappings["main"].shares == tuple((0.5, 0.2, 0.3) for _ in range(3))
