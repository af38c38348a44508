"""`train-uda --preset best`: what it fills in, what it fits to the images, and a budget in minutes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from conftest import write_discs
from helpers.runs import same, weights

from bioseg_cli.config import build_config, overlaid
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.runs.manifest import run_hash
from bioseg_cli.training import loop, single_run
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.fit import fitted_to_images, fitted_to_minutes, object_diameter
from bioseg_cli.training.preset import BEST
from bioseg_cli.training.uda_settings import TrainUDAConfig

Cli = Callable[..., Result]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def settings(**values: object) -> TrainUDAConfig:
    return build_config(TrainUDAConfig, values)


def record(run: Path) -> dict:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def test_the_preset_fills_in_what_was_not_given() -> None:
    config = settings(preset="best", lr=0.5)
    assert config.lr == 0.5
    assert {name: getattr(config, name) for name in BEST if name != "lr"} == {
        name: value for name, value in BEST.items() if name != "lr"
    }
    assert config.steps == 1000
    assert (config.ratio, config.labels) == (1.0, None)
    assert (settings(preset="best", labels=3).ratio, settings(preset="best", ratio=0.5).ratio) == (None, 0.5)


def test_with_a_teacher_the_preset_raises_the_weight_of_its_loss_slowly() -> None:
    taught = {"preset": "best", "unsup_loss": "fixmatch", "teacher": "average", "mix": "labelled"}
    config = settings(**taught)
    assert (config.ema, config.ramp, config.batch_size, config.augment) == (0.99, 0.3, 2, "microscopy")
    assert settings(**taught, ramp=0.0).ramp == 0
    assert settings(preset="best", unsup_loss="fixmatch").ramp == 0


@pytest.mark.parametrize(("given", "steps"), [({"steps": 7}, 7), ({"epochs": 3}, None), ({"minutes": 2}, None)])
def test_the_preset_leaves_a_budget_alone(given, steps) -> None:
    assert settings(preset="best", **given).steps == steps


def test_the_papers_settings_are_still_the_default() -> None:
    config = settings()
    assert (config.preset, config.sup_loss, config.augment, config.geometry) == ("paper", "dice", "paper", "paper")
    assert (config.crop_around, config.warmup, config.epoch_steps, config.minutes) == ("anywhere", 0, None, None)


def test_settings_that_came_later_leave_the_hash_of_a_run_as_it_was() -> None:
    values = settings().model_dump(mode="json")
    later = {"preset", "sup_loss", "augment", "geometry", "crop_around", "warmup", "epoch_steps", "minutes"}
    later |= {"exposure", "teacher", "mix", "ramp", "class_confidence", "pseudo_loss", "denoise", "pseudo_labels"}
    before = {name: value for name, value in values.items() if name not in later}
    assert run_hash("train-uda", values, "data") == run_hash("train-uda", before, "data")
    for name, value in {
        "sup_loss": "ce-dice",
        "warmup": 5,
        "geometry": "wide",
        "denoise": 0.5,
        "mix": "cutmix",
    }.items():
        assert run_hash("train-uda", {**values, name: value}, "data") != run_hash("train-uda", before, "data")


def test_a_crop_is_as_wide_as_four_objects_between_its_bounds(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        diameter = object_diameter(dataset, settings(labels=4))
        assert 8 < diameter < 14
        config, said = fitted_to_images(settings(preset="best", labels=4), dataset, CPU)
        assert (config.crop, config.width, config.epoch_steps) == (192, 16, 100)
        assert said == [
            "Chosen by --preset best: width 16, as there is no GPU; crops of 192 pixels, as half of the objects are "
            f"wider than {diameter:.0f}"
        ]
        assert fitted_to_images(settings(preset="best", labels=4), dataset, GPU)[0].width == 32
        config, said = fitted_to_images(settings(preset="best", labels=4, crop=64, width=4), dataset, CPU)
        assert (config.crop, config.width, said) == (64, 4, [])


@pytest.mark.parametrize(("side", "crop"), [(60, 272), (300, 384)])
def test_a_crop_grows_with_the_objects(tmp_path: Path, side: int, crop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_discs(tmp_path / "d.h5")
    with Dataset(data) as dataset:
        square = np.zeros((side + 8, side + 8), np.uint8)
        square[:side, :side] = 1
        square[-3:, -3:] = 1  # A speck is no object.
        monkeypatch.setattr(dataset, "labels", lambda index: square)
        assert object_diameter(dataset, settings(labels=1)) == pytest.approx(side * 2 / np.sqrt(np.pi))
        assert fitted_to_images(settings(preset="best", labels=1, exposure=1), dataset, CPU)[0].crop == crop


def test_minutes_become_updates_and_validations() -> None:
    config, found = fitted_to_minutes(settings(minutes=2), {"step": 0.1, "validation": 1.0})
    assert (config.minutes, config.steps, config.epoch_steps) == (None, 1100, 110)
    assert found.model_dump() == {"minutes": 2, "seconds_per_step": 0.1, "seconds_per_validation": 1.0}
    labelled, _ = fitted_to_minutes(settings(minutes=2), {"step": 0.1, "validation": 1.0}, spent=60.0)
    assert (labelled.steps, labelled.epoch_steps) == (540, 90)
    slow, _ = fitted_to_minutes(settings(minutes=1), {"step": 0.1, "validation": 30.0})
    assert (slow.steps, slow.epoch_steps) == (300, 300)
    hopeless, _ = fitted_to_minutes(settings(minutes=0.01), {"step": 5.0, "validation": 9.0})
    assert (hopeless.steps, hopeless.epoch_steps) == (1, 1)
    untimed, _ = fitted_to_minutes(settings(minutes=1), {"step": 0.1, "validation": 0.0})
    assert (untimed.steps, untimed.epoch_steps) == (600, 60)


@pytest.mark.slow
def test_processes_that_train_together_take_the_times_of_the_first(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(Alone):
        def of_the_first(self, values: dict[str, float]) -> dict[str, float]:
            return dict.fromkeys(values, 6.0)

    monkeypatch.setattr(single_run, "joined", lambda *_: nullcontext(Second()))
    monkeypatch.setattr(loop, "UNTIMED_STEPS", 0)
    monkeypatch.setattr(loop, "TIMED_STEPS", 1)
    run = tmp_path / "run"
    small = ("--labels", 2, "--crop", 32, "--width", 2, "--unsup-loss", "none")
    assert bioseg("train-uda", disc_dataset, *small, "--minutes", 0.55, "--run", run).exit_code == 0
    # Of 33 seconds 6 went to labels and 6 to a validation. The labels of this process took no time.
    assert record(run)["config"]["steps"] == 3
    budget = record(run)["budget"]
    assert bioseg("train-uda", "--resume", run, "--quiet").exit_code == 0
    assert record(run)["budget"] == budget
    assert bioseg("train-uda", "--resume", run, "--steps", 4, "--quiet").exit_code == 0
    assert "budget" not in record(run)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": 1, "steps": 5}, "give --minutes or --steps, not both"),
        ({"minutes": 0}, "--minutes: input should be greater than 0"),
        ({"minutes": 1, "resume": "runs/a"}, "--minutes is for a new run"),
    ],
)
def test_budgets_that_contradict_each_other(given, said) -> None:
    with pytest.raises(UsageError, match=said):
        settings(**given)


@pytest.mark.parametrize(
    ("given", "budget", "labels"),
    [
        ({"epochs": 3}, (3, None, None), (0.5, None)),
        ({"steps": 7}, (100, 7, None), (0.5, None)),
        ({"minutes": 2.0}, (100, None, 2.0), (0.5, None)),
        ({"labels": 4}, (100, 300, None), (None, 4)),
        ({"epochs": 3, "steps": 7}, (3, 7, None), (0.5, None)),
    ],
)
def test_a_budget_that_is_given_takes_the_place_of_those_of_a_file(given, budget, labels) -> None:
    stored = settings(preset="best", steps=300, ratio=0.5).model_dump()
    config = settings(**overlaid(stored, given, TrainUDAConfig))
    assert (config.epochs, config.steps, config.minutes) == budget
    assert (config.ratio, config.labels) == labels
    draw = settings(**overlaid({**stored, "label_draw": 2}, {"label_images": ["a.tif"]}, TrainUDAConfig))
    assert (draw.label_images, draw.ratio, draw.label_draw) == (("a.tif",), None, 0)


@pytest.mark.slow
def test_a_run_of_minutes_repeats_and_resumes_by_its_updates(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    small = ("--preset", "best", "--labels", 2, "--crop", 32, "--width", 2)
    result = bioseg("train-uda", disc_dataset, *small, "--minutes", 0.02, "--run", run)
    assert result.exit_code == 0, result.output
    assert "updates fit into 0.02 minutes on this machine" in result.output
    first = record(run)
    assert first["progress"]["updates"] == first["config"]["steps"]
    assert first["config"]["minutes"] is None
    assert first["budget"]["minutes"] == 0.02
    result = bioseg("train-uda", "--config", run / "manifest.yaml", "--run", again, "--quiet")
    assert result.exit_code == 0, result.output
    assert same(weights(run), weights(again))
    assert record(again)["hash"] == first["hash"]
    result = bioseg("train-uda", "--resume", run, "--quiet")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_the_preset_learns_discs_from_one_label_without_validation(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train", "test", "test", "test"))
    run = tmp_path / "run"
    result = bioseg(
        "train-uda", data, "--preset", "best", "--labels", 1, "--crop", 48, "--width", 8, "--steps", 80, "--lr", 0.01,
        "--warmup", 5, "--ema", 0.9, "--epoch-steps", 80, "--run", run, "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    result = bioseg("evaluate", run, "--split", "test", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["runs"][0]["mean_iou"] > 0.85
