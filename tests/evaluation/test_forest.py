"""The random forest beside a network: what it is grown on, what it finds, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import write_discs

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.forest import forest_prediction
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, count_images
from bioseg_cli.evaluation.scores import Resampling
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.training.forest import fit_forest, pixel_features

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]


def test_features_see_intensity_edges_and_scale() -> None:
    image = np.zeros((1, 40, 40), dtype=np.float32)
    image[:, :, 20:] = 1
    features = pixel_features(image)
    assert features.shape[:2] == (40, 40)
    flat, edge = features[20, 5], features[20, 20]
    assert np.abs(edge - flat).max() > 0.3


def test_a_forest_grown_on_one_image_finds_the_discs_of_another(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        forest = fit_forest(dataset, dataset.label_order[:1], seed=0)
        assert (forest.images, forest.pixels) == (1, 48 * 48)
        truth = DatasetGroundTruth(dataset, "test")
        predict = forest_prediction(forest, truth)
        agreement = np.mean([(predict(number) == truth.labels(number)).mean() for number in range(len(truth.names))])
        assert agreement > 0.97
        again = forest_prediction(fit_forest(dataset, dataset.label_order[:1], seed=0), truth)
        np.testing.assert_array_equal(predict(0), again(0))


def test_ignored_pixels_grow_no_tree(disc_dataset: Path, monkeypatch) -> None:
    with Dataset(disc_dataset) as dataset:
        labels = dataset.labels(0).copy()
        labels[:40] = dataset.ignore
        monkeypatch.setattr(dataset, "labels", lambda index: labels)
        assert fit_forest(dataset, np.array([0]), seed=0).pixels == 8 * 48


def test_the_forest_has_the_labels_of_the_run_it_stands_beside(bioseg: Cli, disc_run: Path) -> None:
    result = bioseg("evaluate", disc_run, "--split", "test", "--baselines", "forest", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)["runs"][0]
    assert document["baselines"]["forest"]["mean_iou"] > 0.9
    assert any("grown on 9216 pixels of 4 labelled images" in note for note in document["notes"])


def test_a_forest_for_each_label_budget(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 4 + ("val",))
    for labels in (1, 2):
        result = bioseg(
            "train-uda",
            data,
            "--run",
            tmp_path / str(labels),
            "--labels",
            labels,
            "--width",
            2,
            "--steps",
            1,
            "--quiet",
        )
        assert result.exit_code == 0, result.output
    result = bioseg("evaluate", tmp_path / "1", tmp_path / "2", "--baselines", "forest", "--json")
    baselines = json.loads(result.stdout)["runs"][0]["baselines"]
    assert sorted(baselines) == ["forest, 1 label", "forest, 2 labels"]


def test_forests_of_as_many_other_images_are_rows_of_their_own(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        truth, output = DatasetGroundTruth(dataset, "val"), ConsoleOutput(quiet=True)
        background = np.zeros(dataset.image_shape[1:], np.uint8)
        images = count_images(truth, lambda _: background, output, description="Reading masks")
        budgets = [dataset.label_order[:1], dataset.label_order[1:2], dataset.label_order[:2]]
        rows, said = score_baselines(["forest"], truth, dataset, images, Resampling(100), output, budgets)
    assert [row.name for row in rows] == ["forest, 1 label", "forest, 1 label (2)", "forest, 2 labels"]
    assert any("in the order of the runs" in note for note in said)


def test_without_training_labels_it_is_left_out_and_said(bioseg: Cli, tmp_path: Path) -> None:
    for name in ("predicted", "true"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", np.eye(32, dtype=np.uint8))
    result = bioseg(
        "evaluate",
        "--predictions",
        tmp_path / "predicted",
        "--truth",
        tmp_path / "true",
        "--baselines",
        "forest",
        "--json",
    )
    assert result.exit_code == 0, result.output
    notes = json.loads(result.stdout)["runs"][0]["notes"]
    assert "forest is left out: it needs labelled training images, which a data set has." in notes
