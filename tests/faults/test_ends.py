"""How commands end: by signals, without memory, and when nobody reads what they say."""

from __future__ import annotations

import ctypes
import os
import pty
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import discs
from helpers.models import record_of, save_random_model, write_image
from helpers.processes import command, ended, heed_signals, started, until
from helpers.runs import manifest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")]

TINY = ("--labels", 4, "--width", 4, "--batch-size", 2)
FULL = Path("/dev/full")
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $BIOSEG is the program; it fails where any part of a pipe fails."""
    program = {"BIOSEG": " ".join(command())}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        env={**os.environ, **program},
        **options,
    )


def says(text: str, *parts: str) -> bool:
    """Whether all is said, and neither a traceback nor that it was unexpected."""
    return all(part in text for part in parts) and "Traceback" not in text and "Unexpected" not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_training_that_is_asked_to_stop_saves_its_state(tmp_path: Path, disc_dataset: Path, number: signal.Signals):
    run = tmp_path / "run"
    training = started("train-uda", disc_dataset, "--run", run, *TINY, "--steps", 100_000)
    until(lambda: (run / "resume.pt").exists(), training)
    code, _, said = ended(training, number)
    assert code == 130 and says(said, "the state is saved", f"--resume {run}")
    assert manifest(run)["status"] == "interrupted"


def test_a_training_whose_terminal_is_closed_says_so_in_its_manifest(tmp_path: Path, disc_dataset: Path):
    run = tmp_path / "run"
    arguments = ("train-uda", disc_dataset, "--run", run, *TINY, "--steps", 100_000)
    child, terminal = pty.fork()
    if child == 0:
        heed_signals()
        os.execv(command()[0], command(*arguments))
    while not (run / "resume.pt").exists():
        os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert manifest(run)["status"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_study_that_is_asked_to_stop_says_so(tmp_path: Path, disc_dataset: Path, number: signal.Signals):
    plan, out = tmp_path / "plan.yaml", tmp_path / "study"
    settings = {"width": 4, "crop": 32, "batch_size": 2}
    content = {"data": {"discs": str(disc_dataset)}, "labels": [2], "losses": ["kl"], "draws": 1, "steps": 100_000}
    plan.write_text(yaml.safe_dump({**content, "uda": settings, "baselines": ["otsu"]}))
    study = started("study", plan, "--out", out)
    until(lambda: any(out.glob("runs/*/resume.pt")), study)
    code, _, said = ended(study, number)
    assert code == 130 and says(said, "Stopped; what was trained is kept")
    record = manifest(out)
    assert record["status"] == "interrupted"
    assert "interrupted" in {run["status"] for run in record["runs"]}
    assert not list(out.rglob("*.owner"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_prediction_that_is_asked_to_stop_says_what_is_done(tmp_path: Path, number: signal.Signals):
    (tmp_path / "images").mkdir()
    for place in range(60):
        write_image(tmp_path / f"images/t{place}.tif", discs(place, size=256)[0][0])
    out = tmp_path / "out"
    model = save_random_model(tmp_path / "model.safetensors")
    predicting = started("predict", model, tmp_path / "images", "--out", out, "--tile", 64, "--tta")
    until(lambda: len(list(out.glob("t*.tif"))) > 2, predicting)
    code, _, said = ended(predicting, number)
    assert code == 130 and says(said, "Stopped")
    record = record_of(out)
    assert record["status"] == "interrupted"
    assert {f"{entry['name']}.tif" for entry in record["files"]} == {path.name for path in out.iterdir()} - {
        "predictions.yaml"
    }


def test_a_training_goes_on_when_nobody_reads_what_it_says(tmp_path: Path, disc_dataset: Path):
    arguments = " ".join(map(str, ("train-uda", disc_dataset, "--run", tmp_path / "run", *TINY, "--steps", 40)))
    done = shell(f"$BIOSEG {arguments} 2>&1 >/dev/null | head -1")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert manifest(tmp_path / "run")["status"] == "finished"
    done = shell(f"$BIOSEG {arguments} --overwrite --quiet | true")
    assert done.returncode == 0 and says(done.stderr)
    assert manifest(tmp_path / "run")["status"] == "finished"


@pytest.mark.parametrize("given", ["--help", "--version", "train-uda --help", "prepare --help"])
def test_a_reader_that_has_gone_is_no_failure(given: str):
    for reader in ("head -1", "true"):
        done = shell(f"$BIOSEG {given} | {reader}")
        assert done.returncode == 0 and done.stderr == ""


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "given", ["--help", "--version", "train-uda --help", "prepare --help", "doctor", "doctor --json"]
)
def test_a_full_standard_output_is_named(given: str, tmp_path: Path):
    done = shell(f"$BIOSEG {given} >/dev/full", cwd=tmp_path)
    assert done.returncode == 3
    assert says(done.stderr, "Error: Standard output cannot be written (No space left on device)")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_a_full_standard_error_ends_nothing(tmp_path: Path):
    given = f"prepare demo --out {tmp_path / 'demo.h5'}"
    assert shell(f"$BIOSEG {given} 2>/dev/full").returncode == 0
    assert shell(f"$BIOSEG {given} 2>/dev/full").returncode == 2  # it exists already


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_takes_no_place_in_a_file(tmp_path: Path, closed: str):
    given = f"prepare demo --out {tmp_path / 'demo.h5'}"
    assert shell(f"$BIOSEG {given} {closed}").returncode == 0
    assert shell(f"$BIOSEG preview {tmp_path / 'demo.h5'} --out {tmp_path / 'p.png'}").returncode == 0


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path):
    done = shell(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; $BIOSEG prepare demo")
    assert done.returncode == 3 and says(done.stderr, "Error: The working folder is gone", "cd")
    done = shell(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; $BIOSEG doctor; $BIOSEG --version")
    assert done.returncode == 0 and says(done.stderr, "Error: The working folder is gone")


@pytest.mark.parametrize("given", ["prepare demo", "predict x y", "train-uda x.h5"])
def test_too_little_memory_to_begin_is_said_with_the_remedy(tmp_path: Path, given: str):
    done = shell(f"ulimit -v 900000; $BIOSEG {given}", cwd=tmp_path)
    assert done.returncode == 4
    assert says(done.stderr, "Memory ran out before it began", "0.86 GiB", "ulimit -v")
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_later_is_said_with_what_to_give(tmp_path: Path, disc_dataset: Path):
    arguments = ("train-uda", disc_dataset, "--run", tmp_path / "run", "--width", 256, "--batch-size", 2, "--steps", 4)
    limit = 3 * 2**30
    training = started(*arguments, first=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    code, _, said = ended(training)
    assert code == 4 and says(said, "Memory ran out", "--batch-size", "--width")
    assert manifest(tmp_path / "run")["status"] == "failed"


def test_a_name_outside_the_characters_of_the_locale(tmp_path: Path, disc_dataset: Path):
    of_locale = ("LC_", "LANG", "PYTHON")
    without = {
        name: value for name, value in os.environ.items() if name == "PYTHONPATH" or not name.startswith(of_locale)
    }
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    data = shutil.copy(disc_dataset, tmp_path / "données.h5")
    run = tmp_path / "émé"
    given = [("train-uda", data, "--run", run, *TINY, "--steps", 4), ("evaluate", run, "--json")]
    given.append(("predict", run, data, "--split", "val", "--out", tmp_path / "prédit", "--overlay"))
    for arguments in given:
        code, _, said = ended(started(*arguments, env={**without, **locale}))
        assert code == 0 and says(said), said
    assert manifest(run)["status"] == "finished"
    assert record_of(tmp_path / "prédit")["status"] == "finished"


def _obeys_permissions() -> None:
    """Take from root what lets it ignore permissions; everybody else has to heed them anyway."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def forbidden(*arguments: object) -> tuple[int, str]:
    """The exit code of a command that heeds permissions, and what it says."""
    code, _, said = ended(started(*arguments, first=_obeys_permissions))
    return code, said


