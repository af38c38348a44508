"""Expected calibration error: by hand, as `evaluate` says it, and as the report draws it."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.document import ReliabilityBin
from bioseg_cli.metrics.reliability import BINS, expected_calibration_error, reliability_sums
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.report.reliability import pooled

Cli = Callable[..., Result]
CPU = torch.device("cpu")


def test_the_error_is_the_one_computed_by_hand() -> None:
    # Four pixels of two classes. 0.95 and 0.97 share the last bin, 0.6 is the upper edge of the ninth, one is ignored.
    of_second = np.array([[0.95, 0.97], [0.4, 0.3]], dtype=np.float32)
    probabilities = np.stack([1 - of_second, of_second])
    predicted = np.array([[1, 1], [0, 0]])
    labels = np.array([[1, 0], [0, 255]])
    sums = reliability_sums(probabilities, predicted, labels, 255)
    assert sums[:, 0].tolist() == [0] * 8 + [1] + [0] * 5 + [2]
    assert sums[14].tolist() == pytest.approx([2, 1.92, 1])
    assert sums[8].tolist() == pytest.approx([1, 0.6, 1])
    # Last bin: half are right of 0.96; ninth: all are right of 0.6.
    assert expected_calibration_error(sums) == pytest.approx((2 * (0.96 - 0.5) + 1 * (1 - 0.6)) / 3)
    assert np.isnan(expected_calibration_error(np.zeros((BINS, 3))))


def test_sums_of_images_are_the_sums_of_their_pixels_and_certainty_is_in_the_last_bin() -> None:
    random = np.random.default_rng(0)
    share = random.random((1, 20, 30)).astype(np.float32)
    probabilities = np.concatenate([share, 1 - share])
    probabilities[:, 0, 0] = 1.0000001, 0
    predicted, labels = probabilities.argmax(axis=0), random.integers(0, 2, (20, 30))
    whole = reliability_sums(probabilities, predicted, labels)
    parts = [
        reliability_sums(probabilities[:, rows], predicted[rows], labels[rows]) for rows in np.split(np.arange(20), 4)
    ]
    np.testing.assert_allclose(whole, np.sum(parts, axis=0))
    assert whole[:, 0].sum() == 600 and whole[:7].sum() == 0


@pytest.fixture(scope="module")
def scored(bioseg: Cli, disc_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    table = tmp_path_factory.mktemp("scores") / "table.csv"
    result = bioseg("evaluate", disc_run, "--json", "--draws", 100, "--csv", table, "--split", "test")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["runs"][0], " ".join(result.stderr.split()), table


def test_evaluate_says_both_errors(
    scored: tuple[dict[str, Any], str, Path], disc_run: Path, disc_dataset: Path
) -> None:
    found, _, table = scored
    model = load_model(disc_run / "checkpoints" / "best-supervised.safetensors", CPU)
    predictor = Predictor(model, resolve_precision("auto", CPU))
    confidences: dict[str, list[np.ndarray]] = {"ece_before": [], "ece": []}
    right = []
    with Dataset(disc_dataset) as dataset:
        for index in dataset.indices("test").tolist():
            probabilities = predictor.probabilities(dataset.image(index)).astype(float)
            calm = probabilities ** (1 / model.card.temperature)
            right.append((probabilities.argmax(axis=0) == dataset.labels(index)).ravel())
            confidences["ece_before"].append(probabilities.max(axis=0).ravel())
            confidences["ece"].append((calm.max(axis=0) / calm.sum(axis=0)).ravel())
    correct = np.concatenate(right)
    calibration = found["calibration"]
    assert calibration["temperature"] == model.card.temperature != 1
    for key, parts in confidences.items():
        confidence = np.concatenate(parts)
        edges = np.linspace(0, 1, 16)
        expected = 0.0
        for low, high in itertools.pairwise(edges):
            within = (confidence > low) & (confidence <= high)
            if within.any():
                expected += within.mean() * abs(correct[within].mean() - confidence[within].mean())
        assert calibration[key] == pytest.approx(expected, abs=2e-4)
    assert calibration["ece"] != calibration["ece_before"]
    assert sum(place["pixels"] for place in calibration["reliability"]) == correct.size
    assert all(
        place["above"] < place["confidence"] <= place["above"] + 1 / 15 + 1e-6 for place in calibration["reliability"]
    )
    (note,) = (note for note in found["notes"] if "calibration error" in note)
    assert note == (
        f"{disc_run}: expected calibration error {calibration['ece']:.4f}; {calibration['ece_before']:.4f} without the "
        f"temperature of {calibration['temperature']:.3g} that `predict` applies to probabilities."
    )
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["ece"]) == calibration["ece"] and float(rows[0]["ece_before"]) == calibration["ece_before"]
    assert rows[1]["ece"] == ""


def test_curves_of_several_runs_are_of_all_their_pixels() -> None:
    first = [ReliabilityBin(above=0.6, pixels=10, confidence=0.65, accuracy=0.5)]
    second = [
        ReliabilityBin(above=0.2, pixels=1, confidence=0.25, accuracy=1.0),
        ReliabilityBin(above=0.6, pixels=30, confidence=0.61, accuracy=0.9),
    ]
    assert pooled([first, second]) == [pytest.approx((0.25, 1.0)), pytest.approx((0.62, 0.8))]


@pytest.mark.slow
def test_the_report_draws_the_curve_and_says_the_errors(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = bioseg("report", disc_run, "--out", page, "--quiet", "--split", "test")
    assert result.exit_code == 0, result.output
    scores = json.loads(bioseg("evaluate", disc_run, "--json", "--draws", 100, "--split", "test").stdout)
    calibration = scores["runs"][0]["calibration"]
    text = page.read_text()
    (words,) = re.findall(r'<desc id="reliability-[^"]*">([^<]*)</desc>', text)
    assert words == (
        f"KL, 1 run: expected calibration error {calibration['ece_before']:.4f} before and {calibration['ece']:.4f} "
        "after the temperature."
    )
    assert "As sure as right" in text
