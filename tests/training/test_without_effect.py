"""A setting that has no effect under the others is refused when a training begins, and not when a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from helpers.plans import runs_of, write_plan

from bioseg_cli.config import build_config
from bioseg_cli.errors import UsageError
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.without_effect import refuse_without_effect

Cli = Callable[..., Result]

WITHOUT_EFFECT: list[tuple[type[TrainConfig], Mapping[str, Any], Mapping[str, Any], str]] = [
    (TrainUDAConfig, {"confidence": 0.9}, {"unsup_loss": "iid"}, "--confidence is for --unsup-loss kl and fixmatch"),
    (TrainUDAConfig, {"sharpen": 0.5}, {"unsup_loss": "fixmatch"}, "--sharpen is for --unsup-loss kl"),
    (TrainUDAConfig, {"sharpen": 0.5}, {"unsup_loss": "iid"}, "--sharpen is for --unsup-loss kl"),
    (TrainUDAConfig, {"stop_gradient": False}, {"unsup_loss": "fixmatch"}, "fixmatch has a fixed target"),
    (TrainUDAConfig, {"class_confidence": True}, {"confidence": 0.0}, "--confidence, which is 0"),
    (TrainUDAConfig, {"strong_ops": 4}, {"augment": "microscopy"}, "the operations of --augment paper"),
    (TrainUDAConfig, {"crop_around": "labels"}, {}, "without --crop there are none"),
    (TrainUDAConfig, {"dice": "batch"}, {"batch_size": 1}, "with --batch-size 1 there is only one"),
    (TrainIICConfig, {"shift_loss": "collapsed"}, {}, "without --shift there are none"),
]


@pytest.mark.parametrize(("model", "setting", "others", "said"), WITHOUT_EFFECT)
def test_a_setting_without_effect_is_refused(
    model: type[TrainConfig], setting: Mapping[str, Any], others: Mapping[str, Any], said: str
) -> None:
    refuse_without_effect(build_config(model, dict(others)))
    with pytest.raises(UsageError, match=said):
        refuse_without_effect(build_config(model, {**others, **setting}))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (TrainUDAConfig, {"unsup_loss": "kl", "confidence": 0.9, "sharpen": 0.5, "class_confidence": True}),
        (TrainUDAConfig, {"unsup_loss": "fixmatch", "class_confidence": True, "confidence": 0.9}),
        (TrainUDAConfig, {"unsup_loss": "iid", "stop_gradient": False}),
        (TrainUDAConfig, {"preset": "best", "batch_size": 1}),
        (TrainUDAConfig, {"dice": "batch", "batch_size": 2}),
        (TrainUDAConfig, {"crop_around": "labels", "crop": 64}),
        # A control is repeated from the settings of its run.
        (TrainUDAConfig, {"unsup_loss": "none", "confidence": 0.9, "sharpen": 0.5, "strong_ops": 4}),
        (TrainIICConfig, {"shift_loss": "collapsed", "shift": 1}),
    ],
)
def test_a_setting_with_an_effect_is_taken(model: type[TrainConfig], settings: Mapping[str, Any]) -> None:
    refuse_without_effect(build_config(model, dict(settings)))


def test_several_are_named_at_once() -> None:
    config = build_config(TrainUDAConfig, {"unsup_loss": "iid", "confidence": 0.9, "sharpen": 0.5})
    with pytest.raises(UsageError, match=r"--confidence is for .*; --sharpen is for"):
        refuse_without_effect(config)


def test_a_plan_is_refused_before_anything_is_trained(disc_dataset: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", disc_dataset, losses=["kl", "iid"], uda={"confidence": 0.9})
    with pytest.raises(UsageError, match="--confidence is for --unsup-loss kl and fixmatch") as error:
        runs_of(plan)
    assert error.value.where == str(plan)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(disc_dataset: Path, bioseg: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ("--labels", 2, "--width", 2, "--steps", 1, "--unsup-loss", "iid", "--quiet")
    refused = bioseg("train-uda", disc_dataset, "--run", run, *small, "--confidence", 0.9)
    assert (refused.exit_code, "iid counts every pixel" in refused.output, run.exists()) == (2, True, False)
    assert bioseg("train-uda", disc_dataset, "--run", run, *small).exit_code == 0
    record = yaml.safe_load((run / "manifest.yaml").read_text())
    record["config"]["confidence"] = 0.9
    (run / "manifest.yaml").write_text(yaml.safe_dump(record))
    gone_on = bioseg("train-uda", "--resume", run, "--steps", 2, "--quiet")
    assert gone_on.exit_code == 0, gone_on.output


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train-uda", ("--epochs", 2, "--steps", 3)),
        ("train-uda", ("--epochs", 2, "--minutes", 3)),
        ("train-iic", ("--epochs", 2, "--steps", 3)),
    ],
)
def test_of_two_budgets_none_is_left_out_without_a_word(
    command: str, options: tuple[object, ...], disc_dataset: Path, bioseg: Cli, tmp_path: Path
) -> None:
    result = bioseg(command, disc_dataset, "--run", tmp_path / "run", *options)
    assert (result.exit_code, f"give --epochs or {options[2]}, not both" in result.output) == (2, True)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_is_not_written_elsewhere(disc_run: Path, bioseg: Cli, tmp_path: Path) -> None:
    result = bioseg("train-uda", "--resume", disc_run, "--run", tmp_path / "other")
    assert (result.exit_code, "A resumed run stays where it is" in result.output) == (2, True)
