"""The loop by numbers: what weights, averages, checkpoints and log must be after a few steps of known gradients."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import new_manifest
from safetensors.torch import load_file
from torch import Tensor, nn

from bioseg_cli.compute.device import Precision, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import Interrupted, RunError
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.training import loop
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.method import Method, list_metrics
from bioseg_cli.training.record import TrainingRun
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

FP32 = resolve_precision("fp32", torch.device("cpu"))
BIAS = "heads.main.bias"
"""The weight that is followed: it starts at 0, and its gradient is 1 in every step, so that Adam's step is the rate."""
MEAN = "down.0.1.running_mean"
"""The batch-norm statistic that is followed: the scripted method sets it to the number of the step."""
STILL = {"val_supervised": 0.5, "val_total": 0.75, "val_mean_iou": 0.25}


class Scripted:
    """A method of known gradients and metrics: the loss of step n is n, with a gradient of 1 for every weight."""

    name = run_name = "scripted"
    record: Mapping[str, Any] = {}
    remarks: Sequence[str] = ()
    heads: Mapping[str, int] = {"main": 2}
    training_heads: frozenset[str] = frozenset()
    teacher_decay: float | None = None
    outputs = "classes"
    criteria = TrainUDAConfig.criteria

    def __init__(
        self, epoch_steps: int, metrics: Sequence[Mapping[str, float]] = (), nan_at: int | None = None
    ) -> None:
        self.epoch_steps = epoch_steps
        self.metrics = itertools.chain(metrics, itertools.repeat(STILL))
        self.nan_at = nan_at
        self.trained: list[float] = []
        """The followed weight at the begin of each step."""
        self.taught: list[tuple[float, float] | None] = []
        """The followed weight and statistic of the teacher at the begin of each step."""
        self.progress: list[float] = []
        """The share of the budget that each step is told."""
        self.validated: list[tuple[float, float]] = []
        """The followed weight and statistic in each validation."""

    def draw(self, epoch: int, step: int, progress: float = 0.0) -> int:
        self.progress.append(progress)
        return epoch * self.epoch_steps + step + 1

    def loss(
        self, network: nn.Module, batch: int, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        assert all(module.training for module in network.modules())
        weights = sum(parameter.sum() for parameter in network.parameters())
        assert isinstance(weights, Tensor)
        self.trained.append(float(network.state_dict()[BIAS][0]))
        assert teacher is None or not teacher.training
        state = None if teacher is None else teacher.state_dict()
        self.taught.append(None if state is None else (float(state[BIAS][0]), float(state[MEAN][0])))
        network.state_dict()[MEAN].fill_(batch)
        value = float("nan") if batch == self.nan_at else float(batch)
        return {"supervised": torch.tensor(10.0 * batch), "total": weights - weights.detach() + value}

    def validate(self, network: UNet, precision: Precision) -> dict[str, float]:
        assert not any(module.training for module in network.modules())
        state = network.state_dict()
        self.validated.append((float(state[BIAS][0]), float(state[MEAN][0])))
        return dict(next(self.metrics))

    def describe(self, metrics: Mapping[str, float]) -> str:
        return list_metrics(metrics)

    def conclude(self, *_: Any) -> str:
        return "finished"

    def images_of(self, batch: int) -> list[str]:
        return [f"image{batch}"]


Train = Callable[..., Trainer]


@pytest.fixture
def trainer(disc_dataset: Path, tmp_path: Path) -> Iterator[Train]:
    """Make a trainer of a scripted method, ready to fit, or to go on in the run directory of the one before."""
    path = tmp_path / "run"

    def make(
        method: Scripted, stop: Callable[[], bool] = lambda: False, resume: bool = False, **settings: Any
    ) -> Trainer:
        config = TrainUDAConfig.model_validate({"labels": 2, "width": 2, "lr": 1.0, "schedule": "constant", **settings})
        run = TrainingRun.open(path) if resume else TrainingRun.create(path, new_manifest(), overwrite=True)
        scripted: Method = method  # type: ignore[assignment]
        made = Trainer(scripted, dataset, config, FP32, run, ConsoleOutput(quiet=True), stop, Alone())
        if resume:
            made.resume()
        return made

    with Dataset(disc_dataset) as dataset:
        yield make


def saved(made: Trainer, state: str, name: str = BIAS) -> float:
    return float(load_file(made.run.checkpoint(state))[name].flatten()[0])


def resumable(made: Trainer) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(made.run.resume_file, weights_only=True)
    return content


def column(made: Trainer, name: str) -> list[float]:
    with made.run.metrics_file.open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1.0] * 10),
        ("step", [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001]),
        # Half of 1 + the cosine of 0, 18, 36, ... degrees.
        ("cosine", [1, 0.9755283, 0.9045085, 0.7938926, 0.6545085, 0.5, 0.3454915, 0.2061074, 0.0954915, 0.0244717]),
    ],
)
def test_each_step_is_taken_at_the_rate_of_the_schedule(trainer: Train, schedule: str, rates: list[float]) -> None:
    method = Scripted(epoch_steps=4)
    made = trainer(method, schedule=schedule, steps=10, lr=0.5)
    made.fit()
    moved = [0.0, *itertools.accumulate(-0.5 * rate for rate in rates)]
    assert [*method.trained, saved(made, "last")] == pytest.approx(moved, abs=1e-5)
    # The log has the rate of the epoch's last step.
    assert column(made, "lr") == pytest.approx([0.5 * rates[3], 0.5 * rates[7], 0.5 * rates[9]], abs=1e-6)


