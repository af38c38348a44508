"""What `bioseg evaluate` found on one data set: the scores side by side, and their documented JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.evaluation.scores import Difference, ImageCounts, Score
from bioseg_cli.evaluation.truth import Predict, Truth
from bioseg_cli.metrics.confusion import iou_per_class


@dataclass(frozen=True)
class LabelBudget:
    """How many labelled training images a run used, of how many."""

    count: int
    of: int

    def __str__(self) -> str:
        return f"{self.count} of {self.of}"


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
    """

    name: str
    images: ImageCounts
    score: Score
    state: str | None = None
    labels: LabelBudget | None = None
    control: Difference | None = None

    def compared_with(self, control: Difference) -> Evaluation:
        """The same, with its difference to the control."""
        return replace(self, control=control)


Draw = Callable[[Evaluation, Truth, Predict], None]
"""Called with what was scored while its images can still be read; it may draw them."""


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
    """

    data: str
    split: str | None
    evaluations: tuple[Evaluation, ...]
    baselines: tuple[Evaluation, ...] = ()
    control: Evaluation | None = None
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Evaluation, ...]:
        """All that was scored, in the order of the table."""
        return (*self.evaluations, *(() if self.control is None else (self.control,)), *self.baselines)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.rows[0].score.classes

    def to_json(self) -> list[dict[str, Any]]:
        """One mapping an evaluation, with the keys of docs/evaluate.md."""
        baselines = {one.name: one.score.to_json() for one in self.baselines}
        documents = []
        for one in self.evaluations:
            document: dict[str, Any] = {
                "run": one.name,
                "state": one.state,
                "labels": None if one.labels is None else {"count": one.labels.count, "of": one.labels.of},
                "data": self.data,
                "split": self.split,
                **one.score.to_json(),
                "baselines": baselines,
            }
            if self.control is not None and one.control is not None:
                document["control"] = {
                    "run": self.control.name,
                    "state": self.control.state,
                    **self.control.score.to_json(),
                    **one.control.to_json(),
                }
            documents.append({**document, "notes": list(self.notes)})
        return documents


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
    for one in report.rows:
        score = one.score
        row: dict[str, Any] = {
            "data": report.data,
            "split": report.split,
            "name": one.name,
            "state": one.state,
            "labels": None if one.labels is None else one.labels.count,
            "images": score.images,
        }
        for name in ("mean_iou", "mean_iou_foreground", "pixel_accuracy"):
            row |= {name: getattr(score, name)}
            row |= dict(zip((f"{name}_low", f"{name}_high"), score.intervals[name], strict=True))
        row |= {"image_wise_mean": score.image_wise_mean, "image_wise_sd": score.image_wise_sd}
        for measure, values in (("iou", score.iou), ("dice", score.dice)):
            row |= {f"{measure} {name}": value for name, value in zip(score.classes, values, strict=True)}
        if one.control is not None:
            row |= {"difference": one.control.mean_iou}
            row |= dict(zip(("difference_low", "difference_high"), one.control.limits, strict=True))
        yield row


def _image_rows(report: Report) -> Iterator[dict[str, Any]]:
    for one in report.rows:
        images = one.images
        iou = iou_per_class(images.counts)
        for number, (name, mean) in enumerate(zip(images.names, images.image_iou(), strict=True)):
            yield {
                "data": report.data,
                "split": report.split,
                "name": one.name,
                "state": one.state,
                "image": name,
                "group": images.groups[number],
                "pixels": int(images.counts[number].sum()),
                "mean_iou": mean,
                **{f"iou {label}": value for label, value in zip(report.classes, iou[number], strict=True)},
            }


def _csv(rows: Iterator[dict[str, Any]]) -> str:
    records = [{key: _cell(value) for key, value in row.items()} for row in rows]
    # Data sets with other classes have other columns: all of them, in order of appearance.
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _cell(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else value
