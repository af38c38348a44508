"""From images that were drawn in part to a trained and scored network: crops, the unlabelled pool, areas, folders."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from conftest import SIZE, discs, write_discs
from helpers.studies import kl_wins, study

from bioseg_cli.cli.tables.study import notes, render
from bioseg_cli.config import build_config
from bioseg_cli.dataset.area import AREA, labelled_area, per_cent, unlabelled_pool, with_share
from bioseg_cli.dataset.batches import ImageSource
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folds import leave_out
from bioseg_cli.report import words
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.session import make_page
from bioseg_cli.runs.console import ConsoleOutput, PlainConsole
from bioseg_cli.study.cells import cells
from bioseg_cli.study.collect import results_of
from bioseg_cli.study.document import document
from bioseg_cli.study.grid import Budget, DataFacts, _facts
from bioseg_cli.training.fit import fitted_to_images, object_diameter
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
CPU = torch.device("cpu")
TINY = ("--width", 6, "--steps", 60, "--epoch-steps", 60, "--lr", 0.02, "--warmup", 5, "--ema", 0.9, "--quiet")


def three_scribbles(mask: np.ndarray) -> np.ndarray:
    """Two strokes inside discs and one outside: 2 and 1, and 0 where nobody drew."""
    drawn = np.zeros_like(mask)
    inside = np.argwhere(mask == 1)
    for row, column in (inside[len(inside) // 4], inside[-len(inside) // 4]):
        drawn[row - 1 : row + 2, max(0, column - 4) : column + 5] = 2
    drawn[(drawn == 2) & (mask == 0)] = 0
    outside = int(np.argmin(mask.sum(axis=1)))
    drawn[outside, 4 : SIZE - 4] = np.where(mask[outside, 4 : SIZE - 4] == 0, 1, 0)
    return drawn


@pytest.fixture(autouse=True)
def short_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the updates of a run, however few."""
    monkeypatch.setattr("bioseg_cli.evaluation.arms.LEAST_UPDATES", 1)


class Folder:
    """A folder of discs, some with masks; and the data set that `prepare folder` makes of it."""

    def __init__(self, root: Path, count: int, masks: dict[int, np.ndarray]) -> None:
        self.images, self.masks, self.data, self.run = (root / name for name in ("images", "masks", "d.h5", "run"))
        self.images.mkdir()
        self.masks.mkdir()
        for number in range(count):
            iio.imwrite(self.images / f"i{number}.png", discs(number)[0][0])
            if number in masks:
                iio.imwrite(self.masks / f"i{number}.png", masks[number])

    def prepare(self, bioseg: Cli, *options: object) -> dict[str, Any]:
        given = ("prepare", "folder", "--images", self.images, "--masks", self.masks, "--out", self.data)
        result = bioseg(*given, *options, "--json", "--quiet", "--overwrite")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def train(self, bioseg: Cli) -> dict[str, Any]:
        result = bioseg("train-uda", self.data, "--preset", "best", *TINY, "--run", self.run)
        assert result.exit_code == 0, result.output
        return yaml.safe_load((self.run / "manifest.yaml").read_text())

    def cross_validated(self, bioseg: Cli, *options: object) -> str:
        result = bioseg("evaluate", self.run, "--cross-validate", *options, "--quiet")
        assert result.exit_code == 0, result.output
        return result.stdout

    def predicted(self, bioseg: Cli, number: int) -> float:
        """Accuracy on all pixels of an image."""
        out = self.run / "masks"
        result = bioseg("predict", self.run, self.images, "--out", out, "--quiet")
        assert result.exit_code == 0, result.output
        (file,) = out.glob(f"i{number}.*")
        return float((iio.imread(file) == discs(number)[1]).mean())


