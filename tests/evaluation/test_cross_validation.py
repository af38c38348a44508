"""`evaluate --cross-validate`: what each training leaves out, what is scored, and for which runs it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import SIZE, write_discs

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.folds import DatasetWithout, Fold, leave_out

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SETTINGS = ("--unsup-loss", "none", "--width", 4, "--lr", 0.02, "--steps", 40, "--epoch-steps", 40, "--quiet")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled training images, and one of another split."""
    return write_discs(tmp_path_factory.mktemp("few") / "few.h5", ("train", "train", "train", "test"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path, bioseg: Cli) -> Path:
    path = tmp_path_factory.mktemp("few-runs") / "three"
    result = bioseg("train-uda", data, "--run", path, "--labels", 3, *SETTINGS)
    assert result.exit_code == 0, result.output
    return path


def test_each_labelled_image_is_left_out_once(data: Path) -> None:
    with Dataset(data) as dataset:
        folds = leave_out(dataset, np.array([2, 0]))
        assert [fold.index for fold in folds] == [2, 0]
        assert all(fold.part.all() for fold in folds)


def test_a_single_image_is_left_out_in_parts_of_equal_labels(data: Path) -> None:
    with Dataset(data) as dataset:
        folds = leave_out(dataset, np.array([1]))
    assert [fold.index for fold in folds] == [1] * 4
    covered = np.sum([fold.part for fold in folds], axis=0)
    np.testing.assert_array_equal(covered, np.ones((SIZE, SIZE)))
    assert [int(fold.part.sum()) for fold in folds] == [SIZE * SIZE // 4] * 4


def test_parts_follow_the_labels_where_few_pixels_have_any(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.full((SIZE, SIZE), 255, dtype=np.uint8)
    labels[40:48] = np.arange(SIZE) % 2
    with Dataset(data) as dataset:
        monkeypatch.setattr(dataset, "labels", lambda index: labels)
        folds = leave_out(dataset, np.array([0]))
    assert [int((labels[fold.part] != 255).sum()) for fold in folds] == [2 * SIZE] * 4


def test_a_training_does_not_see_what_is_left_out(data: Path) -> None:
    part = np.zeros((SIZE, SIZE), dtype=bool)
    part[:10] = True
    with Dataset(data) as whole, DatasetWithout(data, np.array([1]), Fold(1, part)) as remaining:
        assert remaining.label_order.tolist() == [1]
        assert (remaining.labels(1)[:10] == 255).all()
        np.testing.assert_array_equal(remaining.labels(1)[10:], whole.labels(1)[10:])
        np.testing.assert_array_equal(remaining.labels(0), whole.labels(0))
        assert remaining.indices("val").tolist() == []
    everywhere = Fold(1, np.ones((SIZE, SIZE), dtype=bool))
    with DatasetWithout(data, np.array([2, 1, 0]), everywhere) as remaining:
        assert remaining.label_order.tolist() == [2, 0]
        assert (remaining.labels(1) == 255).all()


def test_a_run_is_cross_validated_on_its_own_labels(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = bioseg("evaluate", run, "--cross-validate", "--json", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["runs"][0]
    assert row["split"] == "cross-validated training"
    assert row["images"] == 3
    assert 0.5 < row["mean_iou"] < 1
    assert row["intervals"]["mean_iou"][0] < row["mean_iou"]
    assert "with 40 of the run's 40 updates" in " ".join(row["notes"])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_training_has_a_share_of_the_updates_and_not_too_few(
    bioseg: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioseg_cli.evaluation.arms.LEAST_UPDATES", 13)
    result = bioseg("evaluate", run, "--cross-validate")
    assert "training 3 of 3, 13 updates, without disc" in result.output
    monkeypatch.setattr("bioseg_cli.evaluation.arms.LEAST_UPDATES", 3)
    assert "training 1 of 3, 10 updates, without disc" in bioseg("evaluate", run, "--cross-validate").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cross-validate", "--state", "last"), "--cross-validate trains anew"),
        (("--calibrate",), "--calibrate stores what --cross-validate fits: give both"),
        (("--cross-validate", "--calibrate", "--tta"), "--calibrate is of single views, which --tta averages"),
    ],
)
def test_options_that_do_not_fit(bioseg: Cli, run: Path, arguments: tuple[str, ...], said: str) -> None:
    result = bioseg("evaluate", run, *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_labels_that_teach_nothing_without_the_one_left_out(bioseg: Cli, tmp_path: Path) -> None:
    data = tmp_path / "d.h5"
    write_discs(data, ("train", "train"), empty=(0,))
    bioseg("train-uda", data, "--run", tmp_path / "run", "--labels", 2, *SETTINGS[:-5], "--steps", 1, "--quiet")
    result = bioseg("evaluate", tmp_path / "run", "--cross-validate")
    assert result.exit_code == 3
    assert "Without labels of disc1 the others show a single class: they teach nothing" in result.output


def test_too_many_labels_have_a_validation_split(bioseg: Cli, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", ("train",) * 11)
    bioseg("train-uda", data, "--run", tmp_path / "run", "--labels", 11, *SETTINGS[:-5], "--steps", 1, "--quiet")
    result = bioseg("evaluate", tmp_path / "run", "--cross-validate")
    assert result.exit_code == 2
    assert "The run has 11 labelled images, and --cross-validate is for 10 at most" in result.output
