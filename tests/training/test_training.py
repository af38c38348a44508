"""Training from the command line: what a run writes, refuses and repeats."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import SPLITS, discs, new_manifest, write_discs
from helpers.runs import manifest, rows, same, weights

from bioseg_cli.compute.torchrun import Launch
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.model.saved import load_model
from bioseg_cli.training.optimisation import learning_rate
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.single_run import check_shares
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SMALL = ("--labels", 2, "--width", 2, "--quiet")


def test_a_run_finds_the_discs_and_records_what_it_did(disc_run: Path, disc_dataset: Path) -> None:
    record = manifest(disc_run)
    assert record["status"] == "finished"
    assert record["labels"]["count"] == 4
    assert record["labels"]["of"] == SPLITS.count("train")
    with Dataset(disc_dataset) as dataset:
        assert record["data"]["content_hash"] == dataset.content_hash
        assert record["labels"]["images"] == [dataset.name(index) for index in dataset.label_order[:4]]
    assert record["best"]["best-miou"]["value"] > 0.9
    started, ended = (datetime.fromisoformat(record["times"][when]) for when in ("started", "ended"))
    assert started < ended
    card = load_model(disc_run / "checkpoints" / "last.safetensors", torch.device("cpu")).card
    assert card.pixel_size == {"y": 0.5, "x": 0.5, "unit": "µm"}
    assert {path.stem for path in (disc_run / "checkpoints").iterdir()} == {
        "best-supervised", "best-final", "best-miou", "last",
    }  # fmt: skip


def test_each_best_state_is_the_best_row_of_the_log(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bioseg("train-uda", disc_dataset, "--run", run, "--epochs", 4, "--unsup-weight", 0.25, *SMALL)
    log = rows(run)
    assert len(log) == 4
    for row in log:
        for split in ("train", "val"):
            parts = [float(row[f"{split}_{name}"]) for name in ("supervised", "unsupervised", "total")]
            assert parts[2] == pytest.approx(parts[0] + 0.25 * parts[1], rel=1e-6)
            assert parts[1] > 0
    for state, column, pick in (
        ("best-supervised", "val_supervised", min),
        ("best-final", "val_total", min),
        ("best-miou", "val_mean_iou", max),
    ):
        best = manifest(run)["best"][state]
        values = [float(row[column]) for row in log]
        assert best["value"] == pick(values)
        assert best["epoch"] == 1 + values.index(pick(values))


@pytest.mark.parametrize("loss", ["kl", "iid", "fixmatch", "none"])
def test_every_loss_trains_and_two_runs_of_a_seed_are_equal(
    loss: str, bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        result = bioseg(
            "train-uda", disc_dataset, "--run", tmp_path / name, "--unsup-loss", loss, "--epochs", 1, *SMALL
        )
        assert result.exit_code == 0, result.output
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


def test_another_seed_gives_other_weights(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        bioseg("train-uda", disc_dataset, "--run", tmp_path / str(seed), "--seed", seed, "--steps", 1, *SMALL)
    assert not same(weights(tmp_path / "1"), weights(tmp_path / "2"))


def test_the_manifest_of_a_run_repeats_it(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    # The smoothing is that of runs from before the default was 1: they are repeated with their own.
    bioseg("train-uda", disc_dataset, "--run", first, "--steps", 3, "--sharpen", 0.5, "--dice-smooth", 1e-5, *SMALL)
    result = bioseg("train-uda", "--config", first / "manifest.yaml", "--run", again)
    assert result.exit_code == 0, result.output
    assert same(weights(first), weights(again))
    assert manifest(again)["config"]["dice_smooth"] == 1e-5
    bioseg("train-uda", "--config", first / "manifest.yaml", "--dice-smooth", 1, "--run", tmp_path / "other")
    assert not same(weights(first), weights(tmp_path / "other"))


def test_training_never_reads_the_test_split(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    original = Dataset._read

    def recording(self: Dataset, name: str, index: int) -> np.ndarray:
        read.add(index)
        return original(self, name, index)

    monkeypatch.setattr(Dataset, "_read", recording)
    assert bioseg("train-uda", disc_dataset, "--run", tmp_path / "run", "--epochs", 1, *SMALL).exit_code == 0
    sealed = {index for index, split in enumerate(SPLITS) if split == "test"}
    assert read == set(range(len(SPLITS))) - sealed


def test_masks_outside_the_label_budget_change_nothing(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        inside, outside = (tuple(part.tolist()) for part in np.split(dataset.label_order, [2]))
    for name, wrong in (("right", ()), ("outside", outside), ("inside", inside)):
        data = write_discs(tmp_path / f"{name}.h5", wrong=wrong)
        bioseg("train-uda", data, "--run", tmp_path / name, "--steps", 4, *SMALL)
    assert same(weights(tmp_path / "right"), weights(tmp_path / "outside"))
    assert not same(weights(tmp_path / "right"), weights(tmp_path / "inside"))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--ratio", 0), 2, "--ratio"),
        (("--ratio", 1.5), 2, "--ratio"),
        (("--labels", 9), 2, "9 labelled images were asked for, the training split has 8"),
        (("--labels", 2, "--ratio", 0.5), 2, "not both"),
        (("--ratio", 1), 2, "--unsup-loss none"),
        (("--unsup-loss", "mse"), 2, "unsup"),
        (("--steps", 0), 2, "--steps"),
        (("--unet", "original", "--norm", "batch"), 2, "leave out --norm batch"),
        (("--lr", 1e30, "--epochs", 3), 4, "not finite at step"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_reason(
    options: tuple[object, ...], code: int, message: str, bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path / "run", "--width", 2, *options)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_loss_that_is_not_finite_names_step_and_images(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path / "run", "--width", 2, "--lr", 1e30)
    assert result.exit_code == 4
    assert "disc" in result.output
    record = manifest(tmp_path / "run")
    assert record["status"] == "failed"
    assert "not finite" in record["failure"]


def test_the_first_line_and_the_manifest_say_what_is_trained_and_where(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ("train-uda", disc_dataset, "--run", run, "--steps", 1, "--device", "cpu", "--precision", "fp32")
    said = bioseg(*words, *SMALL[:-1]).output
    assert f"{run}: uda-kl, width 2, 1 steps, on cpu in fp32 (" in said
    assert "processes" not in said
    record = manifest(run)
    assert set(record) == {
        "command", "status", "config", "hash", "data", "environment", "times", "labels", "unlabelled", "validation",
        "device",
        "precision", "layout", "processes", "progress", "best", "calibration", "metrics",
    }  # fmt: skip
    assert set(record["precision"]) == {"name", "reason"}
    assert set(record["data"]) == {"path", "content_hash"}
    assert (record["device"], record["precision"]["name"], record["processes"]) == ("cpu", "fp32", 1)
    assert list(record["times"]) == ["started", "ended"]


def test_without_a_labelled_validation_image_the_last_state_stands_for_the_run(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train", "train", "val"), unlabelled=(2,))
    run = tmp_path / "run"
    result = bioseg(
        "train-uda", data, "--run", run, "--labels", 1, "--steps", 2, "--ema", 0.9, "--width", 2, "--no-guard",
        "--patience", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    kept = "no best state can be chosen, and the last one is kept; --patience ends nothing"
    assert f"No validation image has a mask: {kept}" in result.output
    assert [path.stem for path in (run / "checkpoints").iterdir()] == ["last"]
    record = manifest(run)
    assert (record["validation"], record["best"]) == (0, {})
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", discs(0)[0][0])
    result = bioseg("predict", run, tmp_path / "images", "--out", tmp_path / "masks")
    assert result.exit_code == 0, result.output
    result = bioseg("evaluate", run, "--split", "train", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["runs"][0]["state"] == "last"


def test_an_existing_run_is_kept_without_overwrite(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bioseg("train-uda", disc_dataset, "--run", run, "--steps", 1, *SMALL)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = bioseg("train-uda", disc_dataset, "--run", run, "--steps", 2, *SMALL)
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert bioseg("train-uda", disc_dataset, "--run", run, "--steps", 2, "--overwrite", *SMALL).exit_code == 0
    assert manifest(run)["progress"]["updates"] == 2


def test_a_folder_that_is_no_run_is_never_replaced(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path, "--steps", 1, "--overwrite", *SMALL)
    assert result.exit_code == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_only_data_set_is_found_and_several_are_listed(
    bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    none = bioseg("train-uda", "--steps", 1, *SMALL)
    assert none.exit_code == 2
    assert "bioseg prepare" in none.output
    (tmp_path / "data").mkdir()
    write_discs(tmp_path / "data" / "one.h5")
    assert bioseg("train-uda", "--steps", 1, *SMALL).exit_code == 0
    assert (tmp_path / "runs" / "one-uda-kl-2labels-seed0" / "manifest.yaml").is_file()
    write_discs(tmp_path / "data" / "two.h5")
    several = bioseg("train-uda", "--steps", 1, *SMALL)
    assert several.exit_code == 2
    assert "one.h5" in several.output
    assert "two.h5" in several.output


def test_patience_ends_a_run_that_no_longer_improves(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    # A rate this small changes no prediction: nothing improves after the first epoch but by rounding.
    result = bioseg(
        "train-uda", disc_dataset, "--run", tmp_path / "run", "--epochs", 50, "--patience", 2, "--lr", 1e-30,
        "--norm", "none", "--precision", "fp32", *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(rows(tmp_path / "run")) == 3
    # A run that learns ends two epochs after the last one in which any of the states improved.
    learning = tmp_path / "learning"
    bioseg("train-uda", disc_dataset, "--run", learning, "--epochs", 30, "--patience", 2, "--lr", 0.02, *SMALL)
    best = {state: best["epoch"] for state, best in manifest(learning)["best"].items()}
    assert len(rows(learning)) == min(30, max(best.values()) + 2)
    assert len(set(best.values())) > 1


def test_memory_that_runs_out_says_what_to_make_smaller(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr("bioseg_cli.training.uda.soft_dice_loss", too_large)
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path / "run", *SMALL)
    assert result.exit_code == 4
    # Not --resume, which refuses to change them.
    assert "--crop" in result.output and "--overwrite" in result.output and "--resume" not in result.output


@pytest.mark.parametrize(("images", "processes", "fits"), [(1, 2, 2), (6, 4, 8), (7, 3, 9), (9, 2, 10)])
def test_processes_share_a_batch_equally_or_not_at_all(images: int, processes: int, fits: int) -> None:
    with pytest.raises(UsageError, match=f"--batch-size {images} is the images of all {processes} processes") as error:
        check_shares(TrainUDAConfig(batch_size=images), Launch(count=processes))
    assert str(error.value.fix).startswith(f"Give --batch-size {fits}, or")
    check_shares(TrainUDAConfig(batch_size=fits), Launch(count=processes))


def test_a_process_that_does_not_write_its_run_leaves_nothing(tmp_path: Path) -> None:
    run = UnwrittenRun.create(tmp_path / "run", manifest := new_manifest(), overwrite=False)
    run.save_manifest()
    run.write_metrics([{"epoch": 1}])
    assert (run.path, run.manifest) == (tmp_path / "run", manifest)
    assert not list(tmp_path.iterdir())


def test_the_step_schedule_drops_at_epochs_30_60_and_90_of_100() -> None:
    rates = [learning_rate("step", 1.0, epoch / 100) for epoch in range(100)]
    assert [epoch for epoch in range(1, 100) if rates[epoch] != rates[epoch - 1]] == [30, 60, 90]
    assert rates[0] == 1.0
    assert rates[99] == pytest.approx(1e-3)


def test_the_cosine_schedule_falls_from_the_rate_to_nothing() -> None:
    rates = [learning_rate("cosine", 0.5, progress) for progress in np.linspace(0, 1, 11)]
    assert rates[0] == 0.5
    assert rates[5] == pytest.approx(0.25)
    assert rates[10] == pytest.approx(0)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


@pytest.mark.parametrize(
    ("options", "norm", "dropout"),
    [((), "batch", 0.0), (("--unet", "original"), "none", 0.5), (("--unet", "original", "--dropout", 0), "none", 0.0)],
)
def test_the_original_network_has_no_normalisation_and_drops_half(
    options: tuple[object, ...], norm: str, dropout: float, bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert bioseg("train-uda", disc_dataset, "--run", run, "--steps", 1, *SMALL, *options).exit_code == 0
    architecture = load_model(run / "checkpoints" / "last.safetensors", torch.device("cpu")).card.architecture
    assert (architecture.norm, architecture.dropout) == (norm, dropout)


def test_color_on_grey_images_is_said_once(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    loud = SMALL[:-1]
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path / "kl", "--epochs", 2, *loud)
    assert result.output.count("color changes nothing") == 1
    control = bioseg("train-uda", disc_dataset, "--run", tmp_path / "none", "--steps", 1, "--unsup-loss", "none", *loud)
    assert "color changes nothing" not in control.output


def test_the_warm_up_raises_the_rate_in_equal_steps_to_the_schedules_own(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = bioseg(
        "train-uda", disc_dataset, "--run", run, "--unsup-loss", "none", "--schedule", "constant", "--lr", 0.1,
        "--warmup", 4, "--steps", 6, "--epoch-steps", 1, *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with (run / "metrics.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
