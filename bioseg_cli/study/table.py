"""The study on the screen, narrow enough for 80 columns, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bioseg_cli.dataset.area import AREA, shown_share, with_share
from bioseg_cli.metrics.intervals import MeanInterval, as_text
from bioseg_cli.study.cells import Cell, cells
from bioseg_cli.study.grid import CONTROL, IIC, PlannedRun
from bioseg_cli.study.results import ForestScore, StudyResults
from bioseg_cli.training.alike import DENOISED, PSEUDO_LABELLED

NAMES = {
    CONTROL: "control",
    "kl": "KL",
    "iid": "IID",
    "fixmatch": "FixMatch",
    DENOISED: "denoising",
    PSEUDO_LABELLED: "pseudo-labels",
    IIC: "IIC",
}
"""What tables call a method."""


def render(results: StudyResults) -> RenderableType:
    """A table a data set, its baselines below, and what a reader must know."""
    every = cells(results)
    parts: list[RenderableType] = []
    for data in results.data:
        parts.append(Text(f"{data}, {results.split} split: mean IoU with background", style="bold"))
        parts += [_means([cell for cell in every if cell.data == data], results), Text()]
    parts += [Text(f"- {note}") for note in notes(every)]
    return Group(*parts)


def notes(every: Sequence[Cell]) -> list[str]:
    """What a reader must know of the figures."""
    said = ["Intervals are Student's, 95 %; the gain is over the supervised control with the same labels and seed."]
    reservations = {cell.estimate.reservation for cell in every if cell.estimate is not None}
    said += sorted(f"Some: {reason}." for reason in reservations - {None} if reason is not None)
    if any(shown_share(cell.labelled_shares) for cell in every):
        said.append(AREA)
    tests = sum(cell.p_corrected is not None for cell in every)
    if tests:
        said.append(f"p is of the paired t test, corrected for {tests} tests (Holm).")
    for run in {run.name: run for cell in every for run in cell.failed}.values():
        said.append(f"{run.name} is {run.status}" + (f": {run.failure}" if run.failure else "") + ".")
    for run in {run.name: run for cell in every for run in cell.collapsed}.values():
        said.append(f"{run.name} has collapsed; its scores are counted all the same.")
    runs = {run.name: run for cell in every for run in cell.runs}.values()
    for run in runs:
        if run.unseen:
            said.append(
                f"{run.name} has no label of {' and '.join(map(repr, run.unseen))}; that is counted all the same."
            )
    for run in runs:
        if run.unlike_control:
            said.append(f"{run.name} is not compared: it and the control differ in {', '.join(run.unlike_control)}.")
    return said


def render_runs(runs: Iterable[tuple[PlannedRun, str, str | None]]) -> RenderableType:
    """Every planned run and how far it is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    count = 0
    for run, status, failure in runs:
        table.add_row(Text(run.name), Text(status if failure is None else f"{status}: {failure}"))
        count += 1
    return Group(table, Text(f"{count} runs"))


def document(results: StudyResults) -> dict[str, Any]:
    """The cells, baselines and runs, with the keys of docs/study.md."""
    return {
        "split": results.split,
        "cells": [cell.to_json() for cell in cells(results)],
        "baselines": {data: {row.name: row.mean_iou for row in rows} for data, rows in results.baselines.items()},
        "runs": [
            {
                "name": run.name,
                "hash": run.hash,
                "status": run.status,
                "failure": run.failure,
                "labelled_share": run.labelled_share,
                "unseen": list(run.unseen),
                "unlike_control": list(run.unlike_control),
            }
            for run in {run.name: run for run in results.runs}.values()
        ],
    }


def _means(found: Sequence[Cell], results: StudyResults) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("labels", "method", "output"):
        table.add_column(heading, overflow="fold")
    for heading in ("runs", "mIoU", "95 % interval", "gain", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell in found:
        budget = "none" if cell.budget is None else cell.budget.title.partition(" label")[0]
        title = with_share(budget, cell.labelled_shares)
        estimate, control = cell.estimate, cell.control
        ended = f"{0 if estimate is None else estimate.runs}/{len(cell.runs)}"
        table.add_row(
            Text(title),
            Text(NAMES.get(cell.loss, cell.loss)),
            Text(cell.state if cell.head is None else f"{cell.head}, {cell.mapping}"),
            ended,
            "-" if estimate is None else f"{estimate.mean:.4f}",
            "-" if estimate is None else _interval(estimate.interval),
            "" if control is None else f"{control.difference.mean:+.4f}",
            "" if cell.p_corrected is None else f"{cell.p_corrected:.3f}",
        )
    table.add_section()
    for row in results.baselines.get(found[0].data, ()):
        if not isinstance(row.score, ForestScore):
            table.add_row("none", "", Text(row.name), "", f"{row.mean_iou:.4f}", "", "", "")
            continue
        low, high = row.score.intervals.mean_iou or (None, None)
        interval = "-" if low is None or high is None else as_text(low, high, ".3f")
        draws = row.score.draws
        table.add_row(str(row.score.labels), "", "forest", f"{draws}/{draws}", f"{row.mean_iou:.4f}", interval, "", "")
    return table


def _interval(interval: MeanInterval | None) -> str:
    return "-" if interval is None else as_text(interval.low, interval.high, ".3f")
