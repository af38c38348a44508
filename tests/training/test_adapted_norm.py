"""`--norm-images all`: batch-norm statistics of all training images, in every saved state and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from conftest import write_discs
from helpers.runs import manifest, same, weights
from torch.nn import functional

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import UNetConfig, build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.evaluation import cross_validation
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.manifest import Manifest, run_hash
from bioseg_cli.training.adapted_norm import estimate_statistics
from bioseg_cli.training.alike import unlike_control
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SMALL = ("--labels", 2, "--width", 2, "--steps", 3, "--ema", 0.9, "--batch-size", 3, "--precision", "fp32", "--quiet")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven training images, of which five have no mask."""
    return write_discs(
        tmp_path_factory.mktemp("data") / "d.h5", ("train",) * 7 + ("val", "test"), unlabelled=(2, 3, 4, 5, 6)
    )


def trained(bioseg: Cli, data: Path, run: Path, *arguments: object) -> Path:
    result = bioseg("train-uda", data, "--run", run, *SMALL, *arguments)
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="module")
def runs(bioseg: Cli, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    none = ("--unsup-loss", "none")
    return {
        "run": trained(bioseg, data, folder / "run"),
        "control": trained(bioseg, data, folder / "control", *none),
        "adapted": trained(bioseg, data, folder / "adapted", *none, "--norm-images", "all"),
    }


def first_layer(data: Path, tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of the first convolution over all training images, in batches of three."""
    with Dataset(data) as dataset:
        images = torch.stack([torch.from_numpy(dataset.normalised(index)) for index in range(7)])
    maps = functional.conv2d(images, tensors["down.0.0.weight"], padding=1)
    batches = maps.split(3)
    weighted = [
        sum(len(batch) / 7 * found for batch, found in zip(batches, values, strict=True))
        for values in (
            [batch.mean(dim=(0, 2, 3)) for batch in batches],
            [batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches],
        )
    ]
    return weighted[0], weighted[1]


def test_the_statistics_of_every_state_are_those_of_all_training_images(runs: dict[str, Path], data: Path) -> None:
    for state in ("best-supervised", "best-final", "best-miou", "last"):
        plain, adapted = weights(runs["control"], state), weights(runs["adapted"], state)
        statistics = {name for name in plain if "running" in name or "num_batches" in name}
        assert all(torch.equal(adapted[name], plain[name]) for name in plain.keys() - statistics)
        assert not any(torch.equal(adapted[name], plain[name]) for name in statistics if "running" in name)
        mean, variance = first_layer(data, adapted)
        torch.testing.assert_close(adapted["down.0.1.running_mean"], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(adapted["down.0.1.running_var"], variance, rtol=1e-4, atol=1e-6)
    assert manifest(runs["adapted"])["norm_images"] == 7
    assert "norm_images" not in manifest(runs["control"])


def test_what_the_statistics_were_does_not_count_and_dropout_does_not_either() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=2, depth=2, dropout=0.5)).eval()
    precision = resolve_precision("fp32", torch.device("cpu"))
    batches = torch.randn(5, 1, 32, 32).split(2)
    assert estimate_statistics(network, iter(batches), precision) == 5
    first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert estimate_statistics(network, iter(batches), precision) == 5
    assert same(network.state_dict(), first)
    assert not any(module.training for module in network.modules())
    assert {norm.momentum for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d)} == {0.1}


def test_a_run_resumed_at_its_end_stays_as_it_is(runs: dict[str, Path], bioseg: Cli) -> None:
    before = weights(runs["adapted"])
    assert bioseg("train-uda", "--resume", runs["adapted"], "--quiet").exit_code == 0
    assert same(weights(runs["adapted"]), before)


def test_it_may_be_the_control_of_a_run_without_and_not_the_other_way_round(
    runs: dict[str, Path], data: Path, bioseg: Cli, tmp_path: Path
) -> None:
    run, control, adapted = (Manifest.read(runs[name]) for name in ("run", "control", "adapted"))
    assert unlike_control(run, adapted) == unlike_control(run, control) == []
    assert unlike_control(adapted, control) == ["norm_images (all and batches)"]
    result = bioseg("evaluate", runs["run"], "--control", runs["adapted"], "--draws", 100, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    said = "The batch-norm statistics of the control are of all training images: what runs gain over it is not the work"
    assert any(note.startswith(said) for note in json.loads(result.stdout)["runs"][0]["notes"])
    plain = bioseg("evaluate", runs["run"], "--control", runs["control"], "--draws", 100, "--json", "--quiet")
    assert not any("statistics" in note for note in json.loads(plain.stdout)["runs"][0]["notes"])


def test_cross_validation_estimates_them_too(
    runs: dict[str, Path], bioseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    monkeypatch.setattr(
        cross_validation, "estimate_statistics", lambda *given: counted.append(estimate_statistics(*given))
    )
    for name, expected in (("adapted", [7, 7]), ("control", [])):
        counted.clear()
        result = bioseg("evaluate", runs[name], "--cross-validate", "--draws", 100, "--baselines", "none", "--quiet")
        assert result.exit_code == 0, result.output
        assert counted == expected


@pytest.mark.parametrize(("given", "norm"), [({"norm": "group"}, "group"), ({"unet": "original"}, "none")])
def test_without_batch_norm_it_is_refused(given: dict[str, str], norm: str) -> None:
    with pytest.raises(UsageError, match=f"--norm-images all is for --norm batch: {norm} normalisation keeps no"):
        build_config(TrainUDAConfig, {**given, "norm_images": "all"})


def test_the_hash_of_a_run_without_it_is_as_before() -> None:
    values = TrainUDAConfig().model_dump(mode="json")
    before = {name: value for name, value in values.items() if name != "norm_images"}
    assert run_hash("train-uda", values, "data") == run_hash("train-uda", before, "data")
    assert run_hash("train-uda", {**values, "norm_images": "all"}, "data") != run_hash("train-uda", before, "data")