def test_folders_that_may_not_be_entered_are_named(tmp_path: Path, disc_run: Path):
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.copytree(disc_run, closed / "run")
    (closed / "images").mkdir()
    closed.chmod(0)
    try:
        for arguments in (
            ("evaluate", closed / "run"),
            ("predict", closed / "run", closed / "images", "--out", tmp_path / "out"),
            ("prepare", "folder", "--images", closed / "images", "--out", tmp_path / "x.h5"),
            ("train-uda", closed / "x.h5"),
            ("train-uda", "--resume", closed / "run"),
            ("study", closed / "plan.yaml"),
        ):
            code, said = forbidden(*arguments)
            assert code in (2, 3) and says(said, "closed"), said
            assert "ermission" in said or "may not" in said, said
    finally:
        closed.chmod(0o755)


def test_a_run_that_may_not_be_written_is_left_alone(tmp_path: Path, disc_run: Path, disc_dataset: Path):
    run = tmp_path / "run"
    shutil.copytree(disc_run, run)
    data = shutil.copy(disc_dataset, tmp_path / "discs.h5")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for path in (run, run / "checkpoints"):
        path.chmod(0o555)
    try:
        for arguments in (
            ("train-uda", "--resume", run, "--steps", 100),
            ("train-uda", data, "--run", run, *TINY, "--steps", 2, "--overwrite"),
        ):
            code, said = forbidden(*arguments)
            assert code == 3 and says(said, "cannot be written", "Choose another folder"), said
        code, said = forbidden("evaluate", run, "--data", data)
        assert code == 0, said
    finally:
        for path in (run, run / "checkpoints"):
            path.chmod(0o755)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
