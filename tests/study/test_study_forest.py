"""The forest of a study: one for each data set, label budget and label draw, and a row of the tables a budget."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import write_discs
from helpers.plans import write_plan
from helpers.studies import Page, kl_wins, page_of, score_row, study
from rich.console import Console
from scipy import stats

from bioseg_cli.cli.tables.study import render
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.study import session
from bioseg_cli.study.collect import results_of_study
from bioseg_cli.study.document import document
from bioseg_cli.study.folder import StudyFolder
from bioseg_cli.study.forest import forest_rows, score_forest
from bioseg_cli.study.grid import expand, read_plan
from bioseg_cli.study.job import BaselinesJob, Job
from bioseg_cli.study.results import ScoreRow, baselines_request, write_scores
from bioseg_cli.study.session import _Study
from bioseg_cli.study.settings import Plan, StudyConfig
from bioseg_cli.study.worker import perform
from bioseg_cli.training.alike import DENOISED

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
QUIET = ConsoleOutput(quiet=True)


def planned(dataset: Path, folder: Path, **changes: object) -> _Study:
    plan = write_plan(folder / "plan.yaml", dataset, labels=[2], losses=["kl", "iid"], **changes)
    config = StudyConfig(plan=plan, out=folder / "out")
    return _Study(config, read_plan(plan), StudyFolder(folder / "out"), expand(read_plan(plan), plan))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of which some are labelled wrong: forests of other images say other things."""
    return write_discs(tmp_path_factory.mktemp("data") / "some.h5", wrong=(0, 3, 5))


@pytest.fixture(scope="module")
def grown(data: Path, tmp_path_factory: pytest.TempPathFactory) -> _Study:
    """A study with its forests, and no run."""
    found = planned(data, tmp_path_factory.mktemp("forest"), baselines=["otsu", "forest"])
    for job in (*found._baselines(), *found._forests()):
        perform(job, QUIET)
    found._save("running")
    return found


def test_the_forest_is_a_baseline_of_every_plan() -> None:
    plan = Plan.model_validate({"data": {"a": "a.h5"}})
    assert plan.baselines == ("otsu", "kmeans", "forest", "all-background")


def test_seeds_and_losses_share_a_forest(grown: _Study) -> None:
    jobs = grown._forests()
    # 2 draws x 2 seeds x (control, KL, IID), and the control with all labels.
    assert len(grown.runs) == 16
    assert [(job.labels, job.draw) for job in jobs] == [(2, 0), (8, 0), (2, 1)]
    assert len({job.scores for job in jobs}) == 3
    (baselines,) = grown._baselines()
    assert isinstance(baselines, BaselinesJob) and baselines.baselines == ("otsu",)


def carried_out(study: _Study, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool = False) -> set[str]:
    """The names of the jobs that a study begins, none of which ends well."""
    begun = set()

    def fail(do: object, jobs: Sequence[Job], **_: object) -> Iterator[tuple[Job, str]]:
        for job in jobs:
            begun.add(job.name)
            yield job, "The machine went off"

    monkeypatch.setattr(session, "run_jobs", fail)
    with owned_folder(study.folder.path) as ownership:
        study.carry_out(QUIET, ownership, overwrite=overwrite)
    return begun


def test_overwrite_and_changed_data_repeat_the_baselines_and_leave_no_score_of_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copy(data, tmp_path / "copy.h5"))
    found = planned(copy, tmp_path, baselines=["otsu", "forest"])
    of_data = [*found._baselines(), *found._forests()]
    names = {job.name for job in of_data}

    def write_all() -> None:
        for job in of_data:
            job.scores.parent.mkdir(parents=True, exist_ok=True)
            job.scores.write_text(write_scores([score_row("otsu", 0.25, None)], job.request, job.hash))

    write_all()
    assert not names & carried_out(found, monkeypatch)
    assert [row.name for row in results_of_study(found.folder).baselines["Discs"]][:1] == ["otsu"]
    assert names <= carried_out(found, monkeypatch, overwrite=True)
    assert results_of_study(found.folder).baselines["Discs"] == ()
    write_all()
    copy.unlink()
    write_discs(copy, wrong=(1,))
    changed = planned(copy, tmp_path, baselines=["otsu", "forest"])
    assert names <= carried_out(changed, monkeypatch)
    assert results_of_study(changed.folder).baselines["Discs"] == ()


def test_without_it_none_is_grown(data: Path, tmp_path: Path) -> None:
    assert planned(data, tmp_path, baselines=["otsu"])._forests() == []


