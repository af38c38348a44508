"""A study from plan to table: finished runs are kept, failed ones named, and a kill changes nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from click.testing import Result
from conftest import write_discs
from helpers.plans import write_plan

from bioseg_cli.study.job import WORKER

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
TINY = {"width": 2, "lr": 0.01}
THREADS = {"threads": 1}


def tables(result: Result | str) -> dict[str, Any]:
    document = json.loads(result if isinstance(result, str) else result.stdout)
    return {name: document[name] for name in ("cells", "baselines", "runs")}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, disc_dataset: Path) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    changes = {"labels": [2], "losses": ["kl"], "seeds": 1, "steps": 12, "uda": TINY, "split": "test", **THREADS}
    return write_plan(folder / "tiny.yaml", disc_dataset, **changes, iic={**TINY, "epochs": 1, "crop": 32})


@pytest.fixture(scope="module")
def finished(plan: Path, bioseg: Cli) -> tuple[Path, dict[str, Any]]:
    out = plan.parent / "whole"
    result = bioseg("study", plan, "--out", out, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    return out, tables(result)


def test_every_run_is_an_ordinary_run_with_its_scores(finished, bioseg: Cli) -> None:
    out, found = finished
    names = [run["name"] for run in found["runs"]]
    assert len(names) == 8
    for run in found["runs"]:
        manifest = yaml.safe_load((out / "runs" / run["name"] / "manifest.yaml").read_text())
        assert manifest["hash"] == run["hash"]
        assert run["status"] == manifest["status"]
    one = next(name for name in names if "-kl-" in name)
    scored = bioseg("evaluate", out / "runs" / one, "--split", "test", "--json")
    assert scored.exit_code == 0
    document = json.loads(scored.stdout)["runs"][0]
    rows = json.loads((out / "scores" / f"{one}.json").read_text())["rows"]
    assert {row["state"] for row in rows} == {"best-supervised", "best-final"}
    row = next(row for row in rows if row["state"] == "best-supervised")
    assert row["score"]["mean_iou"] == document["mean_iou"]
    assert row["score"]["intervals"] == document["intervals"]
    assert found["baselines"]["Discs"]["otsu"] == document["baselines"]["otsu"]["mean_iou"]


def test_the_cells_are_the_means_of_their_runs(finished) -> None:
    out, found = finished
    cell = next(cell for cell in found["cells"] if (cell["loss"], cell["state"]) == ("kl", "best-final"))
    control = next(
        cell for cell in found["cells"] if (cell["loss"], cell["state"], cell["labels"]) == ("none", "best-final", 2)
    )
    values = {}
    for method in ("kl", "supervised"):
        for path in sorted((out / "scores").glob(f"Discs-{method}-2labels-*.json")):
            rows = json.loads(path.read_text())["rows"]
            values.setdefault(method, []).extend(
                row["score"]["mean_iou"] for row in rows if row["state"] == "best-final"
            )
    assert cell["units"] == values["kl"]
    assert cell["mean_iou"] == pytest.approx(sum(values["kl"]) / 2)
    low, high = cell["interval"]
    assert low < cell["mean_iou"] < high
    assert cell["control"]["difference"] == pytest.approx(cell["mean_iou"] - control["mean_iou"])


def test_draws_of_the_same_images_are_one_draw(finished, plan: Path, bioseg: Cli, tmp_path: Path) -> None:
    out, found = finished
    copy = shutil.copytree(out, tmp_path / "copy")
    images = {}
    for manifest in sorted(copy.glob("runs/*-2labels-draw*/manifest.yaml")):
        record = yaml.safe_load(manifest.read_text())
        record["labels"]["images"] = images.setdefault(record["config"]["unsup_loss"], record["labels"]["images"])
        manifest.write_text(yaml.safe_dump(record))
    again = tables(bioseg("study", plan, "--out", copy, "--json", "--quiet"))
    which = [number for number, cell in enumerate(found["cells"]) if (cell["loss"], cell["labels"]) == ("kl", 2)]
    assert which
    for number in which:
        assert (found["cells"][number]["unit"], again["cells"][number]["unit"]) == ("label draw", "seed")
        assert again["cells"][number]["reservation"] == "the interval is over seeds alone"
        assert again["cells"][number]["units"] == found["cells"][number]["units"]
        assert again["cells"][number]["control"] is not None


def test_a_finished_study_is_read_and_not_run_again(finished, plan: Path, bioseg: Cli) -> None:
    out, found = finished
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(times) > 20
    again = bioseg("study", plan, "--out", out, "--json", "--quiet")
    assert tables(again) == found
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    dry = bioseg("study", plan, "--out", out, "--dry-run", "--json")
    assert {run["status"] for run in json.loads(dry.stdout)["runs"]} <= {"finished", "collapsed"}


def test_what_is_missing_is_done_and_nothing_else(finished, plan: Path, bioseg: Cli, tmp_path: Path) -> None:
    out, found = finished
    name = next(run["name"] for run in found["runs"] if "-kl-" in run["name"])
    other = next(run["name"] for run in found["runs"] if "-supervised-all" in run["name"])
    (out / "runs" / name).rename(tmp_path / "moved")
    scores = out / "scores" / f"{name}.json"
    scores.unlink()
    untouched = (out / "runs" / other / "manifest.yaml").stat().st_mtime_ns
    dry = bioseg("study", plan, "--out", out, "--dry-run", "--json")
    status = {run["name"]: run["status"] for run in json.loads(dry.stdout)["runs"]}
    assert [run for run, said in status.items() if said == "missing"] == [name]
    assert not scores.exists()
    again = bioseg("study", plan, "--out", out, "--json", "--quiet")
    assert again.exit_code == 0, again.output
    assert tables(again) == found
    assert (out / "runs" / other / "manifest.yaml").stat().st_mtime_ns == untouched


def test_another_split_is_scored_without_training(finished, plan: Path, bioseg: Cli, tmp_path: Path) -> None:
    out, found = finished
    values = yaml.safe_load(plan.read_text())
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**values, "split": "val", "iic": None, "losses": ["kl"], "draws": 1}))
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    result = bioseg("study", other, "--out", out, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert {run["hash"] for run in tables(result)["runs"]} < {run["hash"] for run in found["runs"]}
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    cells = tables(result)["cells"]
    assert {cell["interval"] for cell in cells} == {None}
    assert all("single run" in cell["reservation"] for cell in cells)
    # Back to the plan of the other tests.
    assert tables(bioseg("study", plan, "--out", out, "--json", "--quiet")) == found


def test_settings_are_compared_each_with_its_control(disc_dataset: Path, bioseg: Cli, tmp_path: Path) -> None:
    entries = [{**TINY, "confidence": 0.1}, {**TINY, "confidence": 0.9}]
    changes = {"labels": [2], "losses": ["kl"], "draws": 1, "seeds": 1, "steps": 4, "split": "test", **THREADS}
    changes |= {"states": ["best-supervised"], "baselines": ["otsu"]}
    plan = write_plan(tmp_path / "plan.yaml", disc_dataset, **changes, uda=entries)
    result = bioseg("study", plan, "--out", tmp_path / "out", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = tables(result)
    titles = ["Discs (confidence 0.1)", "Discs (confidence 0.9)"]
    assert {cell["data"] for cell in found["cells"]} == set(titles) == set(found["baselines"])
    # The settings share the control and the control with all labels.
    names = [run["name"] for run in found["runs"]]
    assert len(names) == len(set(names)) == len(list((tmp_path / "out" / "runs").iterdir())) == 4
    values = {(cell["data"], cell["loss"], cell["budget"]): cell for cell in found["cells"]}
    for title in titles:
        kl, control = values[title, "kl", "2 labels"], values[title, "none", "2 labels"]
        assert kl["control"]["difference"] == pytest.approx(kl["mean_iou"] - control["mean_iou"])
        assert (title, "none", "all") in values
    of_control, of_kl = ([values[title, loss, "2 labels"]["units"] for title in titles] for loss in ("none", "kl"))
    assert of_control[0] == of_control[1] and of_kl[0] != of_kl[1]
    assert not any(run["unlike_control"] for run in found["runs"])
    report = bioseg("report", tmp_path / "out")
    assert report.exit_code == 0, report.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(title in page for title in titles) and "4 runs on" in page


def test_a_failed_run_is_named_and_the_rest_stands(disc_dataset: Path, bioseg: Cli, tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path / "plan.yaml", disc_dataset, labels=[2], losses=["kl"], draws=1, seeds=1, uda=TINY, **THREADS,
        iic={**TINY, "lr": 1e38, "epochs": 1, "crop": 32},
    )  # fmt: skip
    result = bioseg("study", plan, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert "1 of 4 runs failed" in result.stderr
    found = tables(result)
    (failed,) = (run for run in found["runs"] if run["status"] == "failed")
    assert "-iic-" in failed["name"]
    assert "loss is not finite" in failed["failure"]
    assert sum(cell["mean_iou"] is not None for cell in found["cells"]) == 6
    shown = bioseg("study", plan, "--out", tmp_path / "out", "--quiet")
    assert shown.exit_code == 1
    assert failed["name"] in " ".join(shown.stdout.split())


def test_wrong_requests_are_refused_before_anything_is_trained(disc_dataset: Path, bioseg: Cli, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", disc_dataset)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("all of it")
    for arguments, code, said in (
        (("study", tmp_path / "none.yaml"), 2, "There is no such file"),
        (("study", plan, "--out", tmp_path / "taken"), 2, "not a study"),
        (("study", plan, "--jobs", 2, "--scheduler", "tcp://localhost:1"), 2, "not both"),
        (("study", write_plan(tmp_path / "gone.yaml", tmp_path / "gone.h5")), 3, "no such data set"),
    ):
        result = bioseg(*arguments, "--quiet")
        assert (result.exit_code, said in " ".join(result.stderr.split())) == (code, True), result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone.yaml", "plan.yaml", "taken"]


def test_overwrite_loses_nothing_where_the_plan_is_refused(finished, plan: Path, bioseg: Cli, tmp_path: Path) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    values = yaml.safe_load(plan.read_text())
    data = write_discs(tmp_path / "untested.h5", ("train",) * 8 + ("val",) * 3)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**values, "data": {**values["data"], "Untested": str(data)}}))
    result = bioseg("study", other, "--out", out, "--overwrite", "--quiet")
    assert (result.exit_code, "test split holds no labelled image" in result.stderr) == (3, True), result.output
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """As when the machine goes off: whoever was started by the command dies with it."""
    for started in (*psutil.Process(process.pid).children(recursive=True), process):
        with contextlib.suppress(psutil.NoSuchProcess):
            started.kill()
    process.wait()


def begun_job(process: subprocess.Popen[Any]) -> psutil.Process:
    """A process below the command that does a job of the study, as soon as there is started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for started in psutil.Process(process.pid).children(recursive=True):
            try:
                if WORKER in started.cmdline():
                    return started
            except psutil.Error:
                continue  # it has just ended
        time.sleep(0.05)
    raise AssertionError("no job was begun")


