"""No training starts, goes on, or is scored on a data set that was edited after it was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import SIZE, discs, write_discs
from helpers.datasets import EDITS, brighter_pixel, edited

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Item
from bioseg_cli.dataset.writer import DatasetWriter

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
TINY = ("--width", 2, "--steps", 1, "--labels", 8, "--unsup-loss", "none", "--quiet")


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli) -> Path:
    """A run on a data set beside it, `data.h5`."""
    place = tmp_path_factory.mktemp("trained")
    assert bioseg("train-uda", write_discs(place / "data.h5"), "--run", place / "run", *TINY).exit_code == 0
    return place / "run"


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("change", EDITS.values(), ids=list(EDITS))
def test_an_edited_data_set_is_refused_wherever_it_is_relied_upon(
    change: Callable[..., None], earlier: bool, bioseg: Cli, run: Path, tmp_path: Path
) -> None:
    data = edited(run.with_name("data.h5"), tmp_path / "edited.h5", change, earlier=earlier)
    for command in (
        ("train-uda", data, "--run", tmp_path / "new", *TINY),
        ("train-uda", "--resume", run, "--data", data, "--steps", 2),
        ("evaluate", run, "--data", data, "--split", "test"),
    ):
        result = bioseg(*command)
        assert result.exit_code == 3, (command, result.output)
        assert "The data set was changed after it was made" in said(result) and str(data) in said(result)
        assert "Make it again with `bioseg prepare`." in said(result)


def test_an_edit_of_an_image_that_is_not_scored_is_found_before_a_test(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    data = edited(run.with_name("data.h5"), tmp_path / "edited.h5", brighter_pixel)
    masks = tmp_path / "masks"
    assert bioseg("predict", run, run.with_name("data.h5"), "--split", "test", "--out", masks).exit_code == 0
    for command in (("evaluate", run, "--data", data), ("evaluate", "--predictions", masks, "--truth", data)):
        result = bioseg(*command, "--split", "test")
        assert result.exit_code == 3 and "images[9] (disc9) is not what was stored" in said(result)


def test_a_data_set_of_an_earlier_version_is_trained_on_as_ever(bioseg: Cli, run: Path, tmp_path: Path) -> None:
    data = edited(run.with_name("data.h5"), tmp_path / "earlier.h5", lambda file: None, earlier=True)
    assert bioseg("train-uda", data, "--run", tmp_path / "new", *TINY).exit_code == 0
    assert bioseg("evaluate", run, "--data", data, "--split", "test").exit_code == 0


def test_copies_in_two_splits_are_said_before_the_training(bioseg: Cli, tmp_path: Path) -> None:
    """`prepare` refuses them; a data set may be made otherwise."""
    with (
        Dataset(write_discs(tmp_path / "any.h5")) as other,
        DatasetWriter(tmp_path / "d.h5", count=3, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for number, split in ((0, "train"), (1, "train"), (0, "val")):
            writer.add(Item(*discs(number), split, f"{number}{split}", other.source(number)))
        writer.finish(other.info)
    options = ("--width", 2, "--steps", 1, "--unsup-loss", "none", "--quiet")
    result = bioseg("train-uda", tmp_path / "d.h5", "--run", tmp_path / "run", *options)
    assert result.exit_code == 0
    assert (
        "Warning: 1 image for validation or test can be seen in training images too (0val_disc0 as 0train_disc0)"
        in said(result)
    )
