"""`bioseg evaluate --predictions --recursive`: masks in subfolders against the truth in the same subfolders."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.models import save_random_model, write_image
from sklearn.metrics import confusion_matrix

from bioseg_cli.io.images import read_frame

Bioseg = Callable[..., Result]
NAMES = ("t1", "a/t1", "a/t2", "b/day 2/t1")


def truth_of(number: int) -> np.ndarray:
    return discs(number)[1] * np.uint8(255)


def predicted_of(number: int) -> np.ndarray:
    return np.roll(discs(number)[1], 2, axis=1)


def write_tree(root: Path, mask_of: Callable[[int], np.ndarray], ending: str = "") -> Path:
    for number, name in enumerate(NAMES):
        path = root / f"{name}{ending}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, mask_of(number))
    return root


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Predicted and true masks; three of them are called t1."""
    return write_tree(tmp_path / "pred", predicted_of, "_mask"), write_tree(tmp_path / "truth", truth_of)


def scored(bioseg: Bioseg, *given: object) -> dict[str, Any]:
    result = bioseg("evaluate", *given, "--baselines", "none", "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["runs"]
    return dict(row)


def test_each_mask_is_compared_with_the_truth_in_its_subfolder(bioseg: Bioseg, trees, tmp_path: Path) -> None:
    pred, truth = trees
    report = tmp_path / "report"
    found = scored(bioseg, "--predictions", pred, "--truth", truth, "--recursive", "--out", report)
    true, predicted = (
        np.concatenate([mask_of(number).ravel() for number in range(4)]) for mask_of in (truth_of, predicted_of)
    )
    assert found["confusion"] == confusion_matrix(true > 0, predicted).tolist()
    with (report / "per_image.csv").open() as file:
        assert {row["image"] for row in csv.DictReader(file)} == set(NAMES)
    # Without the option, what lies in the folders themselves is scored.
    flat = scored(bioseg, "--predictions", pred, "--truth", truth)
    assert flat["images"] == 1


def test_a_missing_prediction_is_named_with_its_subfolder(bioseg: Bioseg, trees) -> None:
    pred, truth = trees
    (pred / "b" / "day 2" / "t1_mask.tif").rename(pred / "b" / "t1_mask.tif")
    result = bioseg("evaluate", "--predictions", pred, "--truth", truth, "--recursive")
    assert result.exit_code == 3 and "1 of 4 images have no prediction: b/day 2/t1" in result.stderr
    for folder in (pred, truth):
        (folder / "t1.tif").unlink(missing_ok=True)
        (folder / "t1_mask.tif").unlink(missing_ok=True)
    result = bioseg("evaluate", "--predictions", pred, "--truth", truth)
    assert result.exit_code == 3 and "Its subfolders hold images: --recursive uses them" in result.stderr


def test_masks_below_the_truth_are_not_the_truth(bioseg: Bioseg, trees) -> None:
    pred, truth = trees
    pred.rename(truth / "masks")
    found = scored(bioseg, "--predictions", truth / "masks", "--truth", truth, "--recursive")
    assert found["images"] == 4


def test_runs_have_no_subfolders(bioseg: Bioseg, tmp_path: Path) -> None:
    result = bioseg("evaluate", tmp_path, "--recursive")
    assert result.exit_code == 2 and "--recursive" in result.stderr


@pytest.mark.slow
def test_what_predict_writes_is_scored_as_it_is(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors")
    for number, name in enumerate(NAMES):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "images" / f"{name}.tif", discs(number)[0][0])
    out, truth = tmp_path / "out", write_tree(tmp_path / "truth", lambda number: truth_of(number) // 255)
    options = ("--recursive", "--overlay", "--probabilities", "--objects")
    assert bioseg("predict", model, tmp_path / "images", "--out", out, *options).exit_code == 0
    classes = ("--masks-are", "classes", "--classes", "background,cell,rim")
    given = ("--truth", truth, "--recursive", "--images", tmp_path / "images")
    found = scored(bioseg, "--predictions", out, *given, *classes)
    assert found["images"] == 4 and not any("were left out" in note for note in found["notes"])
    true, predicted = (
        np.concatenate([read_frame(root / f"{name}.tif").ravel() for name in NAMES]) for root in (truth, out)
    )
    assert found["confusion"] == confusion_matrix(true, predicted, labels=range(3)).tolist()
    # Its objects too, by their numbers.
    objects = scored(bioseg, "--predictions", out / "objects", *given, "--objects")["objects"]["foreground"]
    numbered = [int(read_frame(out / "objects" / f"{name}.tif").max()) for name in NAMES]
    assert objects["predicted_objects"] == sum(numbered)

    made = bioseg(
        "prepare",
        "folder",
        "--images",
        tmp_path / "images",
        "--masks",
        truth,
        "--recursive",
        "--test-share",
        0.5,
        "--val-share",
        0,
        "--out",
        tmp_path / "set.h5",
        *classes[2:3],
        "background,cell",
    )
    assert made.exit_code == 0, made.output
    test = scored(bioseg, "--predictions", out, "--truth", tmp_path / "set.h5", "--split", "test", "--recursive")
    assert test["images"] == 2