def test_progress_is_the_share_of_the_updates_also_where_a_budget_cut_an_epoch_short(trainer: Train) -> None:
    method = Scripted(epoch_steps=4)
    trainer(method, steps=6).fit()
    assert method.progress == [step / 6 for step in range(6)]
    # The second epoch had two steps. The third is whole.
    longer = Scripted(epoch_steps=4)
    trainer(longer, resume=True, steps=10).fit()
    assert longer.progress == [step / 10 for step in range(6, 10)]
    # With a smaller budget an epoch begun ends where it is.
    shorter = Scripted(epoch_steps=4)
    assert trainer(shorter, resume=True, steps=3).fit() and shorter.progress == []


def test_rmsprop_divides_by_its_own_mean_square(trainer: Train) -> None:
    made = trainer(Scripted(epoch_steps=2), optimizer="rmsprop", steps=2)
    made.fit()
    # The mean square of gradients of 1 is 0.01 after a step and 0.0199 after two.
    assert saved(made, "last") == pytest.approx(-1 / 0.01**0.5 - 1 / 0.0199**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("decay", "averages"),
    [(None, [1.0, 2.0, 3.0, 4.0]), (0.5, [1.0, 1.5, 2.25, 3.125]), (0.99, [1.0, 1.5, 2.0, 2.5])],
)
def test_the_average_of_weights_and_statistics_is_validated_and_kept(
    trainer: Train, decay: float | None, averages: list[float]
) -> None:
    better = [{**STILL, "val_mean_iou": 0.1 * epoch, "val_supervised": 0.1 * epoch} for epoch in range(1, 5)]
    method = Scripted(1, better)
    made = trainer(method, ema=decay, epochs=4)
    made.fit()
    # Weights and statistics of step n are -n and n; each is averaged alike.
    assert method.trained == pytest.approx([0, -1, -2, -3], abs=1e-5)
    assert method.taught == [None] * 4
    assert method.validated == [pytest.approx((-average, average), abs=1e-5) for average in averages]
    for state, epoch in (("last", 4), ("best-miou", 4), ("best-supervised", 1), ("best-final", 1)):
        assert saved(made, state) == pytest.approx(-averages[epoch - 1], abs=1e-5), state
        assert saved(made, state, MEAN) == pytest.approx(averages[epoch - 1], abs=1e-5), state
    parts = resumable(made)["parts"]
    assert float(parts["network"][BIAS][0]) == pytest.approx(-4, abs=1e-5)
    assert float(parts["network"][MEAN][0]) == 4
    assert ("average" in parts) == (decay is not None)
    if decay is not None:
        assert float(parts["average"][BIAS][0]) == pytest.approx(-averages[3], abs=1e-5)


@pytest.mark.parametrize("decay", [0.3, 0.99])
@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_teacher_follows_weights_and_statistics_from_the_first_updates_on(
    trainer: Train, ema: float | None, decay: float
) -> None:
    method = Scripted(2)
    method.teacher_decay = decay
    made = trainer(method, ema=ema, steps=5)
    made.fit()
    expected, average = [], 0.0
    for update in range(1, 6):
        expected.append(average)
        share = min(decay, (1 + update) / (10 + update))
        average = share * average + (1 - share) * update
    assert expected[3] == pytest.approx({0.3: 2.61136, 0.99: 2.60140}[decay], abs=1e-5)
    assert method.taught == [pytest.approx((-value, value), abs=1e-4) for value in expected]
    # What is kept and saved is not the teacher.
    assert saved(made, "last") == pytest.approx(-5 if ema is None else -4.0625, abs=1e-4)
    assert float(resumable(made)["parts"]["teacher"][MEAN][0]) == pytest.approx(average, abs=1e-4)


