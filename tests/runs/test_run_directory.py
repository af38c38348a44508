"""The run directory: begun, found again, never replaced by accident; and the record of how it was made."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import new_manifest

from bioseg_cli import __version__
from bioseg_cli.config import STATES
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.runs import manifest
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import environment, read_manifest, write_manifest
from bioseg_cli.runs.sections import Status

MANIFEST = new_manifest().content()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs" / "a", new_manifest(), overwrite=False)


def test_a_run_is_recorded_before_anything_is_trained(run: RunDirectory):
    assert yaml.safe_load((run.path / "manifest.yaml").read_text()) == MANIFEST
    assert (run.path / "checkpoints").is_dir()


def test_an_opened_run_knows_its_manifest(run: RunDirectory):
    run.manifest.status = Status.FINISHED
    run.save_manifest()
    assert RunDirectory.open(run.path).manifest.content() == {**MANIFEST, "status": "finished"}


def test_a_run_can_be_moved(run: RunDirectory, tmp_path: Path):
    run.checkpoint("last").write_text("weights")
    moved = RunDirectory.open(Path(shutil.move(run.path, tmp_path / "elsewhere")))
    assert moved.existing_checkpoint("last").read_text() == "weights"


def test_an_existing_run_is_not_replaced_unless_asked(run: RunDirectory):
    run.checkpoint("last").write_text("weights")
    with pytest.raises(UsageError, match="run exists already") as caught:
        RunDirectory.create(run.path, new_manifest(), overwrite=False)
    assert "--resume" in str(caught.value)
    assert run.checkpoint("last").read_text() == "weights"


def test_overwriting_removes_what_the_earlier_run_wrote_and_nothing_else(run: RunDirectory):
    for path in (run.checkpoint("last"), run.metrics_file, run.resume_file, run.path / "notes.txt"):
        path.write_text("old")
    later = new_manifest()
    later.command = "new"
    RunDirectory.create(run.path, later, overwrite=True)
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "manifest.yaml", "notes.txt"]
    assert not list((run.path / "checkpoints").iterdir())
    assert read_manifest(run.path) == {**MANIFEST, "command": "new"}


@pytest.mark.parametrize("reached", range(6))
def test_a_run_that_is_overwritten_never_says_that_it_has_finished(
    run: RunDirectory, reached: int, monkeypatch: pytest.MonkeyPatch
):
    run.manifest.status = Status.FINISHED
    run.save_manifest()
    for path in (run.checkpoint("last"), run.metrics_file, run.resume_file):
        path.write_text("old")
    removed: list[object] = []

    def killed_at(remove: Callable[..., None]) -> Callable[..., None]:
        def removing(path: Path, **options: object) -> None:
            if "partial" not in str(path):
                removed.append(path)
                if len(removed) > reached:
                    raise SystemExit
            remove(path, **options)

        return removing

    monkeypatch.setattr(shutil, "rmtree", killed_at(shutil.rmtree))
    monkeypatch.setattr(Path, "unlink", killed_at(Path.unlink))
    with contextlib.suppress(SystemExit):
        RunDirectory.create(run.path, new_manifest(), overwrite=True)
    monkeypatch.undo()
    left = RunDirectory.open(run.path)
    assert left.manifest.status == (Status.INTERRUPTED if reached < 5 else Status.RUNNING)
    assert reached == 0 or not left.resume_file.exists()
    RunDirectory.create(run.path, new_manifest(), overwrite=True)


def test_a_run_that_is_killed_as_it_begins_can_be_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make = Path.mkdir

    def killed_before_there_are_states(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "checkpoints":
            raise SystemExit
        make(path, *arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Path, "mkdir", killed_before_there_are_states)
        RunDirectory.create(tmp_path / "run", new_manifest(), overwrite=False)
    assert RunDirectory.create(tmp_path / "run", new_manifest(), overwrite=True).checkpoint("last").parent.is_dir()


def test_a_run_whose_manifest_is_damaged_can_be_overwritten(run: RunDirectory):
    (run.path / "manifest.yaml").write_text("[")
    assert RunDirectory.create(run.path, new_manifest(), overwrite=True).manifest.status == Status.RUNNING


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_or_file_that_is_not_a_run_is_never_replaced(tmp_path: Path, overwrite: bool):
    (tmp_path / "thesis.tex").write_text("precious")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="not a run"):
            RunDirectory.create(path, new_manifest(), overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_an_empty_folder_may_become_a_run(tmp_path: Path):
    assert RunDirectory.create(tmp_path, new_manifest(), overwrite=False).manifest.content() == MANIFEST


def test_a_missing_state_is_refused_with_those_there_are(run: RunDirectory):
    with pytest.raises(DataError, match="no state 'best-miou'") as caught:
        run.existing_checkpoint("best-miou")
    assert "not finished an epoch" in str(caught.value)
    run.checkpoint("last").touch()
    run.checkpoint("best-final").touch()
    with pytest.raises(DataError) as caught:
        run.existing_checkpoint("best-miou")
    assert "best-final, last" in str(caught.value)


def test_each_state_has_its_own_file(run: RunDirectory):
    assert len({run.checkpoint(state) for state in STATES}) == len(STATES)


def test_metrics_are_a_row_an_epoch_and_replaced_whole(run: RunDirectory):
    rows = [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 1e-9}]
    run.write_metrics(rows[:1])
    run.write_metrics(rows)
    with run.metrics_file.open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [{key: float(value) for key, value in row.items()} for row in read] == rows


def test_a_folder_without_a_manifest_is_not_a_run(tmp_path: Path):
    with pytest.raises(DataError, match=r"no manifest\.yaml") as caught:
        RunDirectory.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a: [", "- 1"])
def test_a_damaged_manifest_is_bad_data_and_named(run: RunDirectory, text: str):
    (run.path / "manifest.yaml").write_text(text)
    with pytest.raises(DataError) as caught:
        RunDirectory.open(run.path)
    assert "manifest.yaml" in str(caught.value)


def test_a_failed_write_leaves_the_earlier_manifest(run: RunDirectory):
    with pytest.raises(yaml.YAMLError):
        write_manifest(run.path / "manifest.yaml", {"a": object()})
    assert read_manifest(run.path) == MANIFEST


def test_the_environment_names_versions_and_hardware():
    found = environment()
    assert found["bioseg"] == __version__
    assert found["packages"]["torch"]
    assert found["processor"]
    assert yaml.safe_load(yaml.safe_dump(found)) == found


def test_the_git_revision_is_of_biosegs_own_checkout_and_not_of_one_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    installed = tmp_path / "project" / ".venv" / "bioseg_cli" / "runs" / "manifest.py"
    installed.parent.mkdir(parents=True)
    project = tmp_path / "project"
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)
    monkeypatch.setattr(manifest, "__file__", str(installed))
    assert environment()["git_revision"] is None
    (project / ".git").rename(installed.parents[2] / ".git")
    assert len(environment()["git_revision"]) == 40
