"""From settings to scores: what was found, and files of it as CSV and as a folder with figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bioseg_cli.errors import DataError, PartialFailure
from bioseg_cli.evaluation.document import EvaluationFile
from bioseg_cli.evaluation.failures import RunFailures
from bioseg_cli.evaluation.ground_truth import GroundTruth, Predict, Segment
from bioseg_cli.evaluation.report import Evaluation, Figures, images_csv, table_csv
from bioseg_cli.evaluation.result import EvaluationResult
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.io.files import refuse_existing, write_text
from bioseg_cli.io.ownership import owned_file, owned_folder
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Environment

REPORT_NAME = "evaluation.json"
IMAGES_NAME = "per_image.csv"
DIFFERENCES_NAME = "worst_best.png"
CLUSTERS_NAME = "clusters.png"


def run(config: EvaluateConfig, output: Output, *, overwrite: bool) -> EvaluationResult:
    """Score what `config` names, and write what was asked for.

    Raises:
        UsageError: a file to write exists already.
        DataError: see `masks.evaluate_masks` and `runs.evaluate_runs`; or not one of several runs can be scored.
        PartialFailure: some of several runs cannot be scored; `done` holds the others, and what was asked for is
            written.
    """
    with ExitStack() as owned:
        if config.out is not None:
            owned.enter_context(owned_folder(config.out, say=output.say))
        if config.csv is not None:
            owned.enter_context(owned_file(config.csv, say=output.say))
        for path in (config.csv, config.out):
            if path is not None:
                refuse_existing(path, overwrite=overwrite)
        return _run(config, output)


def _run(config: EvaluateConfig, output: Output) -> EvaluationResult:
    several = len(config.runs) > 1 or config.state == "all"
    figures: Figures = NoFigures() if config.out is None else FiguresIn(config.out, several=several)
    failures = RunFailures(several=len(config.runs) > 1)
    if config.predictions is not None:
        from bioseg_cli.evaluation.masks import evaluate_masks

        reports = [evaluate_masks(config, output, figures)]
    elif config.cross_validate:
        from bioseg_cli.evaluation.cross_validation import cross_validated

        reports = cross_validated(config, output)
    else:
        from bioseg_cli.evaluation.runs import evaluate_runs

        reports = evaluate_runs(config, output, figures, failures)
        for error in failures.found.values():
            output.warn(f"Left out: {'. '.join(str(error).splitlines())}")
        if not reports:
            raise DataError(f"Not one of the {len(config.runs)} runs could be scored", fix="The reasons are above.")
    result = EvaluationResult(tuple(reports), dict(failures.found))
    if config.csv is not None:
        write_text(config.csv, table_csv(reports))
    if config.out is not None:
        from bioseg_cli.runs.manifest import environment, now

        write_text(config.out / IMAGES_NAME, images_csv(reports))
        record = EvaluationFile(
            command=config.command,
            config=config.model_dump(mode="json"),
            finished=now(),
            environment=Environment.model_validate(environment()),
            **result.document().given(),
        )
        text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False)
        write_text(config.out / REPORT_NAME, text + "\n")
    if failures.found:
        raise PartialFailure(
            f"{len(failures.found)} of {len(config.runs)} runs could not be scored, the others were",
            fix="The reasons are above.",
            done=result,
        )
    return result


class NoFigures:
    """No figure was asked for."""

    def differences(self, evaluation: Evaluation, truth: GroundTruth, predict: Predict) -> None:
        """Nothing."""

    def clusters(self, rows: Sequence[Evaluation], truth: GroundTruth, segment: Segment) -> None:
        """Nothing."""


class FiguresIn:
    """Figures in a folder.

    Args:
        folder: of the report; figures of an earlier one must not stay among those of this one.
        several: runs or states are scored: their names are in those of the figures.
    """

    def __init__(self, folder: Path, *, several: bool) -> None:
        self.folder = folder
        self.several = several
        self._taken: list[str] = []
        if (folder / REPORT_NAME).is_file():
            for name in (DIFFERENCES_NAME, CLUSTERS_NAME):
                for old in folder.glob(f"*{name}"):
                    old.unlink()

    def differences(self, evaluation: Evaluation, truth: GroundTruth, predict: Predict) -> None:
        """`worst_best.png`; of each head and mapping one of its own."""
        from bioseg_cli.evaluation.figures import write_worst_best

        parts = [] if evaluation.mapping is None else [str(evaluation.head), evaluation.mapping.kind]
        write_worst_best(self._path(evaluation, DIFFERENCES_NAME, parts), truth, predict, evaluation.images)

    def clusters(self, rows: Sequence[Evaluation], truth: GroundTruth, segment: Segment) -> None:
        """`clusters.png`."""
        from bioseg_cli.evaluation.cluster_figure import write_clusters

        write_clusters(self._path(rows[0], CLUSTERS_NAME, []), truth, segment, rows)

    def _path(self, evaluation: Evaluation, name: str, parts: Sequence[str]) -> Path:
        run = [Path(evaluation.name).name, str(evaluation.state)] if self.several else []
        wanted = "-".join([*run, *parts, name])
        self._taken.append(wanted)
        again = self._taken.count(wanted)
        return self.folder / ("-".join([*run, *parts, str(again), name]) if again > 1 else wanted)
