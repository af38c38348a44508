"""`bioseg predict` in several processes: the masks and the record of one process, whatever happens to the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from conftest import discs
from helpers.jobs import in_turn
from helpers.models import record_of, save_random_model, write_image
from helpers.volumes import write_nifti

from bioseg_cli.compute.jobs import threads_each
from bioseg_cli.prediction.part import PartEnd

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
PROCESSES = 2
WORKER = "bioseg_cli.prediction.worker"
TILES = {"tile": 1024, "overlap": 64, "largest_batch": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and in `images` five images, the third of them unreadable, and a volume."""
    path = tmp_path_factory.mktemp("spread")
    save_random_model(path / "model.safetensors")
    (path / "images").mkdir()
    for number in range(1, 6):
        write_image(path / "images" / f"t{number}.tif", discs(number)[0][0])
    (path / "images" / "t3.tif").write_text("not an image")
    write_nifti(path / "images" / "brain.nii.gz", discs(6)[0][:, :16, :16].repeat(4, axis=0))
    return path


def begun(folder: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    """The command, started; with as many threads as each process has when it is spread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads_each(PROCESSES)))
    command = ["predict", "model.safetensors", "images", "--out", out, "--overlay", "--json", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "bioseg_cli", *map(str, command)],
        cwd=folder,
        env={**os.environ, **threads},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends Ctrl-C to a whole group of processes.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    output, said = process.communicate(timeout=120)
    return process.returncode, output, said


def outputs(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "predictions.yaml")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says but for times, the output folder and the processes."""
    tiles = {name: value for name, value in record["tiles"].items() if name != "largest_batch"}
    config = {name: value for name, value in record["config"].items() if name not in ("out", "jobs", "scheduler")}
    others = {name: value for name, value in record.items() if name not in ("started", "finished", "out")}
    return {**others, "tiles": tiles, "config": config}


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[Path, str]:
    """Output folder of one process, and its error."""
    out = folder / "alone"
    code, _, said = ended(begun(folder, out))
    assert code == 1, said
    assert len(outputs(out)) == 15
    return out, said.partition("Error: ")[2]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Address of a scheduler, and the parent of its two workers."""
    dask, address = [sys.executable, "-m", "dask"], tmp_path / "scheduler.json"
    shared: dict[str, Any] = {"cwd": tmp_path, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
             "--scheduler-file", address], **shared,
        ) as scheduling,
        subprocess.Popen(
            [*dask, "worker", "--scheduler-file", address, "--nworkers", str(PROCESSES), "--nthreads", "1",
             "--local-directory", tmp_path], **shared,
        ) as workers,
    ):  # fmt: skip
        while not address.exists():
            time.sleep(0.1)
        yield json.loads(address.read_text())["address"], psutil.Process(workers.pid)
        for process in (*psutil.Process(workers.pid).children(recursive=True), workers, scheduling):
            process.kill()


def begun_parts(parent: psutil.Process) -> list[psutil.Process]:
    """The processes below `parent` that predict parts, as soon as there are as many as workers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = []
        for process in parent.children(recursive=True):
            try:
                found += [process] if WORKER in process.cmdline() else []
            except psutil.Error:
                continue  # it has just ended
        if len(found) == PROCESSES:
            return found
        time.sleep(0.05)
    raise AssertionError("no part was begun")


def test_several_processes_write_what_one_does(folder: Path, alone: tuple[Path, str]) -> None:
    out = folder / "several"
    code, output, said = ended(begun(folder, out, "--jobs", PROCESSES))
    assert code == 1, said
    assert outputs(out) == outputs(alone[0])
    assert comparable(record_of(out)) == comparable(record_of(alone[0]))
    assert comparable(json.loads(output)) == comparable(record_of(alone[0]))
    assert said.count("Warning: Left out: ") == 1 and "in images/t3.tif" in said
    assert said.partition("Error: ")[2] == alone[1].replace("alone", "several")


def test_a_worker_killed_midway_changes_nothing(
    folder: Path, alone: tuple[Path, str], scheduler: tuple[str, psutil.Process]
) -> None:
    address, parent = scheduler
    process = begun(folder, folder / "killed", "--scheduler", address)
    part = begun_parts(parent)[0]
    part.parent().kill()
    psutil.wait_procs([part], timeout=20)
    assert not part.is_running()
    code, _, said = ended(process)
    assert code == 1, said
    assert outputs(folder / "killed") == outputs(alone[0])
    assert comparable(record_of(folder / "killed")) == comparable(record_of(alone[0]))


def test_ctrl_c_ends_all_of_them(folder: Path) -> None:
    process = begun(folder, folder / "stopped", "--jobs", PROCESSES)
    parts = begun_parts(psutil.Process(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    code, output, said = ended(process)
    assert (code, output) == (130, "")
    assert said.endswith("Error: Stopped\nNothing half-written was left.\n") and "Traceback" not in said
    assert not any(part.is_running() for part in psutil.wait_procs(parts, timeout=20)[1])
    assert outputs(folder / "stopped") == {}


CRASH_ONCE = """
import os, pathlib, sys
try:
    pathlib.Path(__file__).with_name("crashed").touch(exist_ok=False)
except FileExistsError:
    pass
else:
    print("that is all", file=sys.stderr, flush=True)
    os._exit(7)
"""


def test_a_part_that_crashes_is_left_out(
    bioseg: Bioseg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASH_ONCE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("bioseg_cli.prediction.distributed.run_jobs", in_turn)
    images, out = [folder / "images" / f"t{number}.tif" for number in (1, 2)], tmp_path / "out"
    result = bioseg("predict", folder / "model.safetensors", *images, "--out", out, "--jobs", PROCESSES)
    assert result.exit_code == 1
    reason = "The process ended without an answer (exit code 7); the last that it said is: that is all"
    assert f"Left out {images[0]}: {reason}" in result.stderr and "1 of 2 images failed" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["predictions.yaml", "t2.tif"]
    assert record_of(out)["failures"] == [{"input": str(images[0]), "name": "t1", "error": reason}]


def test_workers_that_differ_are_recorded_and_warned_of(
    bioseg: Bioseg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretended(_: object, jobs: list[Any], **__: object) -> Iterator[Any]:
        for job in reversed(jobs):  # the last is the first to end
            (path,), out = job.config.inputs, job.config.out / str(job.number)
            out.mkdir()
            (out / path.name).write_text("a mask")
            entry = {"input": str(path), "name": path.stem, "outputs": [path.name], "pixel_size": None}
            tiles = {"tile": 1024 >> job.number, "overlap": 64, "largest_batch": 4 - job.number}
            circumstances = {"device": "cpu", "precision": ("bf16", "fp32")[job.number], "environment": {}}
            outcome = {"files": [entry], "failures": [], "tiles": tiles, **circumstances}
            yield job, PartEnd(outcome=outcome, out=out)

    monkeypatch.setattr("bioseg_cli.prediction.distributed.run_jobs", pretended)
    images, out = [folder / "images" / f"t{number}.tif" for number in (1, 2)], tmp_path / "out"
    result = bioseg("predict", folder / "model.safetensors", *images, "--out", out, "--jobs", PROCESSES)
    assert result.exit_code == 0, result.output
    assert "Warning: The workers differ in device or precision" in result.stderr
    record = record_of(out)
    assert (record["device"], record["precision"]) == ("cpu", ["bf16", "fp32"])
    assert record["tiles"] == {"tile": 512, "overlap": 64, "largest_batch": 4}
    assert [entry["name"] for entry in record["files"]] == ["t1", "t2"]


def test_a_file_that_is_given_in_two_folders_has_both_masks(
    bioseg: Bioseg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretended(_: object, jobs: list[Any], **__: object) -> Iterator[Any]:
        for job in jobs:
            out = job.config.out / str(job.number)
            entries = []
            for name, path in zip(job.names, job.config.inputs, strict=True):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / f"{name}.tif").write_text("a mask")
                entries.append({"input": str(path), "name": name, "outputs": [f"{name}.tif"], "pixel_size": None})
            yield job, PartEnd(outcome={"files": entries, "failures": [], "tiles": TILES}, out=out)

    monkeypatch.setattr("bioseg_cli.prediction.distributed.run_jobs", pretended)
    inner, out = tmp_path / "plates" / "a", tmp_path / "out"
    inner.mkdir(parents=True)
    write_image(inner / "t1.tif", discs(1)[0][0])
    given = ("predict", folder / "model.safetensors", inner.parent, inner, "--recursive")
    result = bioseg(*given, "--out", out, "--jobs", PROCESSES)
    assert result.exit_code == 0, result.output
    assert [entry["name"] for entry in record_of(out)["files"]] == ["a/t1", "t1"]
    assert (out / "a" / "t1.tif").is_file() and (out / "t1.tif").is_file()


def test_a_single_file_and_a_data_set_are_left_to_one_process(
    bioseg: Bioseg, folder: Path, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name, given in (("file", folder / "images" / "t1.tif"), ("set", disc_dataset)):
        result = bioseg("predict", folder / "model.safetensors", given, "--out", tmp_path / name, "--jobs", PROCESSES)
        assert result.exit_code == 0, result.output
        assert "not spread" in result.stderr


def test_what_cannot_be_spread_is_refused_before_anything_is_written(
    bioseg: Bioseg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("predict", folder / "model.safetensors", folder / "images", "--out", tmp_path / "out")
    result = bioseg(*command, "--jobs", 2, "--scheduler", "tcp://localhost:1")
    assert result.exit_code == 2 and "--jobs or --scheduler, not both" in result.stderr
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "distributed", None)
    for options in (("--jobs", 2), ("--scheduler", "tcp://localhost:1")):
        result = bioseg(*command, *options)
        assert result.exit_code == 2
        assert (
            "Several jobs at a time need the package" in result.stderr
            and "pip install 'bioseg[cluster]'" in result.stderr
        )
        assert not (tmp_path / "out").exists()
