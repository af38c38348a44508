"""Averaged teachers, mixed images, thresholds by class, rising weights: values, gradients and whole runs."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import Result
from conftest import write_discs
from helpers.networks import CPU, FP32, small_network
from helpers.runs import manifest, rows, same, weights
from torch import Tensor

from bioseg_cli.augment.affine import Affine
from bioseg_cli.compute import signals
from bioseg_cli.config import build_config
from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.model.unet import UNet
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.views import UDABatch

Cli = Callable[..., Result]


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def settings(**given: Any) -> TrainUDAConfig:
    return build_config(TrainUDAConfig, {"labels": 2, "batch_size": 2, "ema": 0.9, **given})


def teacher() -> UNet:
    """Another network than the one in training, whose statistics are those of no image."""
    torch.manual_seed(7)
    network = copy.deepcopy(small_network())
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    network.down[0][1].running_mean.add_(0.4)
    return network.eval()


def box(batch: UDABatch) -> Tensor:
    """Of the first image a box, of the second another."""
    assert batch.unlabelled is not None
    found = torch.zeros_like(batch.unlabelled.shown, dtype=torch.bool)
    found[0, :, 5:30, 10:40] = True
    found[1, :, 20:, :22] = True
    return found


def clear_threshold(near: float, batch: UDABatch, target_of: UNet) -> float:
    """A confidence close to `near` that no pixel has nearly: rounding must not decide which pixels count."""
    assert batch.unlabelled is not None
    with torch.no_grad():
        sure = target_of(batch.weak.warp(batch.unlabelled.images))["main"].softmax(1).amax(1).flatten()
    sure = sure[(sure - near).abs() < 0.05].sort().values
    widest = sure.diff().argmax()
    return float(sure[widest : widest + 2].mean())


def by_hand(
    config: TrainUDAConfig, batch: UDABatch, network: UNet, target_of: UNet, boxes: Tensor, temperature: float
) -> Tensor:
    """The unsupervised loss of a step that mixes, from logits: sums over pixels of weight * -sum t log p, or KL."""
    assert batch.unlabelled is not None
    mirrored = config.geometry == "wide"
    images = batch.unlabelled.images
    labelled = batch.labelled_weak.warp(batch.labelled.images, mirrored=mirrored)
    fill = 0 if mirrored else IGNORE
    labels = batch.labelled_weak.warp(batch.labelled.labels, "nearest", fill=fill, mirrored=mirrored)
    with torch.no_grad():
        logits = target_of(batch.weak.warp(images, mirrored=mirrored))["main"]
    sure, pseudo = logits.softmax(1).max(1)
    soft = (logits / temperature).softmax(1) if config.unsup_loss == "kl" else F.one_hot(pseudo, 2).movedim(-1, 1)
    valid = (batch.weak.warp(batch.unlabelled.shown, mirrored=mirrored) > 0.9999).float()
    certain = valid * (sure > (config.confidence or 0.0))[:, None]
    strong = batch.weak.warp(batch.strong.colour(images, deep=True), mirrored=mirrored)
    hard = F.one_hot(labels.clamp(min=0), 2).movedim(-1, 1)
    true = (labels != IGNORE).float()[:, None]
    ours, theirs = (strong, soft, certain, valid), (labelled, hard, true, true)
    if config.mix == "cutmix":
        mixed = [torch.where(boxes, part[[1, 0]], part) for part in ours]
    else:
        ours = (strong, soft, certain / 2, valid / 2)
        pairs = zip(ours, theirs, strict=True)
        mixed = [torch.cat([torch.where(boxes, l, u), torch.where(boxes, u, l)]) for u, l in pairs]  # noqa: E741
    seen, wanted, counted, could = mixed
    log_p = network(seen)["main"].log_softmax(1)
    entropy = torch.special.xlogy(wanted, wanted) if config.unsup_loss == "kl" else 0 * wanted
    pixels = (entropy - wanted * log_p).sum(1, keepdim=True)
    return (counted * pixels).sum() / could.sum()


@pytest.mark.slow
@pytest.mark.parametrize("teacher_is", ["average", "self"])
@pytest.mark.parametrize("mix", ["cutmix", "labelled"])
@pytest.mark.parametrize(
    "loss",
    [
        {"unsup_loss": "fixmatch", "confidence": 0.6},
        {"unsup_loss": "kl", "sharpen": 0.5, "geometry": "wide"},
        {"unsup_loss": "kl", "confidence": 0.6},
    ],
    ids=str,
)
def test_the_loss_and_gradients_of_mixed_images_are_those_of_the_formula(
    dataset: Dataset, loss: dict[str, Any], mix: str, teacher_is: str
) -> None:
    config = settings(teacher=teacher_is, mix=mix, unsup_weight=0.25, **loss)
    method = UDA(dataset, config, CPU)
    drawn = method.draw(0, 1)
    assert drawn.mixing is not None
    batch = dataclasses.replace(drawn, mixing=dataclasses.replace(drawn.mixing, boxes=box(drawn)))
    network, average = small_network(), teacher()
    if config.confidence is not None:
        target_of = average if teacher_is == "average" else small_network()
        config = config.model_copy(update={"confidence": clear_threshold(config.confidence, batch, target_of)})
        method = UDA(dataset, config, CPU)
    losses = method.loss(network, batch, FP32, average if teacher_is == "average" else None)
    losses["total"].backward()
    # The student's passes are normalised by their own statistics; so is its target, where it makes that itself.
    again, source = small_network(), average if teacher_is == "average" else small_network()
    mirrored = config.geometry == "wide"
    images = batch.labelled_weak.warp(batch.labelled.images, mirrored=mirrored)
    labels = batch.labelled_weak.warp(
        batch.labelled.labels, "nearest", fill=0 if mirrored else IGNORE, mirrored=mirrored
    )
    supervised = method._labelled_loss(again(images)["main"], labels)
    unsupervised = by_hand(config, batch, small_network(), source, box(batch), config.sharpen)
    assert float(losses["unsupervised"].detach()) > 0.01
    assert float(losses["supervised"].detach()) == pytest.approx(float(supervised.detach()), abs=1e-5)
    assert float(losses["unsupervised"].detach()) == pytest.approx(float(unsupervised.detach()), abs=1e-5)
    whole = small_network()
    unsupervised = by_hand(config, batch, whole, source, box(batch), config.sharpen)
    (method._labelled_loss(whole(images)["main"], labels) + 0.25 * unsupervised).backward()
    for parameter, other in zip(network.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for parameter in average.parameters())


def test_mixed_views_are_those_of_unmixed_ones_but_for_the_rotation(dataset: Dataset) -> None:
    turned = []
    for given in ({}, {"augment": "microscopy"}):
        plain, method = (UDA(dataset, settings(mix=mix, **given), CPU) for mix in ("none", "labelled"))
        for step in range(3):
            unmixed, mixed = plain.draw(0, step), method.draw(0, step)
            assert unmixed.mixing is None and mixed.mixing is not None and mixed.strong.rotation.is_identity()
            assert torch.equal(unmixed.weak.matrix, mixed.weak.matrix)
            assert unmixed.strong.operations == mixed.strong.operations
            assert (unmixed.strong.capture is None) == (not given)
            turned.append(not unmixed.strong.rotation.is_identity())
            assert torch.equal(method.draw(0, step).mixing.boxes, mixed.mixing.boxes)
            assert not torch.equal(method.draw(1, step).mixing.boxes, mixed.mixing.boxes)
    assert sum(turned) >= 3


def test_a_teacher_s_target_is_moved_by_it_alone_and_leaves_running_statistics_to_labelled_images(
    dataset: Dataset,
) -> None:
    method = UDA(dataset, settings(unsup_loss="kl", teacher="average"), CPU)
    control = UDA(dataset, settings(unsup_loss="none", teacher="average"), CPU)
    batch = method.draw(0, 0)
    turned = Affine.similarity(torch.tensor([40.0, 200.0]))
    batch = dataclasses.replace(batch, strong=dataclasses.replace(batch.strong, rotation=turned))
    network, plain, average = small_network(), small_network(), teacher()
    before = copy.deepcopy(average.state_dict())
    found = method.loss(network, batch, FP32, average)["unsupervised"]
    control.loss(plain, dataclasses.replace(batch, unlabelled=None), FP32)
    assert same(average.state_dict(), before)
    # Those of a control: what its predictions are normalised by is no part of what the loss brings.
    assert all(torch.equal(buffer, other) for buffer, other in zip(network.buffers(), plain.buffers(), strict=True))
    assert batch.unlabelled is not None
    weak = batch.weak
    images, shown = batch.unlabelled.images, batch.unlabelled.shown
    both, back = weak.after(turned), weak.after(turned.inverse()).after(weak.inverse())
    target = average(weak.warp(images))["main"].softmax(1)
    strong = back.warp(small_network()(both.warp(batch.strong.colour(images, deep=True)))["main"].softmax(1))
    valid = back.valid_mask(both.valid_mask(shown)) * weak.valid_mask(shown)
    pixels = (target * (target.log() - strong.clamp(min=1e-30).log())).sum(1, keepdim=True)
    assert float(found.detach()) == pytest.approx(float(pixels[valid > 0].mean().detach()), abs=1e-5)
    with pytest.raises(ValueError, match="asked for and is not given"):
        method.loss(network, batch, FP32)
    assert (method.teacher_decay, control.teacher_decay) == (0.9, None)
    plain_decay = UDA(dataset, settings(unsup_loss="kl", teacher="average", ema=None), CPU).teacher_decay
    assert plain_decay == 0.99


def test_wide_views_are_mirrored_at_the_frame_where_a_teacher_or_mixing_sees_them(dataset: Dataset) -> None:
    seen: list[Tensor] = []
    for given, black in (({}, True), ({"teacher": "average"}, False), ({"mix": "cutmix"}, False)):
        method = UDA(dataset, settings(unsup_loss="fixmatch", geometry="wide", **given), CPU)
        batch = method.draw(0, 0)
        half = Affine.similarity(torch.zeros(2), torch.full((2,), 0.5))
        network, average = small_network(), teacher()
        for model in (network, average):
            model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        method.loss(network, dataclasses.replace(batch, weak=half), FP32, average if "teacher" in given else None)
        _, weak, strong = seen[-3:]
        assert [bool((views[..., :4, :4] == 0).all()) for views in (weak, strong)] == [black, black]


def test_the_weight_rises_over_its_share_of_the_budget(dataset: Dataset) -> None:
    method = UDA(dataset, settings(unsup_loss="kl", ramp=0.5, unsup_weight=0.5, steps=20), CPU)
    batch = method.draw(0, 0)
    for progress, factor in ((0.0, math.exp(-5)), (0.25, math.exp(-1.25)), (0.4, math.exp(-0.2)), (0.5, 1), (0.9, 1)):
        found = method.loss(small_network(), dataclasses.replace(batch, progress=progress), FP32)
        share = float((found["total"] - found["supervised"]).detach() / found["unsupervised"].detach())
        assert share == pytest.approx(0.5 * factor, abs=1e-5), progress
    assert method.draw(1, 2, 0.25).progress == 0.25
    constant = UDA(dataset, settings(unsup_loss="kl", unsup_weight=0.5), CPU)
    assert [constant._unsupervised.weight(progress) for progress in (0.0, 0.3)] == [0.5, 0.5]


def test_with_thresholds_by_class_the_rarer_one_counts_too(dataset: Dataset) -> None:
    found = {}
    for by_class in (False, True):
        config = settings(
            unsup_loss="fixmatch", teacher="average", confidence=0.9, class_confidence=by_class, mix="cutmix"
        )
        method = UDA(dataset, config, CPU)
        drawn = method.draw(0, 0)
        assert drawn.mixing is not None
        batch = dataclasses.replace(drawn, mixing=dataclasses.replace(drawn.mixing, boxes=box(drawn)))
        found[by_class] = float(method.loss(small_network(), batch, FP32, teacher())["unsupervised"].detach())
        assert drawn.unlabelled is not None
        probabilities = teacher()(drawn.weak.warp(drawn.unlabelled.images))["main"].softmax(1)
        sure, pseudo = probabilities.max(1)
        valid = drawn.weak.valid_mask(drawn.unlabelled.shown)
        means = [float(sure[(pseudo == code) & (valid[:, 0] > 0)].mean().detach()) for code in range(2)]
        thresholds = torch.tensor([0.9 * mean / max(means) for mean in means]) if by_class else torch.tensor([0.9, 0.9])
        counted = valid * (sure >= thresholds[pseudo])[:, None]
        boxes = box(batch)
        strong = drawn.weak.warp(drawn.strong.colour(drawn.unlabelled.images, deep=True))
        seen, wanted, counts, could = (
            torch.where(boxes, part.flip(0), part) for part in (strong, pseudo[:, None], counted, valid)
        )
        pixels = F.cross_entropy(small_network()(seen)["main"], wanted[:, 0], reduction="none")[:, None]
        by_formula = float(((counts * pixels).sum() / could.sum()).detach())
        assert found[by_class] == pytest.approx(by_formula, abs=1e-5)
    assert abs(found[True] - found[False]) > 1e-3


def test_only_a_loss_that_can_use_an_option_takes_it() -> None:
    fixed = "needs a fixed target, and {} has none: give --unsup-loss fixmatch, or kl as it is"
    for given, said in (
        ({"teacher": "average", "unsup_loss": "iid"}, "--teacher average " + fixed.format("--unsup-loss iid")),
        ({"mix": "labelled", "stop_gradient": False}, "--mix labelled " + fixed.format("--no-stop-gradient")),
        ({"mix": "cutmix", "batch_size": 1}, "--mix cutmix pastes from one unlabelled image of a step into another"),
        ({"class_confidence": True}, "--class-confidence scales --confidence, which --unsup-loss kl has none of"),
        ({"class_confidence": True, "confidence": 0.5, "unsup_loss": "iid"}, "--class-confidence is for"),
        ({"pseudo_loss": "ce-dice"}, "--pseudo-loss ce-dice is for --unsup-loss fixmatch"),
        ({"ramp": 1.5}, "--ramp: input should be less than or equal to 1"),
    ):
        with pytest.raises(UsageError, match=said):
            settings(**given)
        # The control of a run is given all of the run's settings.
        if "ramp" not in given:
            settings(**{**given, "unsup_loss": "none"})
    settings(mix="labelled", batch_size=1)
    settings(class_confidence=True, confidence=0.0)
    settings(class_confidence=True, unsup_loss="fixmatch")


# Whole runs -----------------------------------------------------------------------------------------------------------

TAUGHT = ("--unsup-loss", "fixmatch", "--teacher", "average", "--ema", 0.9)
CUT = ("--mix", "cutmix", "--batch-size", 2, "--confidence", 0.3)
SMALL = ("--labels", 2, "--width", 2, "--quiet")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (*TAUGHT, "--mix", "labelled", "--ramp", 0.5, "--denoise", 0.5),
        (*TAUGHT, *CUT, "--class-confidence", "--pseudo-loss", "ce-dice"),
        ("--unsup-loss", "kl", "--mix", "labelled", "--unet", "original"),
        ("--unsup-loss", "iid", "--denoise", 0.5, "--norm", "group"),
        ("--preset", "best", "--unsup-loss", "fixmatch", "--teacher", "average", "--mix", "labelled", "--crop", 32),
    ],
    ids=str,
)
def test_every_option_trains(options: tuple[object, ...], bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = bioseg("train-uda", disc_dataset, "--run", run, *SMALL, "--steps", 2, *options)
    assert done.exit_code == 0, done.output
    assert all(np.isfinite(float(value)) for row in rows(run) for value in row.values())
    assert float(rows(run)[-1]["train_unsupervised"]) != 0


@pytest.mark.slow
def test_a_stopped_run_of_a_teacher_that_mixes_resumes_bit_for_bit(
    bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 6 + ("val",))
    options = (*SMALL, *TAUGHT, "--mix", "labelled", "--ramp", 0.8, "--denoise", 0.5, "--class-confidence")
    options = (*options, "--confidence", 0.5, "--dropout", 0.2, "--lr", 0.01, "--steps", 10)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert bioseg("train-uda", data, "--run", whole, *options).exit_code == 0
    asked = iter(range(100))

    class StopAfter:
        def __enter__(self) -> Callable[[], bool]:
            return lambda: next(asked) == 6

        def __exit__(self, *_: object) -> None:
            return None

    with monkeypatch.context() as patch:
        patch.setattr(signals, "stop_signals", StopAfter)
        assert bioseg("train-uda", data, "--run", stopped, *options).exit_code == 130
    assert manifest(stopped)["progress"]["updates"] == 6
    resumed = bioseg("train-uda", "--resume", stopped, "--quiet")
    assert resumed.exit_code == 0, resumed.output
    assert rows(stopped) == rows(whole)
    assert same(weights(stopped, "last"), weights(whole, "last"))
    states = [torch.load(run / "resume.pt", weights_only=True) for run in (stopped, whole)]
    for part in ("network", "average", "teacher"):
        assert same(states[0]["parts"][part], states[1]["parts"][part]), part