@pytest.mark.parametrize("whole", [False, True], ids=["the command alone", "with its workers"])
def test_a_killed_study_goes_on_to_the_same_tables(whole: bool, finished, plan: Path, tmp_path: Path) -> None:
    _, found = finished
    values = yaml.safe_load(plan.read_text())
    short = tmp_path / "short.yaml"
    short.write_text(yaml.safe_dump({**values, "draws": 1, "iic": None}))
    command = [sys.executable, "-m", "bioseg_cli", "study", str(short), "--out", str(tmp_path / "out"), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun_job(process)
    if whole:
        kill_with_children(process)
    else:
        process.kill()
        process.wait()
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    runs = tables(ended.stdout)["runs"]
    assert {run["status"] for run in runs} == {"finished"}
    assert {run["hash"] for run in runs} < {run["hash"] for run in found["runs"]}
    units = {(cell["loss"], cell["labels"], cell["state"]): cell["units"] for cell in tables(ended.stdout)["cells"]}
    expected = {(cell["loss"], cell["labels"], cell["state"]): cell["units"][:1] for cell in found["cells"]}
    assert units == {key: expected[key] for key in units}


def test_a_cluster_with_a_worker_killed_ends_with_the_same_tables(finished, plan: Path, tmp_path: Path) -> None:
    _, found = finished
    command = [sys.executable, "-m", "bioseg_cli", "study", str(plan), "--out", str(tmp_path / "out"), "--json"]
    process = subprocess.Popen([*command, "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    logs = tmp_path / "out" / "logs"
    deadline = time.monotonic() + 60
    while not (logs.is_dir() and list(logs.glob("*-kl-*.log"))):
        assert time.monotonic() < deadline, "no job with unlabelled images was begun"
        time.sleep(0.1)
    try:
        # A Dask worker is what has a job's process below it.
        victim = begun_job(process).parent()
        assert victim is not None and victim in psutil.Process(process.pid).children(recursive=True)
        victim.kill()
        stdout, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    assert tables(stdout) == found
