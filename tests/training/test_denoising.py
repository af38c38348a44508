"""The head that tells hidden pixels: what is hidden, what it costs, and that no saved model has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import write_discs
from helpers.networks import CPU, FP32
from helpers.runs import manifest, rows
from safetensors.torch import load_file

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.model.saved import load_model
from bioseg_cli.training.denoising import HiddenPixels, draw_hidden
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

Cli = Callable[..., Result]


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def hidden(*places: tuple[int, int, int, int]) -> HiddenPixels:
    """Of one image: row and column of each, and of what it shows instead."""
    return HiddenPixels(*(torch.tensor([column]) for column in zip(*places, strict=True)))


def test_a_hidden_pixel_shows_another_in_all_channels_and_the_rest_stays() -> None:
    images = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 2, 3, 4)
    before = images.clone()
    found = hidden((0, 1, 2, 3), (2, 3, 0, 0)).hide(images)
    expected = before.clone()
    expected[0, :, 0, 1] = before[0, :, 2, 3]
    # What is shown is what was there, hidden itself or not.
    expected[0, :, 2, 3] = before[0, :, 0, 0]
    assert torch.equal(found, expected)
    assert torch.equal(images, before)


def test_the_loss_is_the_mean_square_of_hidden_pixels_that_show_their_image() -> None:
    random = np.random.default_rng(0)
    images, predicted = random.random((2, 3, 8, 9)), random.normal(size=(2, 3, 8, 9))
    valid = (random.random((2, 1, 8, 9)) < 0.6).astype(float)
    spots = draw_hidden(2, 8, 9, np.random.default_rng(1))
    spots = HiddenPixels(*(torch.cat([part, part + 1], dim=1) % 8 for part in vars(spots).values()))
    found = spots.loss(torch.from_numpy(predicted), torch.from_numpy(images), torch.from_numpy(valid), 0.2)
    errors = []
    for image in range(2):
        for row, column in zip(spots.rows[image].tolist(), spots.columns[image].tolist(), strict=True):
            if valid[image, 0, row, column]:
                truth = (images[image, :, row, column] - images[image].mean(axis=(1, 2))) / 0.2
                errors.append(((predicted[image, :, row, column] - truth) ** 2).mean())
    assert 0 < len(errors) < 4
    assert float(found) == pytest.approx(np.mean(errors), abs=1e-12)
    nothing = spots.loss(torch.from_numpy(predicted), torch.from_numpy(images), torch.zeros(2, 1, 8, 9), 0.2)
    assert float(nothing) == 0
    flat = spots.loss(torch.zeros(2, 3, 8, 9), torch.ones(2, 3, 8, 9), torch.ones(2, 1, 8, 9), 0.0)
    assert float(flat) == 0


@pytest.mark.parametrize(("height", "width"), [(64, 40), (200, 100)])
def test_a_share_of_the_pixels_is_hidden_by_neighbours_that_are_others(height: int, width: int) -> None:
    spots = draw_hidden(3, height, width, np.random.default_rng(2))
    count = round(0.015 * height * width)
    assert all(part.shape == (3, count) and part.dtype == torch.int64 for part in vars(spots).values())
    for image in range(3):
        places = set(zip(spots.rows[image].tolist(), spots.columns[image].tolist(), strict=True))
        assert len(places) == count
    down, right = spots.shown_rows - spots.rows, spots.shown_columns - spots.columns
    assert int(down.abs().max()) == int(right.abs().max()) == 5
    assert not ((down == 0) & (right == 0)).any()
    for axis, length in ((spots.rows, height), (spots.columns, width), (spots.shown_rows, height)):
        assert int(axis.min()) >= 0 and int(axis.max()) < length
    assert int(spots.shown_columns.max()) < width


def test_neighbours_are_all_around_and_each_as_likely() -> None:
    spots = draw_hidden(8, 300, 300, np.random.default_rng(3))
    down, right = (spots.shown_rows - spots.rows).flatten(), (spots.shown_columns - spots.columns).flatten()
    counts = torch.zeros(11, 11).index_put_((down + 5, right + 5), torch.ones(len(down)), accumulate=True)
    assert counts[5, 5] == 0
    others = counts[counts > 0]
    assert len(others) == 120
    assert others.min() > 0.5 * others.mean() and others.max() < 1.5 * others.mean()


def denoised(**settings: object) -> TrainUDAConfig:
    given = {"labels": 2, "width": 2, "unsup_loss": "none", "denoise": 0.5, "steps": 6, **settings}
    return TrainUDAConfig.model_validate(given)


@pytest.mark.parametrize("geometry", ["paper", "wide"])
def test_a_step_segments_what_it_denoises_and_denoises_unlabelled_images_as_they_are(
    dataset: Dataset, geometry: str
) -> None:
    config = denoised(batch_size=2, geometry=geometry)
    method = UDA(dataset, config, CPU)
    assert method.heads == {"main": 2, "denoise": 1}
    network = build_network(config, dataset, method.heads, method.training_heads).train()
    batch = method.draw(0, 1)
    assert batch.unlabelled is not None and batch.hidden is not None
    losses = method.loss(network, batch, FP32)
    after = {name: buffer.clone() for name, buffer in network.named_buffers()}
    gradient = torch.autograd.grad(losses["total"], list(network.parameters()))
    again = build_network(config, dataset, method.heads, method.training_heads).train()
    mirrored = geometry == "wide"
    images = batch.labelled_weak.warp(batch.labelled.images, mirrored=mirrored)
    said = again(batch.hidden[0].hide(images))
    expected = {name: buffer.clone() for name, buffer in again.named_buffers()}
    told = again(batch.hidden[1].hide(batch.unlabelled.images))["denoise"]
    spread = np.mean([dataset.normalised(index).std() for index in dataset.indices("train")])
    valid = batch.labelled_weak.valid_mask(batch.labelled.shown, mirrored=mirrored)
    assert bool(valid.mean() == 1) is mirrored
    denoising = (
        batch.hidden[0].loss(said["denoise"], images, valid, spread)
        + batch.hidden[1].loss(told, batch.unlabelled.images, batch.unlabelled.shown, spread)
    ) / 2
    assert float(losses["denoising"].detach()) == pytest.approx(float(denoising.detach()), rel=1e-5)
    plain = UDA(dataset, denoised(batch_size=2, geometry=geometry, denoise=0.0), CPU)
    shown = plain.draw(0, 1)
    # Its images and views are those of the control.
    assert shown.labelled.indices == batch.labelled.indices
    assert torch.equal(shown.labelled_weak.matrix, batch.labelled_weak.matrix)
    labels = batch.labelled_weak.warp(batch.labelled.labels, "nearest", fill=0 if mirrored else -1, mirrored=mirrored)
    supervised = plain._labelled_loss(said["main"], labels)
    torch.testing.assert_close(losses["supervised"], supervised)
    by_hand = torch.autograd.grad(supervised + 0.5 * denoising, list(again.parameters()))
    for computed, other in zip(gradient, by_hand, strict=True):
        torch.testing.assert_close(computed, other, rtol=1e-4, atol=1e-6)
    # What normalises predictions is of the labelled images alone, as in a control.
    assert all(torch.equal(after[name], expected[name]) for name in expected)


def test_a_run_and_its_control_begin_with_the_same_weights_and_the_same_random_state(dataset: Dataset) -> None:
    config = denoised(seed=5)
    networks, states = [], []
    for heads, extra in (({"main": 2}, frozenset()), ({"main": 2, "denoise": 1}, frozenset({"denoise"}))):
        networks.append(build_network(config, dataset, heads, extra).state_dict())
        states.append(torch.get_rng_state())
    assert set(networks[1]) - set(networks[0]) == {"heads.denoise.weight", "heads.denoise.bias"}
    assert all(torch.equal(networks[1][name], tensor) for name, tensor in networks[0].items())
    assert torch.equal(*states)


def test_no_saved_model_has_the_head_and_prediction_is_that_of_any_other(bioseg: Cli, tmp_path: Path) -> None:
    data, run = write_discs(tmp_path / "d.h5", ("train",) * 4 + ("val", "test")), tmp_path / "run"
    options = ("--labels", 2, "--width", 2, "--steps", 4, "--unsup-loss", "none", "--denoise", 0.5, "--ema", 0.5)
    done = bioseg("train-uda", data, "--run", run, *options, "--quiet")
    assert done.exit_code == 0, done.output
    assert "train_denoising" in rows(run)[0]
    assert manifest(run)["unlabelled"] == 2
    for state in ("best-supervised", "best-final", "best-miou", "last"):
        path = run / "checkpoints" / f"{state}.safetensors"
        assert not [name for name in load_file(path) if "denoise" in name]
        model = load_model(path, CPU)
        assert (model.card.architecture.heads, model.card.method) == ({"main": 2}, "supervised-denoise")
        assert set(model.network(torch.rand(1, 1, 32, 32))) == {"main"}
    # The state to resume has all of it.
    parts = torch.load(run / "resume.pt", weights_only=True)["parts"]
    assert "heads.denoise.weight" in parts["network"] and "heads.denoise.weight" in parts["average"]
    scored = bioseg("evaluate", run, "--split", "test", "--json", "--quiet")
    assert scored.exit_code == 0, scored.output


def test_without_an_unlabelled_image_it_is_refused(dataset: Dataset) -> None:
    for loss, off in (("none", "--unsup-loss none --denoise 0"), ("kl", "--unsup-loss none --denoise 0")):
        with pytest.raises(UsageError, match="none is left to learn from") as error:
            UDA(dataset, denoised(labels=8, unsup_loss=loss), CPU)
        assert error.value.fix == f"Give a smaller --ratio, or {off}."
