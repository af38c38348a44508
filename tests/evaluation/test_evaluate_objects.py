"""`bioseg evaluate --objects`: which objects are compared, and where their scores go."""

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
from conftest import write_discs
from helpers.blobs import random_objects
from PIL import Image

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.objects import image_counts
from bioseg_cli.metrics.intervals import bootstrap_interval
from bioseg_cli.metrics.matching import Count, average_precision, object_counts, panoptic_quality, seg
from bioseg_cli.objects.instances import Objects, find_objects
from bioseg_cli.objects.labelled import connected_objects
from bioseg_cli.objects.of_run import rules_of_run

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
Score = Callable[..., dict[str, Any]]


@pytest.fixture
def score(bioseg: Bioseg) -> Score:
    """The one result of an evaluation, read from its JSON."""

    def run(*arguments: object) -> dict[str, Any]:
        result = bioseg("evaluate", *arguments, "--objects", "--baselines", "none", "--json")
        assert result.exit_code == 0, result.output
        (document,) = json.loads(result.stdout)["runs"]
        return dict(document)

    return run


@pytest.fixture
def numbered(tmp_path: Path) -> tuple[Path, Path]:
    """Five true masks of touching numbered objects, and predictions that are shifted and renumbered."""
    for folder in ("truth", "pred"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        truth = random_objects(index).astype(np.uint16)
        truth[(np.bincount(truth.ravel()) < 30)[truth]] = 0
        tifffile.imwrite(tmp_path / "truth" / f"c{index}.tif", 10 * truth)
        shifted = np.roll(truth, 1, axis=1)
        tifffile.imwrite(tmp_path / "pred" / f"c{index}.tif", np.where(shifted > 0, 300 - shifted, 0).astype(np.uint16))
    return tmp_path / "truth", tmp_path / "pred"


def test_numbers_of_masks_are_their_objects(score: Score, numbered: tuple[Path, Path]) -> None:
    truth, pred = numbered
    found = score("--predictions", pred, "--truth", truth, "--masks-are", "instances")
    maps = [(tifffile.imread(truth / f"c{index}.tif"), tifffile.imread(pred / f"c{index}.tif")) for index in range(5)]
    counts = np.stack([object_counts(*both) for both in maps])
    total = counts.sum(axis=0)
    objects = found["objects"]["foreground"]
    assert objects["true_objects"] == total[Count.TRUE] == sum(len(np.unique(true)) - 1 for true, _ in maps)
    assert objects["predicted_objects"] == total[Count.PREDICTED]
    np.testing.assert_allclose([objects[f"ap_{t / 100:.2f}"] for t in range(50, 100, 5)], average_precision(total))
    assert objects["mean_ap"] == pytest.approx(average_precision(total).mean())
    assert [objects[name] for name in ("pq", "sq", "rq")] == pytest.approx(panoptic_quality(total).tolist())
    assert objects["seg"] == pytest.approx(float(seg(total)))
    limits = bootstrap_interval(counts, seg)
    assert objects["intervals"]["seg"] == pytest.approx(limits.tolist())
    assert limits[0] < objects["seg"] < limits[1]
    assert "True objects have the numbers of the masks." in found["notes"]
    assert "Predicted objects have the numbers of the masks." in found["notes"]


def test_objects_of_predict_are_scored_however_small_they_are(score: Score, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "out" / "objects").mkdir(parents=True)
    (tmp_path / "out" / "predictions.yaml").write_text("files: []\n")
    mask = random_objects(0).astype(np.uint16)  # one of them is a pixel
    tifffile.imwrite(tmp_path / "truth" / "a.tif", mask)
    tifffile.imwrite(tmp_path / "out" / "objects" / "a.tif", mask)
    given = ("--predictions", tmp_path / "out" / "objects", "--truth", tmp_path / "truth", "--masks-are", "instances")
    objects = score(*given)["objects"]["foreground"]
    assert objects["ap_0.95"] == 1 and objects["predicted_objects"] == len(np.unique(mask)) - 1


def test_class_masks_have_connected_objects(score: Score, numbered: tuple[Path, Path], tmp_path: Path) -> None:
    truth, pred = numbered
    expected = 0
    for folder in (truth, pred):
        (tmp_path / f"{folder.name}-binary").mkdir()
        for path in folder.glob("*.tif"):
            mask = tifffile.imread(path) > 0
            Image.fromarray(mask).save(tmp_path / f"{folder.name}-binary" / f"{path.stem}.png")
            expected += len(connected_objects(mask, 2).classes) if folder is truth else 0
    found = score("--predictions", tmp_path / "pred-binary", "--truth", tmp_path / "truth-binary")
    assert found["objects"]["foreground"]["true_objects"] == expected
    assert "Predicted objects are the connected components of each class." in found["notes"]
    mixed = score("--predictions", pred, "--truth", tmp_path / "truth-binary")
    assert mixed["objects"]["foreground"]["merges"] <= found["objects"]["foreground"]["merges"]
    assert mixed["objects"]["foreground"]["predicted_objects"] == sum(
        len(np.unique(tifffile.imread(path))) - 1 for path in pred.glob("*.tif")
    )


def test_classes_are_scored_apart(score: Score, tmp_path: Path) -> None:
    truth, prediction = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    truth[2:6, 2:6], truth[10:14, 2:6], truth[2:6, 12:16] = 1, 2, 2
    prediction[2:6, 2:6], prediction[10:14, 2:6], prediction[2:6, 12:16] = 1, 2, 1
    for name, mask in (("truth", truth), ("pred", prediction)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", mask)
    given = ("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth", "--masks-are", "classes")
    objects = score(*given, "--classes", "background,cell,rim")["objects"]
    assert {name: (score["true_objects"], score["predicted_objects"]) for name, score in objects.items()} == {
        "cell": (1, 2),
        "rim": (2, 1),
    }
    assert (objects["cell"]["precision"], objects["cell"]["recall"]) == (0.5, 1)
    assert (objects["rim"]["precision"], objects["rim"]["recall"]) == (1, 0.5)
    assert objects["cell"]["intervals"]["f1"] == [None, None]


def test_a_run_is_scored_by_the_objects_that_predict_would_find(
    score: Score, bioseg: Bioseg, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    found = score(disc_run)
    out = tmp_path / "out"
    bioseg("predict", disc_run, disc_dataset, "--out", out, "--objects")
    rules = rules_of_run(disc_run)[0].of_classes(2)
    with Dataset(disc_dataset) as dataset:
        total = 0
        for index in dataset.indices("val"):
            codes = tifffile.imread(out / f"{dataset.name(int(index))}.tif")
            labels = tifffile.imread(out / "objects" / f"{dataset.name(int(index))}.tif")
            np.testing.assert_array_equal(find_objects(codes, rules).numbers, labels)
            total += object_counts(connected_objects(dataset.labels(int(index)), 2).numbers, labels)
    assert found["objects"]["cell"]["predicted_objects"] == total[Count.PREDICTED] > 0
    assert found["objects"]["cell"]["seg"] == pytest.approx(float(seg(total)))
    assert any(note.startswith(f"{disc_run}: objects are told apart") for note in found["notes"])


def test_clusters_have_objects_by_their_mapping(score: Score, bioseg: Bioseg, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5")
    small = ("--width", 2, "--steps", 2, "--batch-size", 2, "--crop", 32, "--quiet")
    trained = bioseg("train-iic", data, "--run", tmp_path / "iic", *small)
    assert trained.exit_code == 0, trained.output
    found = score(tmp_path / "iic", "--head", "main", "--mapping", "oracle")
    with Dataset(data) as dataset:
        true = sum(len(connected_objects(dataset.labels(int(i)), 2).classes) for i in dataset.indices("val"))
    assert found["objects"]["cell"]["true_objects"] == true


def test_tables_and_files_have_the_scores(bioseg: Bioseg, numbered: tuple[Path, Path], tmp_path: Path) -> None:
    truth, pred = numbered
    given = ("--predictions", pred, "--truth", truth, "--masks-are", "instances", "--baselines", "none", "--objects")
    result = bioseg("evaluate", *given, "--out", tmp_path / "report", "--csv", tmp_path / "table.csv")
    assert result.exit_code == 0, result.output
    (run,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())["runs"]
    objects = run["objects"]["foreground"]
    for value in (objects["ap_0.50"], objects["mean_ap"], objects["pq"], objects["seg"], objects["f1"]):
        assert f"{value:.4f}" in result.output
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert float(row["seg foreground"]) == objects["seg"] and int(row["merges foreground"]) == objects["merges"]
    images = list(csv.DictReader((tmp_path / "report" / "per_image.csv").read_text().splitlines()))
    assert sum(int(image["true_objects foreground"]) for image in images) == objects["true_objects"]
    assert all(0 <= float(image["f1 foreground"]) <= 1 for image in images)
    without = bioseg("evaluate", *given[:-1], "--json")
    assert "objects" not in json.loads(without.stdout)["runs"][0]


def test_what_lies_on_ignored_pixels_counts_nowhere() -> None:
    ignored = np.zeros((10, 20), dtype=bool)
    ignored[:, 10:] = True
    predicted = np.zeros((10, 20), np.int32)
    predicted[1:3, 8:12] = 1  # half of it
    predicted[5:7, 8:13] = 2  # six of ten pixels
    predicted[8, 15] = 3
    truth = np.where(ignored, 0, predicted == 1).astype(np.int32)
    objects = Objects(truth, np.array([1])), Objects(predicted, np.array([1, 1, 1]))
    (counts,) = image_counts(*objects, ignored, 2)
    assert (counts[Count.TRUE], counts[Count.PREDICTED], counts[Count.SEG]) == (1, 1, 1)


def test_strokes_are_no_objects(bioseg: Bioseg, disc_run: Path, tmp_path: Path) -> None:
    drawn = np.zeros((48, 48), dtype=bool)
    drawn[::3] = True
    data = write_discs(tmp_path / "d.h5", drawn=dict.fromkeys(range(13), drawn), settings={"drawn_in_part": True})
    result = bioseg("evaluate", disc_run, "--data", data, "--objects")
    assert result.exit_code == 3 and "Leave out --objects" in result.output


def test_cross_validation_has_no_objects(bioseg: Bioseg, disc_run: Path) -> None:
    result = bioseg("evaluate", disc_run, "--objects", "--cross-validate")
    assert result.exit_code == 2 and "--cross-validate trains anew" in " ".join(result.output.split())


def test_numbers_of_a_data_set_are_the_true_objects(score: Score, bioseg: Bioseg, tmp_path: Path) -> None:
    data = tmp_path / "nuclei.h5"
    made = bioseg("prepare", "demo", "--kind", "nuclei", "--images", 6, "--size", 256, "--out", data, "--quiet")
    assert made.exit_code == 0, made.output
    trained = bioseg("train-uda", data, "--run", tmp_path / "run", "--width", 2, "--steps", 1, "--quiet")
    assert trained.exit_code == 0, trained.output
    found = score(tmp_path / "run", "--split", "val")
    with Dataset(data) as dataset:
        shown = [dataset.objects(index) for index in map(int, dataset.indices("val"))]
        pieces = sum(connected_objects(dataset.labels(int(i)), 2).classes.size for i in dataset.indices("val"))
    assert found["objects"]["nucleus"]["true_objects"] == sum(len(np.unique(numbers)) - 1 for numbers in shown) > pieces
    assert "True objects have the numbers of the masks." in found["notes"]
