"""Labels of a forest for images that nobody labelled: what they are, and that a training learns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import write_discs
from helpers.networks import CPU
from helpers.runs import manifest
from safetensors.torch import load_file

from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.training import pseudo_labels
from bioseg_cli.training.alike import DENOISED, PSEUDO_LABELLED, learnt_by
from bioseg_cli.training.forest import fit_forest
from bioseg_cli.training.pseudo_labels import SURE, forest_labels
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]


@pytest.fixture
def dataset(disc_dataset: Path) -> Iterator[Dataset]:
    with Dataset(disc_dataset) as opened:
        yield opened


def taught(**settings: object) -> TrainUDAConfig:
    given = {"labels": 2, "width": 2, "unsup_loss": "none", "pseudo_labels": "forest", "steps": 6, **settings}
    return TrainUDAConfig.model_validate(given)


def test_a_pixel_has_the_class_that_enough_trees_agree_on(dataset: Dataset) -> None:
    labelled = dataset.label_order[:1]
    pool = np.setdiff1d(dataset.indices("train"), labelled)
    found = forest_labels(dataset, labelled, pool, seed=3)
    assert list(found) == pool.tolist()
    forest = fit_forest(dataset, labelled, seed=3)
    unsure = 0
    for index, labels in found.items():
        shares = forest.probabilities(dataset.normalised(index))
        sure = shares.max(axis=0) >= SURE
        np.testing.assert_array_equal(labels[sure], shares.argmax(axis=0)[sure])
        assert (labels[~sure] == dataset.ignore).all()
        unsure += np.count_nonzero(~sure)
    assert unsure
    truth = [(found[index] == dataset.labels(index))[found[index] != dataset.ignore].mean() for index in found]
    assert np.mean(truth) > 0.98


def test_what_was_drawn_stays_and_the_rest_of_the_image_is_labelled(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Wrong on purpose: a forest that has seen it would not say it.
    drawn = np.full((48, 48), dataset.ignore)
    drawn[:, :24] = dataset.labels(0)[:, :24]
    forest = fit_forest(dataset, np.array([0]), seed=0)
    drawn[2, 2] = 1
    monkeypatch.setattr(dataset, "labels", lambda index: drawn)
    monkeypatch.setattr(pseudo_labels, "fit_forest", lambda *given: forest)
    labels = forest_labels(dataset, np.array([0]), np.array([0]), seed=0)[0]
    np.testing.assert_array_equal(labels[:, :24], drawn[:, :24])
    assert (labels[:, 24:] != dataset.ignore).mean() > 0.5


def test_padding_gets_no_label_and_a_class_that_nobody_drew_no_pixel(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = np.where(dataset.labels(0) == 1, 2, 0)
    monkeypatch.setattr(dataset, "labels", lambda index: three)
    monkeypatch.setattr(dataset, "extent", lambda index: (slice(0, 40), slice(4, 48)))
    labels = forest_labels(dataset, np.array([0]), np.array([1]), seed=0)[1]
    assert (labels[40:] == dataset.ignore).all() and (labels[:, :4] == dataset.ignore).all()
    assert set(np.unique(labels)) == {0, 2, dataset.ignore}


def test_a_seed_may_be_as_large_as_any_other_number(dataset: Dataset) -> None:
    assert fit_forest(dataset, dataset.label_order[:1], 2**32).images == 1


def test_of_many_images_some_evenly_spaced_are_labelled(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = dataset.indices("train")
    assert len(pool) > 3
    monkeypatch.setattr(pseudo_labels, "MOST_IMAGES", 3)
    found = list(forest_labels(dataset, dataset.label_order[:1], pool, seed=0))
    assert len(found) == 3 and (found[0], found[-1]) == (pool[0], pool[-1])


def test_a_training_draws_the_images_of_both_with_their_labels(dataset: Dataset) -> None:
    method, control = UDA(dataset, taught(), CPU), UDA(dataset, taught(pseudo_labels="none"), CPU)
    assert not control.pseudo_labels and method.name == "supervised-forest"
    seen = {}
    for epoch in range(4):
        for step in range(method.epoch_steps):
            batch = method.draw(epoch, step)
            assert batch.unlabelled is None
            seen[batch.labelled.indices[0]] = batch.labelled.labels[0].numpy()
    assert sorted(seen) == dataset.indices("train").tolist()
    for index, labels in seen.items():
        expected = method.pseudo_labels.get(index, dataset.labels(index)).astype(int)
        np.testing.assert_array_equal(labels, np.where(expected == dataset.ignore, IGNORE, expected))
    assert method.record.unlabelled == len(method.pseudo_labels) == len(seen) - 2
    assert method.record.labels is not None and method.record.labels.count == 2
    others = {index for step in range(control.epoch_steps) for index in control.draw(0, step).labelled.indices}
    assert others == set(method.labelled.tolist())


def test_another_budget_keeps_the_labels(dataset: Dataset) -> None:
    method = UDA(dataset, taught(), CPU)
    other = method.with_budget(taught(steps=40, epoch_steps=5))
    assert other.pseudo_labels is method.pseudo_labels
    assert (other.epoch_steps, other.config.steps, method.config.steps) == (5, 40, 6)


def test_without_an_unlabelled_image_it_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="none is left to learn from") as error:
        UDA(dataset, taught(labels=8), CPU)
    assert error.value.fix == "Give a smaller --ratio, or --unsup-loss none --pseudo-labels none."


def test_from_the_command_line_and_resumed_as_if_uninterrupted(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 5 + ("val",))
    settings = ("--labels", 1, "--width", 2, "--unsup-loss", "none", "--pseudo-labels", "forest", "--quiet")
    settings += ("--schedule", "constant")
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    for run, steps in ((whole, 8), (begun, 4)):
        result = bioseg("train-uda", data, "--run", run, "--steps", steps, *settings)
        assert result.exit_code == 0, result.output
    result = bioseg("train-uda", "--resume", begun, "--steps", 8, "--quiet")
    assert result.exit_code == 0, result.output
    weights, resumed = (load_file(run / "checkpoints" / "last.safetensors") for run in (whole, begun))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights.items())
    assert manifest(whole)["unlabelled"] == 4 and manifest(whole)["labels"]["count"] == 1
    control = tmp_path / "control"
    result = bioseg("train-uda", data, "--run", control, "--steps", 8, *settings, "--pseudo-labels", "none")
    assert result.exit_code == 0, result.output
    result = bioseg("evaluate", whole, "--control", control, "--json")
    assert result.exit_code == 0, result.output
    result = bioseg("evaluate", whole, "--control", whole)
    assert result.exit_code == 2 and "--unsup-loss none --pseudo-labels none" in " ".join(result.output.split())


def test_tables_know_a_run_by_its_pseudo_labels() -> None:
    settings = {"unsup_loss": "none", "pseudo_labels": "forest", "denoise": 0.5}
    assert learnt_by(settings, "other") == PSEUDO_LABELLED
    assert learnt_by({**settings, "unsup_loss": "kl"}, "other") == "kl"
    assert learnt_by({**settings, "pseudo_labels": "none"}, "other") == DENOISED


def test_without_a_validation_split_the_guard_looks_at_what_a_forest_has_taught(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 5)
    settings = ("--labels", 1, "--width", 2, "--steps", 2, "--unsup-loss", "none", "--quiet")
    for name in ("forest", "none"):
        result = bioseg("train-uda", data, "--run", tmp_path / name, *settings, "--pseudo-labels", name)
        assert result.exit_code == 0, result.output
    assert "guard" in manifest(tmp_path / "forest") and "guard" not in manifest(tmp_path / "none")
