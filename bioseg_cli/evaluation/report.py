"""What `bioseg evaluate` found on one data set: the scores side by side, and their documented JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bioseg_cli.evaluation.calibration import Calibration
from bioseg_cli.evaluation.document import (
    ClusterMapping,
    ControlRecord,
    CrossValidation,
    EvaluationRecord,
    LabelBudget,
    ScoreRecord,
    SeenRecord,
)
from bioseg_cli.evaluation.ground_truth import GroundTruth, Predict, Segment
from bioseg_cli.evaluation.objects import ImageObjects
from bioseg_cli.evaluation.scores import Difference, ImageCounts, Score
from bioseg_cli.io.csv_cells import write_csv
from bioseg_cli.metrics.confusion import iou_per_class

UNSEEN = "*"
"""Marks the scores of a class that no label of the training showed."""


@dataclass(frozen=True)
class Evaluation:
    """One thing that was scored: a state of a run, a folder of masks, or a baseline.

    Attributes:
        name: run directory, folder, or name of the baseline.
        images: the counts the score came from.
        score: what they amount to.
        state: saved state of the run.
        labels: its label budget.
        control: its difference to the control, where one was given.
        head: which head of the run, where it has clusters.
        mapping: how these clusters became classes.
        unseen: names of the classes that no label of the training showed; None where that is not known, or is of no
            account.
        seen: scored images that the run has seen; None where they are of its own data set.
        calibration: of the probabilities; None where there are none, and of clusters.
        cross_validation: how its recipe was cross-validated; None of a saved state.
        objects: counts and scores of single objects, where they were asked for.
    """

    name: str
    images: ImageCounts
    score: Score
    state: str | None = None
    labels: LabelBudget | None = None
    control: Difference | None = None
    head: str | None = None
    mapping: ClusterMapping | None = None
    unseen: tuple[str, ...] | None = None
    seen: SeenRecord | None = None
    calibration: Calibration | None = None
    cross_validation: CrossValidation | None = None
    objects: ImageObjects | None = None

    def compared_with(self, control: Difference) -> Evaluation:
        """The same, with its difference to the control."""
        return replace(self, control=control)


class Figures(Protocol):
    """Draws what was scored, while its images can still be read."""

    def differences(self, evaluation: Evaluation, truth: GroundTruth, predict: Predict) -> None:
        """The worst and the best images of a row."""

    def clusters(self, rows: Sequence[Evaluation], truth: GroundTruth, segment: Segment) -> None:
        """Clusters beside the classes they became, for all rows of a run and state."""


@dataclass(frozen=True)
class Report:
    """Everything scored on one split of one data set, or against one folder of masks.

    Attributes:
        data: the data set or folder.
        split: its split; None for a folder.
        evaluations: runs or mask folders, in the order given.
        baselines: what stands beside them.
        control: the supervised control.
        notes: what else a reader must know.
        chosen: name of the run to use, where several were compared to choose one.
    """

    data: str
    split: str | None
    evaluations: tuple[Evaluation, ...]
    baselines: tuple[Evaluation, ...] = ()
    control: Evaluation | None = None
    notes: tuple[str, ...] = ()
    chosen: str | None = None

    @property
    def rows(self) -> tuple[Evaluation, ...]:
        """All that was scored, in the order of the table."""
        return (*self.evaluations, *(() if self.control is None else (self.control,)), *self.baselines)

    @property
    def with_clusters(self) -> bool:
        """Whether some of it are clusters that became classes."""
        return any(row.mapping is not None for row in self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.rows[0].score.classes

    def records(self) -> tuple[EvaluationRecord, ...]:
        """What the document says of it, one record an evaluation."""
        baselines = {baseline.name: baseline.score.record() for baseline in self.baselines}
        return tuple(self._record(evaluation, baselines) for evaluation in self.evaluations)

    def _record(self, evaluation: Evaluation, baselines: Mapping[str, ScoreRecord]) -> EvaluationRecord:
        # What is not there for every evaluation is no key of the others.
        clusters = {} if evaluation.mapping is None else {"head": evaluation.head, "mapping": evaluation.mapping}
        compared: dict[str, Any] = _cross_validated(evaluation)
        if self.control is not None and evaluation.control is not None:
            compared["control"] = ControlRecord(
                run=self.control.name,
                state=self.control.state,
                **self.control.score.record().given(),
                **evaluation.control.record().given(),
                **_cross_validated(self.control),
            )
        if self.chosen is not None:
            compared["chosen"] = self.chosen
        return EvaluationRecord.model_validate(
            {
                "run": evaluation.name,
                "state": evaluation.state,
                **clusters,
                "labels": evaluation.labels,
                "unseen": evaluation.unseen,
                **({} if evaluation.seen is None else {"seen": evaluation.seen}),
                "data": self.data,
                "split": self.split,
                **evaluation.score.record().given(),
                "calibration": None if evaluation.calibration is None else evaluation.calibration.record(),
                "baselines": baselines,
                **compared,
                "notes": self.notes,
            }
        )


def _cross_validated(evaluation: Evaluation) -> dict[str, Any]:
    objects, found = evaluation.objects, evaluation.cross_validation
    return ({} if objects is None else {"objects": objects.record()}) | (
        {} if found is None else {"cross_validation": found}
    )


def shown_path(path: Path) -> str:
    """A path as short as it can be: relative to the current folder where it lies inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path)


