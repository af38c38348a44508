"""Scores of runs and masks, and whole studies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioseg_cli.api.settings import ArgumentNames, settings_of
from bioseg_cli.errors import PartialFailure
from bioseg_cli.evaluation import session as evaluation
from bioseg_cli.evaluation.result import EvaluationResult
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.runs.logged import LoggedOutput
from bioseg_cli.study import session as studies
from bioseg_cli.study.result import StudyResult
from bioseg_cli.study.settings import StudyConfig

AnyPath = str | os.PathLike[str]


def evaluate(runs: AnyPath | Sequence[AnyPath] = (), *, overwrite: bool = False, **settings: Any) -> EvaluationResult:
    """Score runs on a data set, or masks of any tool against the truth (`bioseg evaluate`).

    Args:
        runs: run directories; none with `predictions=` and `truth=`.
        overwrite: replace an earlier report at `out=`.
        settings: those of `bioseg evaluate`, such as `split="test"`, `state="all"`, `baselines=("otsu",)`.

    Raises:
        UsageError: settings that do not fit each other.
        DataError: a run or its data set is missing or damaged.
        PartialFailure: some of several runs cannot be scored; `done` is the result of the others, with the reasons.
    """
    output = LoggedOutput()
    arguments = ArgumentNames(EvaluateConfig)
    given = (runs,) if isinstance(runs, str | os.PathLike) else runs
    with arguments:
        config = settings_of(EvaluateConfig, {"runs": tuple(map(Path, given)), **settings})
        try:
            result = evaluation.run(config, output, overwrite=overwrite)
        except PartialFailure as error:
            error.done = _warned(error.done, output, arguments)
            error.fix = "`done.failures` says why."
            raise
    return _warned(result, output, arguments)


def _warned(result: EvaluationResult, output: LoggedOutput, arguments: ArgumentNames) -> EvaluationResult:
    return replace(result, warnings=tuple(map(arguments, output.warnings)))


def run_study(plan: AnyPath, *, overwrite: bool = False, **settings: Any) -> StudyResult:
    """Carry out a plan: train and score what is missing of a study (`bioseg study`).

    Args:
        plan: YAML file; docs/study.md lists its keys.
        overwrite: do all of it again.
        settings: those of `bioseg study`: `out`, `jobs`, `scheduler`, `dry_run`.

    Raises:
        UsageError: the plan asks for what does not exist, or the folder holds something else.
        DataError: a data set is missing, or has nothing to score on.
        PartialFailure: some runs failed; `done` is the result of the others, with the reasons.
    """
    with ArgumentNames(StudyConfig):
        config = settings_of(StudyConfig, {"plan": plan, **settings})
        return studies.run(config, LoggedOutput(), overwrite=overwrite)
