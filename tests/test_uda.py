"""What UDA computes on a batch: views, alignment, masks, and what each loss moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_discs
from torch import nn

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.policy import Operation, StrongView
from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.batches import IGNORE, ImageBatch
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.device import resolve_precision
from bioseg_cli.training.settings import TrainUDAConfig
from bioseg_cli.training.uda import UDA, UDABatch

CPU = torch.device("cpu")
FP32 = resolve_precision("fp32", CPU)


class Pixelwise(nn.Module):
    """A network that looks at single pixels, so that it commutes with every rotation and flip."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 2, 1)
        nn.init.constant_(self.head.bias, 0)
        self.head.weight.data = torch.tensor([-4.0, 4.0]).reshape(2, 1, 1, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": self.head(images - 0.5)}


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def smooth_batch(size: int = 64) -> ImageBatch:
    """Images that interpolation hardly changes."""
    rows, columns = np.mgrid[:size, :size] / size * 2 * np.pi
    image = 0.5 + 0.25 * np.sin(rows + 0.3) + 0.25 * np.sin(columns * 2)
    return ImageBatch(
        images=torch.from_numpy(image.astype(np.float32))[None, None],
        labels=torch.full((1, size, size), IGNORE),
        shown=torch.ones(1, 1, size, size),
        indices=(0,),
    )


def views(batch: ImageBatch, weak: Affine, degrees: float, *operations: Operation) -> UDABatch:
    rotation = Affine.similarity(torch.tensor([degrees]))
    return UDABatch(batch, weak, batch, weak, StrongView((operations,), rotation), 0.0)


@pytest.mark.parametrize("degrees", [0.0, 37.0, 90.0, 211.0])
@pytest.mark.parametrize("flip", [False, True])
def test_a_network_that_commutes_with_rotation_has_no_inconsistency(
    dataset: Dataset, degrees: float, flip: bool
) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    weak = Affine.similarity(torch.tensor([12.0]), torch.tensor([1.04]), torch.tensor([flip]))
    losses = method.loss(Pixelwise(), views(smooth_batch(), weak, degrees), FP32)  # type: ignore[arg-type]
    assert losses["unsupervised"] < 2e-4


def test_a_colour_change_that_the_network_follows_is_inconsistent(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    batch = views(smooth_batch(), Affine.identity(1), 0.0, Operation("invert"))
    assert method.loss(Pixelwise(), batch, FP32)["unsupervised"] > 0.5  # type: ignore[arg-type]


def test_padding_is_no_part_of_the_consistency(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    whole = smooth_batch()
    shown = whole.shown.clone()
    shown[..., 40:] = 0
    inverted = Operation("invert")
    losses = []
    for padding in (0.0, 0.9):
        images = torch.where(shown > 0, whole.images, padding)
        batch = dataclasses.replace(whole, images=images, shown=shown)
        losses.append(method.loss(Pixelwise(), views(batch, Affine.identity(1), 20.0, inverted), FP32)["unsupervised"])  # type: ignore[arg-type]
    assert losses[0] > 0
    assert torch.equal(*losses)


def small_network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=2, depth=2)).train()


def test_strong_views_leave_the_running_statistics_alone(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    buffers = []
    for operations in ((), (Operation("invert"),)):
        network = small_network()
        batch = method.draw(0, 0)
        batch = dataclasses.replace(batch, strong=StrongView((operations,), Affine.identity(1)))
        method.loss(network, batch, FP32)
        buffers.append({name: value.clone() for name, value in network.named_buffers()})
    fresh = dict(small_network().named_buffers())
    assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in fresh)
    assert any(not torch.equal(buffers[0][name], fresh[name]) for name in fresh)


def consistency_of(method: UDA, batch: UDABatch) -> torch.Tensor:
    return method.loss(small_network(), batch, FP32)["unsupervised"]


def test_views_compared_with_a_fixed_target_are_normalised_apart_from_the_labelled_image(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    batch = method.draw(0, 0)
    darker = dataclasses.replace(batch.labelled, images=batch.labelled.images * 0.3)
    values = [consistency_of(method, one) for one in (batch, dataclasses.replace(batch, labelled=darker))]
    assert values[0] > 0
    assert torch.equal(*values)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, [True, False, True]),
        ({"unsup_loss": "fixmatch"}, [True, False, True]),
        ({"stop_gradient": False}, [True, True]),
        ({"unsup_loss": "iid"}, [True, True]),
    ],
    ids=str,
)
def test_a_fixed_target_has_no_backward_pass(dataset: Dataset, settings: dict[str, object], passes: list[bool]) -> None:
    method = UDA(dataset, TrainUDAConfig.model_validate({"labels": 2, **settings}), CPU)
    network, taken = small_network(), []
    network.heads["main"].register_forward_hook(lambda *_: taken.append(torch.is_grad_enabled()))
    method.loss(network, method.draw(0, 0), FP32)
    assert taken == passes


