"""One job of a study: a run to train and score, or baselines of a data set; done in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bioseg_cli.compute.process import NoAnswer, ask
from bioseg_cli.config import Config, SplitName, StateName
from bioseg_cli.study.results import baselines_request, forest_request, run_request

WORKER = "bioseg_cli.study.worker"
"""The module that does a job; not imported here, as it needs torch."""


class StudyJob(Config):
    """What every job is told.

    Attributes:
        name: of the run, or of the file of scores.
        scores: file for its scores.
        log: file that what it says is added to.
        threads: for the process; None = as its environment says.
        hash: of settings and data, or where nothing is trained, of the data alone.
        split: what to score.
    """

    name: str
    scores: Path
    log: Path
    threads: int | None
    hash: str
    split: SplitName


class RunJob(StudyJob):
    """Train a run to its end, from wherever it is, and score it.

    Attributes:
        run: its directory.
        trains: command of bioseg.
        settings: all of them.
        states: what to score.
    """

    kind: Literal["run"] = "run"
    run: Path
    trains: str
    settings: dict[str, Any]
    states: tuple[StateName, ...]

    @property
    def request(self) -> dict[str, Any]:
        """What its scores depend on beside the run."""
        return run_request(self.split, self.states)


class BaselinesJob(StudyJob):
    """Score baselines on a data set."""

    kind: Literal["baselines"] = "baselines"
    data: Path
    baselines: tuple[str, ...]

    @property
    def request(self) -> dict[str, Any]:
        """What its scores depend on beside the data set."""
        return baselines_request(self.split, self.baselines)


class ForestJob(StudyJob):
    """Grow a forest on the labelled images of a budget and score it.

    Attributes:
        data: the data set.
        labels: number of labelled images.
        draw: which choice of them.
    """

    kind: Literal["forest"] = "forest"
    data: Path
    labels: int
    draw: int

    @property
    def request(self) -> dict[str, Any]:
        """What its scores depend on beside the data set."""
        return forest_request(self.split, self.labels, self.draw)


Job = Annotated[RunJob | BaselinesJob | ForestJob, Field(discriminator="kind")]


def do_job(job: Job) -> str | None:
    """Do a job in a new process; returns what went wrong, or None."""
    try:
        problem = ask(WORKER, job.to_line(), job.log, threads=job.threads)["problem"]
    except NoAnswer as error:
        return f"{error}; its log is {job.log}"
    except OSError as error:
        return f"It could not begin ({error.strerror or error}); its log would be {job.log}"
    return None if problem is None else str(problem)


def lost_job(job: Job) -> str:
    """What is said of a job that several workers died over."""
    return f"Several workers died over it; its log is {job.log}"
