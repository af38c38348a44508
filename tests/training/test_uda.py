"""What UDA computes on a batch: views, alignment, masks, and what each loss moves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_discs
from helpers.networks import CPU, FP32, small_network
from torch import nn

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import GAIN, LABELLED_SEVERITY
from bioseg_cli.augment.policy import Operation, StrongView, draw_strong
from bioseg_cli.compute.device import Precision
from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.batches import IGNORE, ImageBatch, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.model.unet import UNet
from bioseg_cli.training.losses import soft_dice_loss
from bioseg_cli.training.uda import UDA, UDABatch
from bioseg_cli.training.uda_settings import TrainUDAConfig


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


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_padding_is_no_part_of_the_consistency(dataset: Dataset, turned: bool, holes: bool) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    whole = smooth_batch()
    shown = whole.shown.clone()
    shown[..., 40:] = 0
    if holes:
        # Of a single pixel: the weak view touches many of them at positions where the strong one does not.
        shown[..., torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) < 0.02] = 0
    weak = Affine.similarity(torch.tensor([12.0]), torch.tensor([1.04])) if turned else Affine.identity(1)
    inverted = Operation("invert")
    losses = []
    for padding in (0.0, 0.9):
        images = torch.where(shown > 0, whole.images, padding)
        batch = dataclasses.replace(whole, images=images, shown=shown)
        losses.append(method.loss(Pixelwise(), views(batch, weak, 20.0, inverted), FP32)["unsupervised"])  # type: ignore[arg-type]
    assert losses[0] > 0.1
    assert torch.equal(*losses)


def test_labels_that_come_in_from_outside_the_frame_count_nowhere(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    # All bright and all of class 1; half as large, with a dark margin of three quarters of the frame around it.
    bright = dataclasses.replace(
        smooth_batch(), images=torch.full((1, 1, 64, 64), 4.0), labels=torch.ones(1, 64, 64, dtype=torch.int64)
    )
    shrunk = Affine.similarity(torch.tensor([0.0]), torch.tensor([0.5]))
    batch = UDABatch(bright, shrunk, None, shrunk, StrongView(((),), Affine.identity(1)), 0.0)
    # What is dark is predicted as background: where it counted, class 0 would have been predicted rightly or wrongly.
    assert method.loss(Pixelwise(), batch, FP32)["total"] < 1e-6  # type: ignore[arg-type]
    wrong = dataclasses.replace(bright, labels=torch.zeros(1, 64, 64, dtype=torch.int64))
    batch = dataclasses.replace(batch, labelled=wrong)
    # Both classes over 1024 pixels: none of class 0 is found, and class 1 is predicted on all of them.
    expected = (1 - 1 / 1025 + 1024 / 1025) / 2
    assert float(method.loss(Pixelwise(), batch, FP32)["total"].detach()) == pytest.approx(expected, abs=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "passes"),
    [({}, 2), ({"unsup_loss": "fixmatch"}, 2), ({"unsup_loss": "iid"}, 1), ({"unsup_loss": "none"}, 1)],
    ids=str,
)
def test_the_running_statistics_are_of_the_labelled_and_the_weak_images(
    dataset: Dataset, settings: dict[str, object], passes: int
) -> None:
    method = UDA(dataset, TrainUDAConfig.model_validate({"labels": 2, **settings}), CPU)
    network, batch = small_network(), method.draw(0, 0)
    method.loss(network, batch, FP32)
    convolution, norm = network.down[0][0], network.down[0][1]
    images = [batch.labelled_weak.warp(batch.labelled.images)]
    if batch.unlabelled is not None:
        images.append(batch.weak.warp(batch.unlabelled.images))
    mean, variance = torch.zeros(2), torch.ones(2)
    for seen in images if passes == 2 else [torch.cat(images)]:
        features = convolution(seen).movedim(1, -1).flatten(0, 2)
        mean, variance = 0.9 * mean + 0.1 * features.mean(0), 0.9 * variance + 0.1 * features.var(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert int(norm.num_batches_tracked) == passes


@pytest.mark.parametrize("dice", ["image", "batch"])
def test_dice_is_of_each_image_or_of_the_batch_as_was_asked(dataset: Dataset, dice: str) -> None:
    settings = {"labels": 4, "batch_size": 4, "unsup_loss": "none", "dice": dice}
    method = UDA(dataset, TrainUDAConfig.model_validate(settings), CPU)
    batch = method.draw(0, 0)
    images = batch.labelled_weak.warp(batch.labelled.images)
    labels = batch.labelled_weak.warp(batch.labelled.labels, "nearest", fill=IGNORE)
    found = method.loss(Pixelwise(), batch, FP32)["total"].detach()  # type: ignore[arg-type]
    expected, other = (
        soft_dice_loss(Pixelwise()(images)["main"], labels, pool_batch=pooled).detach()
        for pooled in (dice == "batch", dice != "batch")
    )
    torch.testing.assert_close(found, expected)
    assert abs(found - other) > 1e-4


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
    assert all(not torch.equal(buffers[0][name], fresh[name]) for name in fresh)
    # Other weak images do change them.
    network, batch = small_network(), method.draw(0, 0)
    assert batch.unlabelled is not None
    darker = dataclasses.replace(batch.unlabelled, images=batch.unlabelled.images * 0.3)
    method.loss(network, dataclasses.replace(batch, unlabelled=darker), FP32)
    statistics = [name for name in fresh if not name.endswith("num_batches_tracked")]
    assert all(not torch.equal(buffers[0][name], network.state_dict()[name]) for name in statistics)


def consistency_of(method: UDA, batch: UDABatch) -> torch.Tensor:
    return method.loss(small_network(), batch, FP32)["unsupervised"]


def test_views_compared_with_a_fixed_target_are_normalised_apart_from_the_labelled_image(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2), CPU)
    batch = method.draw(0, 0)
    darker = dataclasses.replace(batch.labelled, images=batch.labelled.images * 0.3)
    values = [consistency_of(method, drawn) for drawn in (batch, dataclasses.replace(batch, labelled=darker))]
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


def test_what_the_manifest_and_the_screen_say_of_it(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, seed=3), CPU)
    names = [dataset.name(index) for index in dataset.label_order[:2]]
    labels = {"count": 2, "of": 8, "draw": 0, "images": names}
    recorded = method.record.model_dump()["labels"]
    assert {name: list(recorded[name]) if name == "images" else recorded[name] for name in labels} == labels
    assert method.record.unlabelled == 6
    assert method.run_name == "discs-uda-kl-2labels-seed3"
    assert len(method.remarks) == 1
    assert method.images_of(method.draw(0, 0))[0] in names
    assert len(method.images_of(method.draw(0, 0))) == 2
    control = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none", label_draw=4), CPU)
    assert control.record.unlabelled == 0
    assert control.run_name == "discs-supervised-2labels-draw4-seed0"
    assert control.remarks == []
    assert len(control.images_of(control.draw(0, 0))) == 1
    assert method.describe({"val_mean_iou": 0.5}) == "mean_iou 0.5000"
    assert method.describe({}) == "no validation image"


def test_the_best_states_are_the_lowest_losses_and_the_highest_overlap() -> None:
    kept = {
        state: (criterion.metric, criterion.higher_is_better) for state, criterion in TrainUDAConfig.criteria.items()
    }
    assert kept == {
        "best-supervised": ("val_supervised", False),
        "best-final": ("val_total", False),
        "best-miou": ("val_mean_iou", True),
    }


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


@pytest.mark.parametrize(("geometry", "wide"), [("paper", False), ("wide", True)])
def test_views_are_turned_as_far_as_was_asked(dataset: Dataset, geometry: str, wide: bool) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, geometry=geometry), CPU)
    batches = [method.draw(0, step) for step in range(6)]
    for views in ([batch.labelled_weak for batch in batches], [batch.weak for batch in batches]):
        # The cosine of the angle times the scale: 15 degrees and 0.95 leave more than 0.9 of it.
        assert (min(abs(float(view.matrix[0, 0, 0])) for view in views) < 0.9) == wide


def test_labelled_and_unlabelled_images_have_orders_of_their_own(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=4), CPU)
    places = [
        (
            np.flatnonzero(method.labelled == batch.labelled.indices[0])[0],
            np.flatnonzero(method.unlabelled == batch.unlabelled.indices[0])[0],
        )
        for epoch in range(4)
        for batch in (method.draw(epoch, step) for step in range(4))
        if batch.unlabelled is not None
    ]
    assert len(places) == 16
    assert any(first != second for first, second in places)


def test_every_epoch_has_an_order_of_its_own(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=4), CPU)
    orders = {
        tuple(int(method.draw(epoch, step).labelled.indices[0]) for step in range(len(method.labelled)))
        for epoch in range(6)
    }
    assert len(orders) > 1


def test_labelled_images_are_changed_half_as_far_as_unlabelled_ones(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, augment="microscopy"), CPU)
    batches = [method.draw(epoch, 0) for epoch in range(200)]
    gains = torch.cat([batch.labelled_capture.gain for batch in batches]).log().abs()
    assert 0.4 * np.log(GAIN) < float(gains.max()) <= LABELLED_SEVERITY * np.log(GAIN) + 1e-9
    assert float(torch.cat([batch.strong.capture.gain for batch in batches]).log().abs().max()) > 0.8 * np.log(GAIN)


def test_both_views_have_the_share_of_the_exposure_that_was_asked_for(dataset: Dataset) -> None:
    whole, half = (
        UDA(dataset, TrainUDAConfig(labels=2, batch_size=8, augment="microscopy", exposure=exposure), CPU).draw(0, 0)
        for exposure in (1.0, 0.5)
    )
    for one, other in ((whole.labelled_capture, half.labelled_capture), (whole.strong.capture, half.strong.capture)):
        assert float(one.gain.log().abs().max()) > 0
        torch.testing.assert_close(other.gain.log(), one.gain.log() / 2)
        assert torch.equal(other.blur, one.blur)


def test_the_loss_of_a_control_is_the_supervised_one_by_both_names(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    losses = method.loss(small_network(), method.draw(0, 0), FP32)
    assert set(losses) == {"supervised", "total"}
    assert float(losses["supervised"].detach()) == float(losses["total"].detach()) > 0


def test_images_without_masks_are_used_as_unlabelled(tmp_path: Path) -> None:
    path = write_discs(tmp_path / "d.h5", unlabelled=(0, 3))
    with Dataset(path) as opened:
        method = UDA(opened, TrainUDAConfig(ratio=1.0), CPU)
        assert sorted(method.unlabelled.tolist()) == [0, 3]
        assert len(method.labelled) == 6


def by_hand(network: UNet, images: torch.Tensor, weak: Affine, strong: StrongView) -> tuple[torch.Tensor, ...]:
    """Logits of the weak view, aligned probabilities of the strong one, and where both are valid.

    The strong view is normalised by its own statistics, the weak one as the mode of the network has it.
    """
    shown, rotation = torch.ones_like(images[:, :1]), strong.rotation
    both = weak.after(rotation)
    back = weak.after(rotation.inverse()).after(weak.inverse())
    own = copy.deepcopy(network).train()
    logits = copy.deepcopy(network)(weak.warp(images))["main"]
    aligned = back.warp(own(both.warp(strong.colour(images, deep=True)))["main"].softmax(1))
    return logits, aligned, back.valid_mask(both.valid_mask(shown)) * weak.valid_mask(shown)


def divergence(logits: torch.Tensor, aligned: torch.Tensor, valid: torch.Tensor) -> float:
    """The mean over valid pixels of sum p log(p / q)."""
    target = logits.softmax(1)
    pixels = (target * (target.log() - aligned.clamp(min=1e-30).log())).sum(1, keepdim=True)
    return float(pixels[valid > 0].mean().detach())


def dice_by_hand(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean over classes of one image."""
    p, truth = logits.softmax(1)[0], torch.nn.functional.one_hot(labels[0]).movedim(-1, 0)
    overlap, sizes = (p * truth).sum((1, 2)), (p.square() + truth).sum((1, 2))
    return float((1 - (2 * overlap + 1) / (sizes + 1)).mean().detach())