@pytest.fixture(scope="module")
def scribbled(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli) -> Folder:
    """One image with three scribbles, and a network trained on them."""
    folder = Folder(tmp_path_factory.mktemp("scribbled"), 1, {0: three_scribbles(discs(0)[1])})
    summary = folder.prepare(bioseg, "--unlabelled-value", 0)
    assert summary["masks"] == "1 is 'background', 2 is 'foreground', 0 is not drawn"
    folder.train(bioseg)
    return folder


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli) -> Folder:
    """Forty images, the upper half of one of them drawn; and a network trained on it."""
    mask = discs(3)[1] + 1
    mask[SIZE // 2 :] = 0
    folder = Folder(tmp_path_factory.mktemp("half"), 40, {3: mask})
    summary = folder.prepare(bioseg, "--unlabelled-value", 0)
    assert summary["images"]["train"] == {"labelled": 1, "unlabelled": 39}
    folder.train(bioseg)
    return folder


def manifest(folder: Folder) -> dict[str, Any]:
    return yaml.safe_load((folder.run / "manifest.yaml").read_text())


def test_three_scribbles_teach_a_network_that_is_scored(bioseg: Cli, scribbled: Folder) -> None:
    drawn = int(np.count_nonzero(three_scribbles(discs(0)[1])))
    labels = manifest(scribbled)["labels"]
    assert (labels["pixels"], labels["share"]) == (drawn, drawn / SIZE**2)
    assert scribbled.predicted(bioseg, 0) > 0.9
    row = json.loads(scribbled.cross_validated(bioseg, "--json"))["runs"][0]
    assert row["labels"] == {"count": 1, "of": 1, "pixels": drawn, "share": drawn / SIZE**2}
    assert any(note.startswith(f"Scored are the {drawn} pixels that were drawn") for note in row["notes"])


def test_a_run_is_evaluated_and_reported_with_its_labelled_area(bioseg: Cli, scribbled: Folder) -> None:
    labels = manifest(scribbled)["labels"]
    result = bioseg("evaluate", scribbled.run, "--split", "train", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["runs"][0]
    assert row["labels"] == {"count": 1, "of": 1, "pixels": labels["pixels"], "share": labels["share"]}
    assert any(note.startswith("Scored are the") for note in row["notes"])
    (found,) = results_of([scribbled.run], split="train", output=ConsoleOutput(quiet=True)).runs
    assert found.labelled_share == labels["share"]


def test_half_of_one_image_of_forty_teaches_a_network_that_is_scored(bioseg: Cli, half: Folder) -> None:
    assert manifest(half)["labels"]["share"] == 0.5
    assert half.predicted(bioseg, 3) > 0.9
    shown = " ".join(half.cross_validated(bioseg).split())
    assert "1 (50.0 %)" in shown
    assert "In brackets behind the labels: how much of the area of the labelled images has a label." in shown


def test_one_image_with_one_whole_mask(bioseg: Cli, tmp_path: Path) -> None:
    folder = Folder(tmp_path, 1, {0: 255 * discs(0)[1]})
    assert folder.prepare(bioseg)["labelled_area"]["train"] == {"pixels": SIZE**2, "share": 1.0}
    assert folder.train(bioseg)["labels"]["share"] == 1.0
    assert "%)" not in folder.cross_validated(bioseg)


def test_a_data_set_is_shown_with_its_labelled_area(bioseg: Cli, scribbled: Folder) -> None:
    given = ("prepare", "folder", "--images", scribbled.images, "--masks", scribbled.masks)
    result = bioseg(*given, "--out", scribbled.run / "again.h5", "--unlabelled-value", 0)
    drawn = int(np.count_nonzero(three_scribbles(discs(0)[1])))
    share = per_cent(drawn / SIZE**2)
    assert f"1 ({share} %)" in result.output
    assert f"labels   {drawn} pixels in train ({share} % of its labelled images)" in result.output


def partly(path: Path, drawn: dict[int, np.ndarray], splits=("train",) * 4, *, declared: bool = True) -> Path:
    """Discs, of which the labels at false places of `drawn` are ignored; `declared` as what nobody drew."""
    write_discs(path, splits, settings={"drawn_in_part": True} if declared else {}, drawn=drawn)
    return path


UPPER = np.arange(SIZE)[:, None].repeat(SIZE, axis=1) < SIZE // 2
MOST = np.arange(SIZE)[:, None].repeat(SIZE, axis=1) < SIZE - 3


def test_the_undrawn_part_of_a_labelled_image_is_unlabelled_data(tmp_path: Path) -> None:
    with Dataset(partly(tmp_path / "d.h5", {1: UPPER, 2: MOST})) as dataset:
        assert unlabelled_pool(dataset, np.array([1, 2])).tolist() == [0, 1, 3]
        assert unlabelled_pool(dataset, np.arange(4)).tolist() == [1]
        assert labelled_area(dataset, np.array([0, 1])) == {"pixels": SIZE**2 * 3 // 2, "share": 0.75}
        method = UDA(dataset, build_config(TrainUDAConfig, {"ratio": 1.0, "unsup_loss": "kl"}), CPU)
        assert method.unlabelled.tolist() == [1]
        assert method.record.unlabelled == 1
    assert _facts(tmp_path / "d.h5") == DataFacts(tmp_path / "d.h5", _facts(tmp_path / "d.h5").content_hash, None, 4, 1)


@pytest.mark.parametrize("drawn", [{}, {1: UPPER}])
def test_pixels_that_are_ignored_for_a_reason_stay_out_of_the_pool(tmp_path: Path, drawn) -> None:
    with Dataset(partly(tmp_path / "d.h5", drawn, declared=False)) as dataset:
        assert unlabelled_pool(dataset, np.array([1, 2])).tolist() == [0, 3]


def test_a_stroke_has_no_size_and_an_object_with_all_around_it_has(tmp_path: Path) -> None:
    scribbles = three_scribbles(discs(0)[1]) > 0
    config = build_config(TrainUDAConfig, {"preset": "best", "labels": 1, "width": 4})
    with Dataset(partly(tmp_path / "a.h5", {0: scribbles}, ("train",))) as dataset:
        assert object_diameter(dataset, config) is None
        fitted, said = fitted_to_images(config, dataset, CPU)
        assert fitted.crop == 192
        assert said == [
            "Chosen by --preset best: crops of 192 pixels, as no object was drawn with all that is around it, and "
            "strokes have no size (--crop says another)"
        ]
    with Dataset(write_discs(tmp_path / "b.h5", ("train",))) as whole:
        every = object_diameter(whole, config)
    with Dataset(partly(tmp_path / "c.h5", {0: MOST}, ("train",))) as dataset:
        assert object_diameter(dataset, config) == pytest.approx(every, rel=0.3)


def test_crops_are_taken_where_the_scribbles_are(tmp_path: Path) -> None:
    scribbles = three_scribbles(discs(0)[1]) > 0
    with Dataset(partly(tmp_path / "d.h5", {0: scribbles}, ("train",))) as dataset:
        source = ImageSource(dataset, 0)
        random = np.random.default_rng(0)
        around = source.batch(np.zeros(40, np.int64), crop=12, random=random, around_labels=True).labels
        anywhere = source.batch(np.zeros(40, np.int64), crop=12, random=random).labels
    assert (around >= 0).any(dim=(1, 2)).all()
    assert 10 < (around == 1).any(dim=(1, 2)).sum() < 40
    assert not (anywhere >= 0).any(dim=(1, 2)).all()


def test_crops_anywhere_are_remarked_on(tmp_path: Path) -> None:
    with Dataset(partly(tmp_path / "d.h5", {0: UPPER})) as dataset:
        for crop, around, said in ((32, "anywhere", True), (32, "labels", False), (None, "anywhere", False)):
            settings = {"ratio": 1.0, "unsup_loss": "none", "crop": crop, "crop_around": around}
            remarks = UDA(dataset, build_config(TrainUDAConfig, settings), CPU).remarks
            assert any("many will hold no label (--crop-around labels" in remark for remark in remarks) is said


def test_a_single_image_is_cut_the_way_that_leaves_both_classes(tmp_path: Path) -> None:
    drawn = np.zeros((SIZE, SIZE), dtype=bool)
    with Dataset(partly(tmp_path / "d.h5", {0: UPPER}, ("train",))) as dataset:
        labels = np.full((SIZE, SIZE), 255, dtype=np.uint8)
        labels[5, :40], labels[30, 30] = 0, 1
        dataset.labels = lambda index: labels  # type: ignore[method-assign]
        with pytest.raises(DataError, match="is the only labelled image, and without one of 4 parts of its labels it"):
            leave_out(dataset, np.array([0]))
        labels[30, :40] = 1
        folds = leave_out(dataset, np.array([0]))
        for fold in folds:
            assert set(np.unique(labels[~fold.part])) == {0, 1, 255}
            drawn |= fold.part
        assert drawn.all()
        # Bands of rows would be all of a class each.
        assert [int((labels[fold.part] != 255).sum()) for fold in folds] == [20] * 4


def test_shares_are_never_0_nor_100_per_cent_of_what_is_neither() -> None:
    shares = (1, 0.99999, 0.5, 0.0123, 0.00123, 0.0000001)
    assert [per_cent(share) for share in shares] == ["100.0", "99.9", "50.0", "1.2", "0.12", "0.0001"]
    assert with_share(3, [1.0]) == with_share(3, [None]) == "3"
    assert with_share("10 %", [0.2, 0.1, 0.2]) == "10 % (10.0-20.0 %)"
    assert words.labels(Budget(12, "10 %"), [0.25, 1.0]) == "10\N{NO-BREAK SPACE}% (12 images, 25.0 % of their area)"
    assert words.labels(Budget(5, "5 labels"), [0.25]) == "5\N{NO-BREAK SPACE}labels (25.0 % of their area)"
    assert words.labels(Budget(5, "5 labels"), [1.0]) == "5\N{NO-BREAK SPACE}labels"


def test_tables_of_a_study_have_the_labelled_area_behind_the_labels(tmp_path: Path) -> None:
    results = study(kl_wins, losses=("kl",), folder=tmp_path)
    drawn = tuple(replace(run, labelled_share=0.02 + 0.01 * run.seed) for run in results.runs)
    partly_drawn = replace(results, runs=drawn)
    cell = document(partly_drawn)["cells"][0]
    least, largest = cell["labelled_share"]
    assert least == 0.02 < largest
    shown = f"2.0-{per_cent(largest)} %"
    text = io.StringIO()
    PlainConsole(text, width=200).print(render(partly_drawn))
    assert f"({shown})" in text.getvalue()
    assert AREA in notes(cells(partly_drawn))
    assert AREA not in notes(cells(results))
    page = make_page(Findings(partly_drawn), ConsoleOutput(quiet=True))[0]
    assert f"{shown} of their area)" in page
    assert "(2.0 %)</td>" in page
    assert "of their area" not in make_page(Findings(results), ConsoleOutput(quiet=True))[0]