@pytest.mark.parametrize("settings", [{}, {"unsup_loss": "fixmatch", "confidence": 0.0}], ids=str)
def test_a_fixed_target_is_drawn_without_dropout(dataset: Dataset, settings: dict[str, object]) -> None:
    method = UDA(dataset, TrainUDAConfig.model_validate({"labels": 2, **settings}), CPU)
    torch.manual_seed(0)
    network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2, dropout=0.5)).train()
    said: list[torch.Tensor] = []
    network.heads["main"].register_forward_hook(lambda *taken: said.append(taken[2].detach()))
    for _ in range(2):
        method.loss(network, method.draw(0, 0), FP32)
        assert all(module.training for module in network.modules())
    (labelled, target, strong), (labelled_again, target_again, strong_again) = said[:3], said[3:]
    assert torch.equal(target, target_again)
    # The student's two passes have it.
    assert not torch.allclose(labelled, labelled_again, atol=1e-3)
    assert not torch.allclose(strong, strong_again, atol=1e-3)
    # It is the target of a network that never had any dropout.
    torch.manual_seed(0)
    plain = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=4, depth=2)).train()
    batch = method.draw(0, 0)
    assert batch.unlabelled is not None
    torch.testing.assert_close(plain(batch.weak.warp(batch.unlabelled.images))["main"], target)


@pytest.mark.parametrize(("weight", "moves"), [(0.0, False), (1.0, True)])
def test_the_unsupervised_weight_weighs(dataset: Dataset, weight: float, moves: bool) -> None:
    gradients = []
    for loss in ("kl", "none"):
        method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss=loss, unsup_weight=weight), CPU)
        network = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=2, depth=1, norm="none"))
        torch.manual_seed(1)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        method.loss(network, method.draw(0, 0), FP32)["total"].backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.allclose(*gradients, atol=1e-6) is not moves


def test_the_control_sees_no_unlabelled_image(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    assert method.draw(0, 0).unlabelled is None
    assert method.name == "supervised"


def test_an_epoch_is_one_pass_over_the_larger_subset_in_every_method(dataset: Dataset) -> None:
    for loss in ("kl", "iid", "fixmatch", "none"):
        method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss=loss), CPU)
        assert method.epoch_steps == 6
    seen = [index for step in range(6) for index in kl_batch(dataset, step).unlabelled.indices]
    assert sorted(seen) == sorted(set(dataset.indices("train").tolist()) - set(dataset.label_subset(count=2).tolist()))
    looped = [index for step in range(6) for index in kl_batch(dataset, step).labelled.indices]
    assert sorted(looped) == sorted(dataset.label_subset(count=2).tolist() * 3)


def kl_batch(dataset: Dataset, step: int) -> UDABatch:
    return UDA(dataset, TrainUDAConfig(labels=2), CPU).draw(0, step)


def test_a_batch_is_a_function_of_seed_epoch_and_step(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, crop=32), CPU)
    first, again, other = method.draw(1, 2), method.draw(1, 2), method.draw(1, 3)
    assert torch.equal(first.unlabelled.images, again.unlabelled.images)
    assert torch.equal(first.weak.matrix, again.weak.matrix)
    assert first.strong.operations == again.strong.operations
    assert not torch.equal(first.weak.matrix, other.weak.matrix)


def test_images_without_masks_are_used_as_unlabelled(tmp_path: Path) -> None:
    path = write_discs(tmp_path / "d.h5", unlabelled=(0, 3))
    with Dataset(path) as opened:
        method = UDA(opened, TrainUDAConfig(ratio=1.0), CPU)
        assert sorted(method.unlabelled.tolist()) == [0, 3]
        assert len(method.labelled) == 6


def test_validation_is_the_same_every_time(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    network = small_network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert method.validate(network, FP32) == method.validate(network, FP32)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_training_signal_annealing_drops_what_is_learnt(dataset: Dataset) -> None:
    plain = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    annealed = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none", tsa="linear", epochs=1), CPU)
    network = small_network()
    first, last = annealed.draw(0, 0), annealed.draw(0, 5)
    assert first.progress == 0
    assert last.progress == pytest.approx(5 / 6)
    kept, all_counted = (method.loss(network, first, FP32)["total"] for method in (annealed, plain))
    # At the start only pixels that are worse than chance count: their loss is higher.
    assert kept > all_counted
