"""UDA's further devices against independent numbers: pseudo-labels, training-signal annealing, averaged weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bioseg_cli.training.average import WeightAverage
from bioseg_cli.training.losses import drop_learnt, pseudo_label_consistency, tsa_threshold

Numbers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def o5(oracles: Path) -> Numbers:
    return dict(np.load(oracles / "o5_uda_consistency.npz"))


@pytest.mark.parametrize("threshold", ["0.0", "0.8", "0.95"])
def test_pseudo_labels(o5: Numbers, threshold: str) -> None:
    weak, strong = (torch.from_numpy(o5[f"bin/logits_{name}"]) for name in ("weak", "strong_aligned"))
    valid = torch.from_numpy(o5["bin/valid"])[:, None].double()
    loss = pseudo_label_consistency(weak, strong.softmax(1), valid, confidence=float(threshold))
    assert loss.item() == pytest.approx(float(o5[f"fixmatch/th{threshold}"]), abs=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "exp", "log"])
@pytest.mark.parametrize("classes", [2, 4])
def test_annealing_thresholds(o5: Numbers, schedule: str, classes: int) -> None:
    ours = [tsa_threshold(schedule, step / 100, classes) for step in o5["tsa/step"]]  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, o5[f"tsa/{schedule}/K{classes}"], rtol=0, atol=1e-12)


class Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("statistic", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def averages(values: np.ndarray, decay: float) -> list[float]:
    network = Scalar()
    kept = WeightAverage(network, decay)  # type: ignore[arg-type]
    series = []
    for updates, value in enumerate(values, start=1):
        nn.init.constant_(network.weight, float(value))
        network.statistic.fill_(-value)
        network.count.fill_(updates)
        kept.update(network, updates)  # type: ignore[arg-type]
        series.append(float(kept.network.weight))
        # Statistics of batch norm are averaged as weights are; what counts batches is the network's.
        assert float(kept.network.statistic) == -series[-1]
        assert int(kept.network.count) == updates
    assert not kept.network.training
    assert not kept.network.weight.requires_grad
    return series


def test_averaged_weights(o5: Numbers) -> None:
    np.testing.assert_allclose(averages(o5["ema/x"], 0.99), o5["ema/alpha0.99_warm"], rtol=0, atol=1e-12)


def test_the_average_of_few_updates_is_their_mean() -> None:
    values = np.array([3.0, -1.0, 4.0, 1.0])
    np.testing.assert_allclose(averages(values, 0.99), np.cumsum(values) / np.arange(1, 5))


def test_only_pixels_learnt_beyond_the_threshold_are_dropped() -> None:
    logits = torch.tensor([[2.0, 0.0, -2.0], [-2.0, 0.0, 2.0]])[None, :, None]
    labels = torch.tensor([[[0, 0, 0]]])
    assert drop_learnt(logits, labels, 0.9).tolist() == [[[-1, 0, 0]]]
