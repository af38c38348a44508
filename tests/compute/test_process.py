"""Jobs in processes of their own: what they are given, what they answer, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bioseg_cli.compute.process import THREAD_VARIABLES, NoAnswer, ask

WORKER = """
import json, os, sys, time
from bioseg_cli.errors import DataError
from bioseg_cli.compute.process import answer

def perform(job):
    job = json.loads(job)
    print("at work", file=sys.stderr, flush=True)
    if job == "environment":
        return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if job == "bad data":
        raise DataError("It is damaged", where="a.tif", fix="Export it again.")
    if job == "crash":
        os._exit(9)
    time.sleep(60)

answer(perform)
"""

STARTER = """
import sys
from pathlib import Path
from bioseg_cli.compute.process import ask

ask("worker_of_a_test", '"wait"', Path(sys.argv[1]), threads=None)
"""


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker_of_a_test.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")  # as Dask does


def answered(job: str, folder: Path, threads: int | None = None) -> dict[str, object]:
    return ask("worker_of_a_test", json.dumps(job), folder / "logs" / "a.log", threads=threads)


def test_threads_that_are_given_win_over_the_environment(tmp_path: Path) -> None:
    for threads, expected in ((None, "1"), (3, "3")):
        assert answered("environment", tmp_path, threads) == dict.fromkeys(THREAD_VARIABLES, expected)
    assert (tmp_path / "logs" / "a.log").read_text() == 2 * "at work\n"


def test_a_problem_is_an_answer_and_a_crash_is_none(tmp_path: Path) -> None:
    assert answered("bad data", tmp_path) == {"problem": "It is damaged. in a.tif. Export it again."}
    with pytest.raises(NoAnswer, match="exit code 9"):
        answered("crash", tmp_path)


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with subprocess.Popen([sys.executable, "-c", STARTER, log]) as process:
        while not log.is_file() or not log.read_text():
            time.sleep(0.05)
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    assert psutil.wait_procs([child], timeout=20)[1] == []