@pytest.mark.parametrize("stop_after", [None, 1, 2, 3, 4])
def test_the_log_has_means_over_the_steps_of_the_epoch_whole_or_cut_short(
    trainer: Train, stop_after: int | None
) -> None:
    # Five steps of epochs of three: the second is over after two.
    if stop_after is not None:
        asked = itertools.count()
        with pytest.raises(Interrupted, match=f"Stopped after {stop_after} of 5 steps"):
            trainer(Scripted(3), lambda: next(asked) == stop_after, steps=5, ema=0.5).fit()
    made = trainer(Scripted(3), resume=stop_after is not None, steps=5, ema=0.5)
    final = made.fit()
    assert column(made, "epoch") == [1, 2]
    assert column(made, "updates") == [3, 5]
    assert column(made, "train_total") == [(1 + 2 + 3) / 3, (4 + 5) / 2]
    assert column(made, "train_supervised") == [20, 45]
    assert final["train_total"] == 4.5
    assert made.run.manifest.updates == 5
    # Averages of 1, 2, 3, 4, 5 at a decay of a half.
    assert saved(made, "last", MEAN) == pytest.approx(4.0625)
    assert saved(made, "last") == pytest.approx(-4.0625, abs=1e-5)


IMPROVED = {"val_supervised": -0.01, "val_total": -0.01, "val_mean_iou": 0.01}


@pytest.mark.parametrize("metric", IMPROVED)
def test_patience_waits_while_any_one_state_improves(trainer: Train, metric: str) -> None:
    values = [0, 1, 1, 2, 2, 2, 9, 9]  # improves in epochs 1, 2 and 4; the seventh is never reached
    method = Scripted(1, [{**STILL, metric: STILL[metric] + times * IMPROVED[metric]} for times in values])
    made = trainer(method, epochs=20, patience=2)
    made.fit()
    assert len(column(made, "epoch")) == 6
    assert resumable(made)["state"]["stale"] == 2


def test_patience_of_a_resumed_run_counts_from_where_it_was(trainer: Train) -> None:
    trainer(Scripted(2), steps=4, patience=2).fit()  # an epoch improved, one did not
    made = trainer(Scripted(2), resume=True, steps=40, patience=2)
    made.fit()
    assert len(column(made, "epoch")) == 3
    assert resumable(made)["state"]["updates"] == 6


def test_a_run_goes_on_whose_method_gives_numbers_of_numpy(trainer: Train) -> None:
    numbers = {name: np.float64(value) for name, value in STILL.items()}
    trainer(Scripted(1, [numbers]), steps=1).fit()
    assert trainer(Scripted(1), resume=True, steps=2).fit()["val_total"] == STILL["val_total"]


def test_a_state_saved_within_an_epoch_has_the_time_until_then(trainer: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(step=1000.0)
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(ticks))
    made = trainer(Scripted(3), steps=3)
    times: list[float] = []
    monkeypatch.setattr(made.run, "save_state", lambda state, *_: times.append(state.seconds))
    made.fit()
    assert times == sorted(times) and len(set(times)) == len(times) > 1


def test_patience_has_nothing_to_wait_for_where_nothing_chooses_a_state(trainer: Train) -> None:
    method = Scripted(1)
    method.criteria = {}
    made = trainer(method, epochs=4, patience=1)
    made.fit()
    assert len(column(made, "epoch")) == 4


def test_without_patience_a_run_goes_to_its_end(trainer: Train) -> None:
    made = trainer(Scripted(1), epochs=12)
    made.fit()
    assert len(column(made, "epoch")) == 12


def test_of_equal_epochs_the_first_is_kept(trainer: Train) -> None:
    metrics = [
        {"val_supervised": supervised, "val_total": total, "val_mean_iou": overlap}
        for supervised, total, overlap in [(0.5, 0.9, 0.1), (0.4, 0.9, 0.3), (0.4, 0.8, 0.3), (0.6, 0.8, 0.2)]
    ]
    made = trainer(Scripted(1, metrics), epochs=4)
    made.fit()
    assert made.run.manifest.content()["best"] == {
        "best-supervised": {"value": 0.4, "epoch": 2},
        "best-final": {"value": 0.8, "epoch": 3},
        "best-miou": {"value": 0.3, "epoch": 2},
    }
    for state, epoch in (("best-supervised", 2), ("best-final", 3), ("best-miou", 2), ("last", 4)):
        assert saved(made, state) == pytest.approx(-epoch, abs=1e-5), state


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("metric", STILL)
def test_a_validation_that_is_not_finite_chooses_nothing(trainer: Train, metric: str, value: float) -> None:
    made = trainer(Scripted(1, [STILL, {**STILL, metric: value}]), epochs=3)
    with pytest.raises(RunError, match=f"after step 2 is not finite .*{metric} {value}") as error:
        made.fit()
    assert error.value.where == str(made.run.path)
    assert error.value.fix == "Lower --lr, or look at the masks of the validation images."
    assert column(made, "epoch") == [1]
    assert saved(made, "last") == pytest.approx(-1, abs=1e-5)


