"""Two processes that write to one place: one works, the other is refused by name, and nothing is mixed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from conftest import discs
from helpers.models import record_of, save_random_model, write_image
from helpers.processes import ended, held, owner_in, started, until
from helpers.runs import manifest

from bioseg_cli.dataset.reader import Dataset

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
LONG = ("--labels", 4, "--width", 4, "--batch-size", 2, "--steps", 100_000, "--quiet")


def refused(result: Result, process: subprocess.Popen[str]) -> bool:
    """Whether a command was refused because a process works at the same place."""
    said = result.stderr
    return result.exit_code == 3 and f"Another process is writing here: process {process.pid} on " in said


@pytest.fixture
def training(tmp_path: Path, disc_dataset: Path) -> subprocess.Popen[str]:
    """A training in tmp_path/run that does not end by itself."""
    return started("train-uda", disc_dataset, "--run", tmp_path / "run", *LONG)


def test_a_run_that_is_being_trained(training, bioseg: Bioseg, disc_dataset: Path, tmp_path: Path):
    run = tmp_path / "run"
    with held(training, lambda: (run / "manifest.yaml").exists()):
        before = (run / "manifest.yaml").read_bytes()
        assert refused(bioseg("train-uda", disc_dataset, "--run", run, *LONG, "--overwrite"), training)
        assert refused(bioseg("train-uda", disc_dataset, "--run", run, *LONG), training)
        assert refused(bioseg("train-uda", "--resume", run), training)
        assert (run / "manifest.yaml").read_bytes() == before
    until(lambda: (run / "resume.pt").exists(), training)
    assert ended(training, signal.SIGTERM)[0] == 130
    assert manifest(run)["status"] == "interrupted"
    assert not owner_in(run)()


def test_two_that_go_on_with_one_run(training, bioseg: Bioseg, tmp_path: Path):
    run = tmp_path / "run"
    until(lambda: (run / "resume.pt").exists(), training)
    ended(training, signal.SIGTERM)
    first = started("train-uda", "--resume", run, "--quiet")
    with held(first, owner_in(run)):
        assert refused(bioseg("train-uda", "--resume", run), first)
    until(lambda: manifest(run)["status"] == "running", first)
    assert ended(first, signal.SIGTERM)[0] == 130


def test_a_killed_training_is_gone_on_with_at_once(training, bioseg: Bioseg, tmp_path: Path):
    run = tmp_path / "run"
    until(lambda: (run / "manifest.yaml").exists() and "progress" in manifest(run), training)
    training.kill()
    updates = manifest(run)["progress"]["updates"]
    result = bioseg("train-uda", "--resume", run, "--steps", updates + 2, "--quiet")
    assert result.exit_code == 0, result.stderr


def test_a_run_that_is_being_trained_can_be_read(training, bioseg: Bioseg, disc_dataset: Path, tmp_path: Path):
    run = tmp_path / "run"
    with held(training, lambda: (run / "resume.pt").exists()):
        assert bioseg("evaluate", run, "--data", disc_dataset, "--split", "val").exit_code == 0
    ended(training, signal.SIGTERM)


def test_two_preparations_of_one_data_set(bioseg: Bioseg, tmp_path: Path):
    path = tmp_path / "data" / "demo.h5"
    given = ("prepare", "demo", "--out", path, "--quiet")
    first = started(*given)
    with held(first, owner_in(path.parent)):
        assert refused(bioseg(*given, "--overwrite"), first)
        # Another data set in the same folder is no matter of theirs.
        assert bioseg("prepare", "demo", "--out", path.with_name("other.h5"), "--quiet").exit_code == 0
    assert ended(first)[0] == 0
    with Dataset(path) as one, Dataset(path.with_name("other.h5")) as other:
        assert one.content_hash == other.content_hash
    assert yaml.safe_load(path.with_suffix(".yaml").read_text())["dataset"]["content_hash"] == one.content_hash


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        write_image(folder / f"t{number}.tif", discs(number)[0][0])
    return folder


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing"])
def test_two_predictions_into_one_folder(bioseg: Bioseg, images: Path, tmp_path: Path, option: str):
    out = tmp_path / "out"
    given = ("predict", save_random_model(tmp_path / "model.safetensors"), images, "--out", out)
    first = started(*given)
    with held(first, owner_in(out)):
        assert refused(bioseg(*given, option), first)
    assert ended(first)[0] == 0
    assert len(record_of(out)["files"]) == len(list(out.glob("*.tif"))) == 40
    assert not list(out.glob(".*"))


def test_parts_of_a_job_array_run_at_once_and_the_whole_waits(bioseg: Bioseg, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    given = ("predict", save_random_model(tmp_path / "model.safetensors"), images, "--out", out, "--skip-existing")
    first = started(*given, "--part", "1/2")
    with held(first, owner_in(out)):
        assert refused(bioseg(*given, "--part", "1/2"), first)
        assert refused(bioseg(*given), first)
        assert bioseg(*given, "--part", "2/2").exit_code == 0
    assert ended(first)[0] == 0
    assert bioseg(*given).exit_code == 0
    assert len(record_of(out)["files"]) == 40


def test_two_evaluations_into_one_folder(bioseg: Bioseg, disc_run: Path, disc_dataset: Path, tmp_path: Path):
    out = tmp_path / "report"
    given = ("evaluate", disc_run, "--data", disc_dataset, "--out", out)
    first = started(*given)
    with held(first, owner_in(out)):
        assert refused(bioseg(*given, "--overwrite"), first)
    assert ended(first)[0] == 0
    assert json.loads((out / "evaluation.json").read_text())["command"] == "evaluate"


def test_two_processes_of_one_study(bioseg: Bioseg, disc_dataset: Path, tmp_path: Path):
    data = shutil.copy(disc_dataset, tmp_path / "discs.h5")
    plan = tmp_path / "plan.yaml"
    settings = {"width": 4, "crop": 32, "batch_size": 2}
    content = {"data": {"discs": str(data)}, "labels": [2], "losses": ["kl"], "draws": 2, "steps": 4, "uda": settings}
    plan.write_text(yaml.safe_dump({**content, "baselines": ["otsu"]}))
    out = tmp_path / "study"
    given = ("study", plan, "--out", out)
    first = started(*given, "--jobs", 2, "--quiet")
    with held(first, owner_in(out)):
        assert refused(bioseg(*given), first)
        assert refused(bioseg(*given, "--overwrite"), first)
        assert bioseg(*given, "--dry-run").exit_code == 0
    code, _, said = ended(first)
    assert code == 0, said
    assert {run["status"] for run in manifest(out)["runs"]} == {"finished"}
    assert not list(out.rglob(".*"))
