"""From a plan to a finished study: what is missing is done, and every end is recorded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bioseg_cli.compute.jobs import run_jobs, threads_each
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import Interrupted, PartialFailure
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth
from bioseg_cli.io.ownership import Ownership, discard_owners, owned_folder
from bioseg_cli.runs.manifest import environment, now, write_manifest
from bioseg_cli.runs.output import Output
from bioseg_cli.study.collect import results_of_study
from bioseg_cli.study.folder import ENDED, StudyFolder, status_of
from bioseg_cli.study.forest import FOREST, forest_file
from bioseg_cli.study.grid import PlannedRun, expand, read_plan
from bioseg_cli.study.job import BaselinesJob, ForestJob, Job, RunJob, do_job, lost_job
from bioseg_cli.study.result import StudyResult
from bioseg_cli.study.results import StudyResults, is_scored, read_scores
from bioseg_cli.study.settings import Plan, StudyConfig

STUDIES_FOLDER = Path("studies")


def run(config: StudyConfig, output: Output, *, overwrite: bool) -> StudyResult:
    """Train and score what is missing of a study; returns what it amounts to.

    Raises:
        UsageError: the plan asks for what does not exist, or the folder holds something else.
        DataError: a data set is missing, or has nothing to score on.
        PartialFailure: some runs failed; the others are done, which is in `done`.
        Interrupted: by the user; what was done is kept.
    """
    plan = read_plan(config.plan)
    folder = StudyFolder.at(config.out or STUDIES_FOLDER / config.plan.stem)
    runs = expand(plan, config.plan)
    study = _Study(config, plan, folder, runs)
    if config.dry_run:
        return study.result(None)
    with owned_folder(folder.path, say=output.say) as ownership:
        discard_owners(folder.path)
        study.carry_out(output, ownership, overwrite=overwrite)
    result = study.result(results_of_study(folder))
    if study.problems:
        raise PartialFailure(
            f"{len(study.problems)} of {len(study.trainings)} runs failed; the others are done",
            where=folder.path,
            fix="The reasons are above and in logs/; the same command tries them again.",
            done=result,
        )
    return result


class _Study:
    """A study being carried out.

    Attributes:
        trainings: the runs, each once: settings that share a control have it in common.
        problems: what went wrong, by the name of the run.
    """

    def __init__(self, config: StudyConfig, plan: Plan, folder: StudyFolder, runs: Sequence[PlannedRun]) -> None:
        self.config = config
        self.plan = plan
        self.folder = folder
        self.runs = runs
        self.trainings = tuple({run.name: run for run in runs}.values())
        self.problems: dict[str, str] = {}
        self._started = now()

    def status(self, run: PlannedRun) -> tuple[str, str | None]:
        """How far a run is, and what went wrong."""
        status, failure = status_of(self.folder.run(run.name), run.hash)
        problem = self.problems.get(run.name, failure)
        # Trained, and could not be scored.
        return ("failed" if status in ENDED and problem is not None else status), problem

    def result(self, results: StudyResults | None) -> StudyResult:
        """How far it is, with what was found."""
        runs = tuple((run, *self.status(run)) for run in self.trainings)
        return StudyResult(self.folder.path, runs, self.record()["runs"], results, dict(self.problems))

    def _forget_runs(self) -> None:
        for run in self.trainings:
            path = self.folder.run(run.name)
            if path.exists():
                with owned_folder(path):
                    shutil.rmtree(path, ignore_errors=True)

    def carry_out(self, output: Output, ownership: Ownership, *, overwrite: bool) -> None:
        """Do what is missing, or with `overwrite` all of the plan."""
        jobs: list[Job] = [*self._baselines(), *self._forests(), *map(self._job, self.trainings)]
        if overwrite:
            # Not before it is known that all can be scored: what is refused loses nothing.
            self._forget_runs()
        missing = [job for job in jobs if overwrite or not is_scored(job.scores, job.request, job.hash)]
        for job in missing:
            # Scores of other data, or of an earlier attempt, would stand in the tables where this one fails.
            job.scores.unlink(missing_ok=True)
        self._save("running")
        done = len(jobs) - len(missing)
        if done:
            output.say(f"{done} of {len(jobs)} are done already")
        try:
            with output.progress(f"Study {self.folder.path.name}", len(jobs), done) as progress:
                for job, problem in run_jobs(
                    do_job, missing, at_once=self.config.jobs, scheduler=self.config.scheduler, lost=lost_job
                ):
                    if problem is None:
                        output.say(f"{job.name}: {self._outcome(job)}")
                    else:
                        self.problems[job.name] = problem
                        output.warn(f"{job.name} failed: {problem}")
                    progress.advance()
                    ownership.check()
                    self._save("running")
        except KeyboardInterrupt:
            self._save("interrupted")
            raise Interrupted(
                "Stopped; what was trained is kept", where=self.folder.path, fix="The same command goes on."
            ) from None
        self._save("failed" if self.problems else "finished")

    def _outcome(self, job: Job) -> str:
        rows = read_scores(job.scores, job.request, job.hash) or ()
        return "mean IoU " + ", ".join(f"{row.mean_iou:.4f} ({row.output})" for row in rows)

    def _job(self, run: PlannedRun) -> RunJob:
        # Absolute: a worker may be at home in another folder.
        path = StudyFolder(self.folder.path.resolve())
        return RunJob(
            name=run.name,
            run=path.run(run.name),
            scores=path.scores(run.name),
            log=path.log(run.name),
            threads=self._threads,
            trains=run.command,
            settings=dict(run.config),
            hash=run.hash,
            split=self.plan.split,
            states=self.plan.states,
        )

    def _baselines(self) -> list[BaselinesJob]:
        """One a data set. Before anything is trained this finds out whether all can be scored."""
        path = StudyFolder(self.folder.path.resolve())
        jobs = []
        for data, files in self._files().items():
            identities = {}
            for file in map(Path, files.values()):
                with Dataset(file) as dataset:
                    DatasetGroundTruth(dataset, self.plan.split)
                    identities[file] = dataset.content_hash
            file, identity = next(iter(identities.items()))
            name = f"{data}.baselines"
            jobs.append(
                BaselinesJob(
                    name=name,
                    scores=path.scores(name),
                    log=path.log(name),
                    threads=self._threads,
                    data=file,
                    hash=identity,
                    split=self.plan.split,
                    baselines=self.plan.label_free_baselines,
                )
            )
        return jobs

    def _forests(self) -> list[ForestJob]:
        """One a data set, label budget and label draw: the runs of all losses and seeds share it."""
        if FOREST not in self.plan.baselines:
            return []
        path = StudyFolder(self.folder.path.resolve())
        jobs: dict[str, ForestJob] = {}
        identities: dict[Path, str] = {}
        for run in self.runs:
            if run.budget is None:
                continue
            data = Path(run.config["data"])
            if data not in identities:
                with Dataset(data) as dataset:
                    identities[data] = dataset.content_hash
            name = forest_file(run.data, run.budget.count, run.draw)
            jobs[name] = ForestJob(
                name=name,
                scores=path.scores(name),
                log=path.log(name),
                threads=self._threads,
                data=data,
                hash=identities[data],
                split=self.plan.split,
                labels=run.budget.count,
                draw=run.draw,
            )
        return list(jobs.values())

    @property
    def _threads(self) -> int | None:
        if self.plan.threads is not None or self.config.scheduler is not None:
            return self.plan.threads
        return threads_each(self.config.jobs)

    def _files(self) -> dict[str, dict[str, str]]:
        """The data sets by name and method, whole paths."""
        found: dict[str, dict[str, str]] = {
            data: {
                key: str(file.resolve())
                for key in self.plan.file_keys
                if (file := self.plan.file_of(data, key)) is not None
            }
            for data in self.plan.data
        }
        return {data: files for data, files in found.items() if files}

    def record(self) -> dict[str, Any]:
        """The manifest of the study but for how it stands."""
        return {
            "command": Plan.command,
            "config": self.plan.model_dump(mode="json"),
            "title": self.config.plan.stem,
            "data": self._files(),
            "runs": [self._entry(run) for run in self.runs],
        }

    def _entry(self, run: PlannedRun) -> dict[str, Any]:
        status, failure = self.status(run)
        entry: dict[str, Any] = {
            "name": run.name,
            "data": run.data,
            "loss": run.loss,
            "budget": None if run.budget is None else vars(run.budget),
            "draw": run.draw,
            "seed": run.seed,
            "hash": run.hash,
            "status": status,
        }
        entry |= {"variant": run.variant} if run.variant else {}
        return entry if failure is None else {**entry, "failure": failure}

    def _save(self, status: str) -> None:
        times: Mapping[str, str] = {"started": self._started, "written": now()}
        write_manifest(
            self.folder.manifest,
            {**self.record(), "status": status, "times": times, "environment": environment()},
        )