def test_a_loss_that_is_not_finite_moves_no_weight(trainer: Train) -> None:
    made = trainer(Scripted(2, nan_at=4), epochs=3, ema=0.9)
    with pytest.raises(RunError, match=r"step 4 \(supervised 40.0, total nan\), on image4") as raised:
        made.fit()
    assert raised.value.where == str(made.run.path)
    assert float(made.network.state_dict()[BIAS][0]) == pytest.approx(-3, abs=1e-5)
    assert saved(made, "last") == pytest.approx(-1.5, abs=1e-5)
    assert resumable(made)["state"]["updates"] == 2


class Slow(Scripted):
    """Steps of ten seconds, by a clock of its own."""

    def __init__(self, epoch_steps: int, seconds: float = 10) -> None:
        super().__init__(epoch_steps)
        self.seconds = seconds
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def loss(
        self, network: nn.Module, batch: int, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        self.now += self.seconds
        return super().loss(network, batch, precision, teacher)


def test_a_step_is_timed_as_the_mean_of_several(trainer: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Slow(100)
    monkeypatch.setattr(loop, "time", method)
    made = trainer(method, steps=100)
    assert made.timed() == {"step": 10, "validation": 0}
    assert len(method.validated) == 1


def test_the_time_of_all_parts_of_a_run_is_added_up(trainer: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, (steps, seconds) in enumerate([(4, [20.5, 41]), (6, [20.5, 41, 61.5])]):
        method = Slow(2, seconds=10.25)
        monkeypatch.setattr(loop, "time", method)
        made = trainer(method, resume=part > 0, steps=steps)
        made.fit()
        assert column(made, "seconds") == seconds
        # As it is written, and not only as it is held.
        progress = TrainingRun.open(made.run.path).manifest.content()["progress"]
        assert progress == {"epochs": steps // 2, "updates": steps, "seconds": seconds[-1]}


def test_every_five_minutes_of_an_epoch_its_state_is_saved(trainer: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Slow(100)
    monkeypatch.setattr(loop, "time", method)
    made = trainer(method, steps=100)
    saved_at: list[int] = []
    save = made._save
    monkeypatch.setattr(made, "_save", lambda: (saved_at.append(made.state.updates), save()))
    made.fit()
    # More than 300 seconds are 31 steps; the last one is at the end of the epoch.
    assert saved_at == [31, 62, 93, 100]


def test_an_epoch_is_said_with_its_metrics_and_what_it_improved(
    trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(ConsoleOutput, "say", lambda _, text: said.append(text))
    trainer(Scripted(2, [STILL, {**STILL, "val_mean_iou": 0.5}]), steps=6).fit()
    metrics = "supervised 0.5000, total 0.7500, mean_iou"
    assert said[0].startswith("epoch 1 (2 updates, ") and said[0].endswith(
        f"): {metrics} 0.2500; new best-supervised, best-final, best-miou"
    )
    assert said[1].endswith(f"): {metrics} 0.5000; new best-miou")
    assert said[2].startswith("epoch 3 (6 updates, ") and said[2].endswith(f"): {metrics} 0.2500")


@pytest.mark.parametrize(("seconds", "step"), [(-1.0, 3), (3600.0, 0)])
def test_a_long_epoch_saves_its_state_on_the_way(
    trainer: Train, monkeypatch: pytest.MonkeyPatch, seconds: float, step: int
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", seconds)
    trainer(Scripted(5), steps=5).fit()
    made = trainer(Scripted(5, nan_at=9), resume=True, steps=10)
    with pytest.raises(RunError):
        made.fit()
    state = resumable(made)["state"]
    assert (state["epoch"], state["step"], state["updates"]) == (1, step, 5 + step)
    assert state["sums"].get("total", 0) == (6 + 7 + 8 if step else 0)


def test_a_smaller_budget_than_was_spent_ends_the_epoch_begun(trainer: Train) -> None:
    asked = itertools.count()
    with pytest.raises(Interrupted):
        trainer(Scripted(3), lambda: next(asked) == 4, steps=9).fit()
    made = trainer(Scripted(3), resume=True, steps=2)
    made.fit()
    assert column(made, "updates") == [3, 4]
    assert column(made, "train_total") == [2, 4]
