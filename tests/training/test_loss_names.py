"""Unsupervised losses of installed packages: which there are, and what is said of an entry that is no good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.networks import CPU, FP32

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.training.consistency import Consistency
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.loss_names import UnsupervisedLoss, installed_loss, installed_names
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

PACKAGE = """
from bioseg_cli.training.loss_names import UnsupervisedLoss

def first(weak_logits, strong_probabilities, weight):
    return (weight * (weak_logits.softmax(dim=1) - strong_probabilities).square()).mean()

fixed, moving = UnsupervisedLoss(first), UnsupervisedLoss(first, fixed_target=False)
"""
ENTRIES = """
[bioseg.losses]
outside-mse = outside:fixed
outside-both = outside:moving
outside-bare = outside:first
outside-gone = outside:nothing
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with the losses of `ENTRIES`."""
    about = tmp_path / "outside-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "outside.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def settings(**given: object) -> TrainUDAConfig:
    return build_config(TrainUDAConfig, {"labels": 2, "width": 2, "steps": 2, **given})


@pytest.mark.usefixtures("package")
def test_a_loss_of_a_package_is_known_and_a_wrong_name_is_answered_with_all_of_them() -> None:
    assert installed_names() == ("outside-bare", "outside-both", "outside-gone", "outside-mse")
    assert isinstance(installed_loss("outside-mse"), UnsupervisedLoss)
    with pytest.raises(UsageError, match="there are kl, iid, fixmatch, none, outside-bare, outside-both"):
        settings(unsup_loss="outside-mae")
    with pytest.raises(UsageError, match="No installed package adds the loss 'mae'"):
        installed_loss("mae")


@pytest.mark.usefixtures("package")
def test_the_loss_of_a_step_is_what_the_package_computes(dataset: Dataset) -> None:
    config = settings(unsup_loss="outside-mse")
    method = UDA(dataset, config, CPU)
    assert method.name == "uda-outside-mse"
    network = build_network(config, dataset, method.heads).train()
    batch = method.draw(0, 0)
    losses = method.loss(network, batch, FP32)
    assert 0 < float(losses["unsupervised"].detach()) < 1
    compared = Consistency(config, deep=False)._compared
    target, strong, weight = torch.randn(1, 2, 4, 4), torch.rand(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
    expected = (target.softmax(dim=1) - strong).square().mean()
    assert torch.equal(compared(target, strong, weight, None), expected)


@pytest.mark.usefixtures("package")
def test_a_gradient_flows_to_a_target_that_moves(dataset: Dataset) -> None:
    gradients = []
    for name in ("outside-mse", "outside-both"):
        config = settings(unsup_loss=name, dropout=0.0)
        method = UDA(dataset, config, CPU)
        torch.manual_seed(0)
        network = build_network(config, dataset, method.heads).train()
        loss = method.loss(network, method.draw(0, 0), FP32)["unsupervised"]
        gradients.append(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True))
    different = [not torch.allclose(fixed, moving) for fixed, moving in zip(*gradients, strict=True)]
    assert any(different)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unsup_loss": "outside-bare"}, "'outside-bare' is no UnsupervisedLoss"),
        ({"unsup_loss": "outside-gone"}, "'outside-gone' cannot be loaded"),
        ({"unsup_loss": "outside-both", "teacher": "average"}, "--unsup-loss outside-both has none"),
        ({"unsup_loss": "outside-mse", "class_confidence": True}, "outside-mse counts every pixel"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(**given)


@pytest.mark.usefixtures("package")
def test_a_teacher_and_mixing_work_with_a_fixed_target(dataset: Dataset) -> None:
    config = settings(unsup_loss="outside-mse", teacher="average", mix="labelled")
    assert UDA(dataset, config, CPU).teacher_decay is not None