def test_the_loss_of_a_step_is_its_formula(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, strong_ops=3, unsup_weight=0.25), CPU)
    for step in range(3):
        network, batch = small_network(), method.draw(0, step)
        assert batch.unlabelled is not None
        losses = {name: float(loss.detach()) for name, loss in method.loss(network, batch, FP32).items()}
        logits = small_network()(batch.labelled_weak.warp(batch.labelled.images))["main"]
        truth = batch.labelled_weak.warp(batch.labelled.labels, "nearest", fill=IGNORE)
        supervised = float(soft_dice_loss(logits, truth).detach())
        unsupervised = divergence(*by_hand(small_network(), batch.unlabelled.images, batch.weak, batch.strong))
        assert losses["supervised"] == pytest.approx(supervised, abs=1e-5)
        assert losses["unsupervised"] == pytest.approx(unsupervised, abs=1e-5)
        assert losses["total"] == pytest.approx(supervised + 0.25 * unsupervised, abs=1e-5)


BF16 = Precision("bf16", "for the test", CPU)


@pytest.mark.parametrize("unsup_loss", ["kl", "iid", "fixmatch", "none"])
def test_losses_are_in_float32_whatever_the_network_multiplies_in(dataset: Dataset, unsup_loss: str) -> None:
    method = UDA(dataset, TrainUDAConfig.model_validate({"labels": 2, "unsup_loss": unsup_loss}), CPU)
    losses = method.loss(small_network(), method.draw(0, 0), BF16)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    # Half precision has 8 bits: a sum that was made in it would be such a number.
    assert all(loss.detach() != loss.detach().bfloat16() for loss in losses.values())