def test_each_has_the_labelled_images_of_its_runs_and_the_row_their_mean(grown: _Study, data: Path) -> None:
    results = results_of_study(grown.folder)
    rows = {row.name: row for row in results.baselines["Discs"]}
    assert list(rows) == ["otsu", "forest, 2 labels", "forest, 8 labels"]
    with Dataset(data) as dataset:
        scored = [score_forest(dataset, dataset.label_subset(count=2, draw=draw), "test", QUIET) for draw in (0, 1)]
        every = score_forest(dataset, dataset.label_subset(count=8), "test", QUIET)
    means = [row.mean_iou for row in scored]
    assert len(set(means)) == 2
    row = rows["forest, 2 labels"]
    assert row.mean_iou == pytest.approx(np.mean(means), abs=1e-12)
    half = stats.t.ppf(0.975, 1) * np.std(means, ddof=1) / np.sqrt(2)
    assert row.score.intervals.mean_iou == pytest.approx([row.mean_iou - half, row.mean_iou + half])
    assert (row.score.labels, row.score.draws) == (2, 2)
    assert row.images == {
        name: pytest.approx((scored[0].images[name] + scored[1].images[name]) / 2) for name in row.images
    }
    assert rows["forest, 8 labels"].mean_iou == every.mean_iou
    assert rows["forest, 8 labels"].score.intervals.mean_iou is None
    assert document(results)["baselines"]["Discs"]["forest, 2 labels"] == row.mean_iou


def test_the_scores_are_kept_for_a_plan_that_grows(grown: _Study, data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (grown.folder.path / "scores").iterdir()}
    folder = grown.folder.path.parent
    more = planned(data, folder, baselines=["otsu", "forest"], draws=3)
    for job in more._forests():
        perform(job, QUIET)
    after = {path: path.stat().st_mtime_ns for path in (grown.folder.path / "scores").iterdir()}
    assert before.items() < after.items()
    assert [path.name for path in after.keys() - before.keys()] == ["Discs.forest-2labels-draw2.json"]


def test_a_study_with_a_forest_of_all_labels_alone_is_still_read(data: Path, tmp_path: Path) -> None:
    old = planned(data, tmp_path, baselines=["otsu", "forest"])
    rows = [score_row("otsu", 0.8, None), score_row("forest", 0.9, None)]
    (identity,) = {job.hash for job in old._baselines()}
    path = old.folder.scores("Discs.baselines")
    path.parent.mkdir(parents=True)
    path.write_text(write_scores(rows, baselines_request("test", ("otsu", "forest")), identity))
    old._save("finished")
    assert [row.name for row in results_of_study(old.folder).baselines["Discs"]] == ["otsu", "forest"]


def with_forests(means: dict[int, list[float]]) -> tuple[ScoreRow, ...]:
    return forest_rows(
        {count: {draw: score_row("forest", mean, None) for draw, mean in enumerate(of)} for count, of in means.items()}
    )


def test_the_tables_and_the_curve_show_it(tmp_path: Path) -> None:
    results = study(kl_wins, iic=True)
    forests = with_forests({10: [0.84, 0.86], 25: [0.88, 0.90], 50: [0.91, 0.93], 100: [0.945]})
    results = replace(results, baselines={"FluoHoechst": (*results.baselines["FluoHoechst"], *forests)})
    with (console := Console(width=80)).capture() as capture:
        console.print(render(results))
    lines = [line.split() for line in capture.get().splitlines()]
    # No cell is folded: the widest method and interval fit in 80 columns.
    wide = render(study(kl_wins, losses=("fixmatch", DENOISED)))
    with (console := Console(width=80)).capture() as capture_wide:
        console.print(wide)
    assert capture_wide.get().count(" best-supervised  ") == 10
    # Student's interval of two draws 0.02 apart is 12.7 times 0.01 wide on each side.
    assert ["10", "forest", "2/2", "0.8500", "0.723", "to", "0.977"] in lines
    assert ["100", "forest", "1/1", "0.9450", "-"] in lines
    text = page_of(results)
    page = Page(text)
    s1 = next(table for table in page.tables if table[0][0] == "Labelled images")
    assert ["random forest on filters, 10 labels", "0.8500 0.7229 to 0.9771 c"] in [
        [" ".join(cell.split()) for cell in row] for row in s1
    ]
    assert ["random forest on filters, 100 labels", "0.9450"] in [
        [" ".join(cell.split()) for cell in row] for row in s1
    ]
    assert "Of a forest: Student’s, over 2 label draws." in " ".join(page.words.split())
    assert "Random forest on filters: 0.8500 with 10, 0.8900 with 25, 0.9200 with 50." in text
    clusters = next(table for table in page.tables if table[0][0] == "Clusters of")
    assert ["random forest on filters, 10 labels", "0.8500"] in clusters


def test_a_report_of_runs_has_the_forest_of_their_labels(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path
) -> None:
    result = bioseg("report", disc_run, disc_control, "--out", tmp_path / "page.html", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["baselines"].values()
    assert list(found) == ["otsu", "kmeans", "all-background", "forest, 4 labels"]
    scored = bioseg("evaluate", disc_run, "--baselines", "forest", "--split", "test", "--draws", 100, "--json")
    assert found["forest, 4 labels"] == json.loads(scored.stdout)["runs"][0]["baselines"]["forest"]["mean_iou"]