def table_csv(reports: Sequence[Report]) -> str:
    """The table as CSV: a row an evaluation, control and baseline; empty where there is no value."""
    return _csv(row for report in reports for row in _table_rows(report))


def images_csv(reports: Sequence[Report]) -> str:
    """The images as CSV: a row an image of every evaluation."""
    return _csv(row for report in reports for row in _image_rows(report))


def _table_rows(report: Report) -> Iterator[dict[str, Any]]:
    for evaluation in report.rows:
        score = evaluation.score
        row: dict[str, Any] = {
            "data": report.data,
            "split": report.split,
            "name": evaluation.name,
            "state": evaluation.state,
            **_cluster_cells(report, evaluation),
            "labels": None if evaluation.labels is None else evaluation.labels.count,
            "labelled_share": None if evaluation.labels is None else evaluation.labels.share,
            "images": score.images,
        }
        for name in ("mean_iou", "mean_iou_foreground", "pixel_accuracy"):
            row |= {name: getattr(score, name)}
            row |= dict(zip((f"{name}_low", f"{name}_high"), score.intervals[name], strict=True))
        row |= {"image_wise_mean": score.image_wise_mean, "image_wise_sd": score.image_wise_sd}
        if evaluation.calibration is not None:
            calibration = evaluation.calibration.record()
            row |= {name: getattr(calibration, name) for name in ("temperature", "ece", "ece_before")}
        for measure, values in (("iou", score.iou), ("dice", score.dice)):
            row |= {f"{measure} {name}": value for name, value in zip(score.classes, values, strict=True)}
        if evaluation.objects is not None:
            for name, objects in evaluation.objects.scores.items():
                row |= {f"{key} {name}": value for key, value in objects.record().items() if key != "intervals"}
        if evaluation.control is not None:
            row |= {"difference": evaluation.control.mean_iou}
            row |= dict(zip(("difference_low", "difference_high"), evaluation.control.limits, strict=True))
        yield row


def _image_rows(report: Report) -> Iterator[dict[str, Any]]:
    for evaluation in report.rows:
        images = evaluation.images
        iou = iou_per_class(images.counts)
        for number, (name, mean) in enumerate(zip(images.names, images.image_iou(), strict=True)):
            yield {
                "data": report.data,
                "split": report.split,
                "name": evaluation.name,
                "state": evaluation.state,
                **_cluster_cells(report, evaluation),
                "image": name,
                "group": images.groups[number],
                "pixels": int(images.counts[number].sum()),
                "mean_iou": mean,
                **{f"iou {label}": value for label, value in zip(report.classes, iou[number], strict=True)},
                **({} if evaluation.objects is None else evaluation.objects.cells(name)),
            }


def _cluster_cells(report: Report, evaluation: Evaluation) -> dict[str, Any]:
    if not report.with_clusters:
        return {}
    return {"head": evaluation.head, "mapping": None if evaluation.mapping is None else evaluation.mapping.kind}


def _csv(rows: Iterator[dict[str, Any]]) -> str:
    records = [{key: _cell(value) for key, value in row.items()} for row in rows]
    # Data sets with other classes have other columns: all of them, in order of appearance.
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    write_csv(text, columns, records)
    return text.getvalue()


def _cell(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else value