def test_validation_in_half_precision_sums_up_in_float32(dataset: Dataset) -> None:
    method = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    network, supervised = small_network().eval(), []
    for index in dataset.indices("val").tolist():
        images = torch.from_numpy(dataset.normalised(index))[None]
        with torch.no_grad(), BF16.autocast():
            logits = network(images)["main"]
        assert logits.dtype == torch.bfloat16
        supervised.append(dice_by_hand(logits.float(), torch.from_numpy(dataset.labels(index).astype(int))[None]))
    assert method.validate(network, BF16)["val_supervised"] == pytest.approx(np.mean(supervised), abs=1e-5)


@pytest.mark.parametrize("unsup_loss", ["kl", "none"])
def test_validation_is_its_formula_and_the_same_every_time(tmp_path: Path, unsup_loss: str) -> None:
    config = TrainUDAConfig.model_validate(
        {"labels": 2, "unsup_loss": unsup_loss, "unsup_weight": 0.25, "strong_ops": 3, "seed": 2}
    )
    with Dataset(write_discs(tmp_path / "d.h5", unlabelled=(9,))) as dataset:
        method = UDA(dataset, config, CPU)
        network = small_network()
        # Running statistics unlike those of any image: which of them normalises what can be told.
        network.down[0][1].running_mean.add_(0.5)
        network.up[-1][1].running_var.mul_(4)
        network.eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        metrics = method.validate(network, FP32)
        assert metrics == method.validate(network, FP32)
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
        assert not any(module.training for module in network.modules())
        supervised, unsupervised, counts = [], [], np.zeros((2, 2))
        for index in (8, 9, 10):
            images = torch.from_numpy(dataset.normalised(index))[None]
            strong = draw_strong(1, 3, random_stream(2, "validate", index))
            logits, aligned, valid = by_hand(network, images, Affine.identity(1), strong)
            unsupervised.append(divergence(logits, aligned, valid))
            if index != 9:  # which has no mask
                truth = dataset.labels(index).astype(int)
                supervised.append(dice_by_hand(logits, torch.from_numpy(truth)[None]))
                np.add.at(counts, (truth, logits.argmax(1)[0].numpy()), 1)
        union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    assert metrics["val_supervised"] == pytest.approx(np.mean(supervised), abs=1e-5)
    assert metrics["val_mean_iou"] == pytest.approx((np.diag(counts) / union).mean())
    consistency = np.mean(unsupervised) if unsup_loss == "kl" else 0.0
    assert metrics["val_unsupervised"] == pytest.approx(consistency, abs=1e-5)
    assert metrics["val_total"] == pytest.approx(np.mean(supervised) + 0.25 * consistency, abs=1e-5)


def test_training_signal_annealing_drops_what_is_learnt(dataset: Dataset) -> None:
    plain = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none"), CPU)
    annealed = UDA(dataset, TrainUDAConfig(labels=2, unsup_loss="none", tsa="linear", epochs=1), CPU)
    network = small_network()
    first = annealed.draw(0, 0)
    kept, all_counted = (method.loss(network, first, FP32)["total"] for method in (annealed, plain))
    # At the start only pixels that are worse than chance count: their loss is higher.
    assert kept > all_counted
