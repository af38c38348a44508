"""The table on the screen: narrow enough for 80 columns, with what a reader must know underneath."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bioseg_cli.evaluation.report import Evaluation, Report

CLASSES_ACROSS = 5
"""Classes that fit beside each other in 80 columns; more are listed below each other."""


def render(report: Report) -> RenderableType:
    """Title, means, classes, differences to the control, and notes."""
    where = report.data if report.split is None else f"{report.data}, {report.split} split"
    images = report.rows[0].score.images
    parts: list[RenderableType] = [Text(f"{where}, {images} image{'' if images == 1 else 's'}", style="bold")]
    parts.append(_means(report))
    parts.append(_classes(report))
    if report.control is not None:
        parts.append(_differences(report, report.control))
    parts += [Text(f"- {note}") for note in _notes(report)]
    return Group(*parts)


def _means(report: Report) -> Table:
    states = {one.state for one in report.rows if one.state is not None}
    budgets = any(one.labels is not None for one in report.rows)
    table = _table("")
    if len(states) > 1:
        table.add_column("state")
    if budgets:
        table.add_column("labels", justify="right")
    for heading in ("mIoU", "95 % interval", "mIoU fg", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in report.rows:
        score = one.score
        cells = [_name(report, one)]
        if len(states) > 1:
            cells.append(one.state or "")
        if budgets:
            cells.append("" if one.labels is None else str(one.labels))
        cells += [_value(score.mean_iou), _limits(score.intervals["mean_iou"])]
        cells += [_value(score.mean_iou_foreground), _value(score.pixel_accuracy)]
        table.add_row(*cells)
    return table


def _classes(report: Report) -> Table:
    if len(report.classes) > CLASSES_ACROSS:
        table = _table("IoU (Dice)")
        table.add_column("class")
        table.add_column("IoU (Dice)", justify="right", no_wrap=True)
        for one in report.rows:
            for number, (label, pair) in enumerate(zip(report.classes, _pairs(one), strict=True)):
                table.add_row(_name(report, one) if number == 0 else "", label, pair)
        return table
    table = _table("IoU (Dice)")
    for label in report.classes:
        table.add_column(label, justify="right", overflow="fold")
    for one in report.rows:
        table.add_row(_name(report, one), *_pairs(one))
    return table


def _differences(report: Report, control: Evaluation) -> Table:
    table = _table(f"mIoU minus that of the control {control.name}")
    for heading in ("difference", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in report.evaluations:
        if one.control is not None:
            low, high = one.control.limits
            interval = "-" if np.isnan(low) else f"{low:+.4f} .. {high:+.4f}"
            table.add_row(_name(report, one), f"{one.control.mean_iou:+.4f}", interval)
    return table


def _table(corner: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(corner, overflow="fold")
    return table


def _name(report: Report, one: Evaluation) -> str:
    if one is report.control:
        return f"{one.name} (control)"
    several = sum(other.name == one.name for other in report.rows) > 1
    return f"{one.name} {one.state}" if several else one.name


def _pairs(one: Evaluation) -> Iterator[str]:
    for iou, dice in zip(one.score.iou, one.score.dice, strict=True):
        yield "absent" if np.isnan(iou) else f"{iou:.4f} ({dice:.4f})"


def _value(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _limits(limits: tuple[float, float]) -> str:
    return "-" if np.isnan(limits[0]) else f"{limits[0]:.4f}-{limits[1]:.4f}"


def _notes(report: Report) -> Iterator[str]:
    states = {one.state for one in report.rows if one.state is not None}
    if len(states) == 1:
        yield f"State of every run: {states.pop()}."
    yield "Counts are pooled over images; mIoU is the mean over classes, mIoU fg that without the background."
    for one in report.rows:
        if one.score.absent and one not in report.baselines:
            absent = ", ".join(one.score.absent)
            yield f"{one.name}: {absent} in neither truth nor prediction, left out of its means."
    yield from report.notes
