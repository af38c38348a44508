"""One job of a study: a run to train and score, or the baselines of a data set; done in a process of its own.

A job that crashes, or that the system kills for its memory, is then one failed job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bioseg_cli.config import Config, SplitName, StateName

WORKER = "bioseg_cli.study.worker"
"""The module that does a job; not imported here, as it needs torch."""


class RunJob(Config):
    """Train a run to its end, from wherever it is, and score it.

    Attributes:
        name: of the run.
        run: its directory.
        scores: file for its scores.
        log: file that what it says is added to.
        threads: for the process; None = as its environment says.
        trains: command of bioseg.
        settings: all of them.
        hash: of settings and data.
        split, states: what to score.
    """

    kind: Literal["run"] = "run"
    name: str
    run: Path
    scores: Path
    log: Path
    threads: int | None
    trains: str
    settings: dict[str, Any]
    hash: str
    split: SplitName
    states: tuple[StateName, ...]

    @property
    def request(self) -> dict[str, Any]:
        """What its scores depend on beside the run."""
        return {"split": self.split, "states": list(self.states)}


class BaselinesJob(Config):
    """Score baselines on a data set; attributes as those of `RunJob`, the hash is of the data alone."""

    kind: Literal["baselines"] = "baselines"
    name: str
    scores: Path
    log: Path
    threads: int | None
    data: Path
    hash: str
    split: SplitName
    baselines: tuple[str, ...]

    @property
    def request(self) -> dict[str, Any]:
        """What its scores depend on beside the data set."""
        return {"split": self.split, "baselines": list(self.baselines)}


Job = Annotated[RunJob | BaselinesJob, Field(discriminator="kind")]


def do_job(job: Job) -> str | None:
    """Do a job in a new process; returns what went wrong, or None."""
    environment = dict(os.environ)
    if job.threads is not None:
        environment["OMP_NUM_THREADS"] = str(job.threads)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with (
        job.log.open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            # Ctrl-C reaches the process that started it, which ends its input.
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(job.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.read()
        except BrokenPipeError:
            answer = b""
        except KeyboardInterrupt:
            process.stdin.close()
            process.wait()  # while it saves its state
            raise
    try:
        problem = json.loads(answer)["problem"]
        return None if problem is None else str(problem)
    except (ValueError, KeyError):
        return f"The process ended without an answer (exit code {process.returncode}); its log is {job.log}"


def lost_job(job: Job) -> str:
    """What is said of a job that several workers died over."""
    return f"Several workers died over it; its log is {job.log}"
