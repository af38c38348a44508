"""The process that does one job of a study: `python -m bioseg_cli.study.worker`; see `compute.process`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from bioseg_cli.compute.process import answer
from bioseg_cli.compute.signals import stop_signals
from bioseg_cli.config import StateName, build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, count_images
from bioseg_cli.evaluation.runs import evaluate_runs
from bioseg_cli.evaluation.scores import Resampling
from bioseg_cli.evaluation.session import NoFigures
from bioseg_cli.evaluation.settings import NO_BASELINES, EvaluateConfig
from bioseg_cli.io.files import write_text
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.runs.output import Output
from bioseg_cli.study.folder import run_manifest
from bioseg_cli.study.forest import score_forest
from bioseg_cli.study.job import BaselinesJob, ForestJob, Job, RunJob
from bioseg_cli.study.results import ScoreRow, is_scored, write_scores
from bioseg_cli.training import session
from bioseg_cli.training.registry import METHODS
from bioseg_cli.training.watch import Watch

WAIT_SECONDS = 120
"""A job waits this long for remains of an earlier attempt, which save their state and go."""


def perform(job: Job, output: Output) -> None:
    """Do a job, or what an earlier attempt left of it.

    Raises:
        BiosegError: it failed.
    """
    with owned_file(job.scores, wait=WAIT_SECONDS, say=output.say):
        if is_scored(job.scores, job.request, job.hash):
            return
        if isinstance(job, RunJob):
            train_run(job, output)
            rows = score_run(job, output)
        elif isinstance(job, ForestJob):
            with Dataset(job.data) as dataset:
                labelled = dataset.label_subset(count=job.labels, draw=job.draw)
                rows = [score_forest(dataset, labelled, job.split, output)]
        else:
            rows = score_data(job, output)
        write_text(job.scores, write_scores(rows, job.request, job.hash))


def train_run(job: RunJob, output: Output) -> None:
    """Train to the end, from wherever the run is."""
    manifest = run_manifest(job.run, job.hash)
    if manifest is not None and manifest.status.ended:
        return
    # Restarts are runs of their own, which know how far they are.
    begun = (job.run / "resume.pt").is_file() or (manifest is not None and job.settings.get("restarts", 1) > 1)
    values = {**job.settings, "run": job.run, **({"resume": job.run} if begun else {})}
    config = build_config(METHODS.of_command(job.trains), values)
    with stop_signals() as stop_requested:
        session.run(config, output, overwrite=True, watch=Watch(stop_requested))


def score_run(job: RunJob, output: Output) -> list[ScoreRow]:
    """The scores of each wanted state; of a training without labels, of the one that stands for it."""
    with_labels = METHODS.of_command(job.trains).learns_from_labels
    states: tuple[StateName | None, ...] = job.states if with_labels else (None,)
    data = Path(job.settings["data"])
    rows = []
    for state in states:
        config = EvaluateConfig(runs=(job.run,), data=data, split=job.split, state=state, baselines=NO_BASELINES)
        (report,) = evaluate_runs(config, output, NoFigures())
        rows += [ScoreRow.of(evaluation) for evaluation in report.evaluations]
    return rows


def score_data(job: BaselinesJob, output: Output) -> list[ScoreRow]:
    """The scores of the baselines that can be had on a data set; the log says why of the others."""
    with Dataset(job.data) as dataset:
        truth = DatasetGroundTruth(dataset, job.split)
        background = np.zeros(dataset.image_shape[1:], dtype=np.uint8)
        images = count_images(truth, lambda _: background, output, description="Reading masks")
        evaluations, notes = score_baselines(job.baselines, truth, dataset, images, Resampling(), output)
    for note in notes:
        output.say(note)
    return [ScoreRow.of(evaluation) for evaluation in evaluations]


def reply(line: bytes) -> dict[str, None]:
    """Do the job that a line of JSON holds; raises `BiosegError` where it fails."""
    perform(TypeAdapter(Job).validate_python(json.loads(line)), ConsoleOutput())
    return {"problem": None}


if __name__ == "__main__":
    answer(reply)
