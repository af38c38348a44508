"""Which runs and images are shown: the middle ones, so that no picture is picked for its looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bioseg_cli.report.findings import Findings
from bioseg_cli.study.grid import Budget
from bioseg_cli.study.results import RunResult, ScoreRow

WORST = 2
"""Images shown of those that a method does worst on; of those it does best on it is one."""


@dataclass(frozen=True)
class Scored:
    """A run with the row of it that is shown."""

    run: RunResult
    row: ScoreRow


def middle_budget(findings: Findings, data: str) -> Budget | None:
    """The middle one of the label budgets that have scored runs; that of all labels only where there is no other."""
    for with_all in (False, True):
        budgets = [
            budget
            for budget in findings.budgets(data, with_all=with_all)
            if any(_rows(findings, data, loss, budget) for loss in findings.losses(data))
        ]
        if budgets:
            return budgets[len(budgets) // 2]
    return None


def shown_runs(findings: Findings, data: str, budget: Budget) -> list[Scored]:
    """A run of each method, all of one repeat, so that they saw the same labels: the control's middle one by score.

    A method without a scored run in that repeat is shown by its own middle one.
    """
    rows = [rows for loss in findings.losses(data) if (rows := _rows(findings, data, loss, budget))]
    repeat = middle(rows[0]).run.repeat
    return [next((scored for scored in each if scored.run.repeat == repeat), middle(each)) for each in rows]


def leading_run(findings: Findings, data: str, shown: Sequence[Scored]) -> Scored:
    """Of the runs shown, that of the method that is ahead; without a verdict the first."""
    budget = shown[0].run.budget
    for verdict in findings.verdicts:
        if (verdict.data, verdict.budget) == (data, budget):
            return next((scored for scored in shown if scored.run.loss == verdict.best.loss), shown[0])
    return shown[0]


def clustering(findings: Findings, data: str) -> Scored | None:
    """The middle run of IIC by its best-scoring row; None where none was scored."""
    best = []
    for run in findings.results.runs:
        rows = [row for row in run.rows if row.head is not None and row.state == "best-final"] or [
            row for row in run.rows if row.head is not None
        ]
        if run.data == data and rows:
            best.append(Scored(run, max(rows, key=lambda row: row.mean_iou)))
    return middle(best) if best else None


def middle(scored: Sequence[Scored]) -> Scored:
    """The one with the (lower) median mean IoU."""
    return sorted(scored, key=lambda candidate: candidate.row.mean_iou)[(len(scored) - 1) // 2]


def from_the_middle(row: ScoreRow) -> list[str]:
    """Names of the images, the one with the median mean IoU first, then those next to it."""
    ranked = ranked_images(row)
    centre = (len(ranked) - 1) / 2
    order = sorted(range(len(ranked)), key=lambda place: abs(place - centre))
    return [ranked[place] for place in order]


def extremes(row: ScoreRow) -> tuple[list[str], list[str]]:
    """Names of the images with the lowest mean IoU, and of all others, the one with the highest first."""
    ranked = ranked_images(row)
    count = min(WORST, max(1, len(ranked) - 1))
    return ranked[:count], ranked[count:][::-1]


def ranked_images(row: ScoreRow) -> list[str]:
    """Names of the images by their own mean IoU, the lowest first."""
    defined = [(value, name) for name, value in row.images.items() if value is not None and not math.isnan(value)]
    return [name for _, name in sorted(defined)]


def _rows(findings: Findings, data: str, loss: str, budget: Budget) -> list[Scored]:
    runs = [run for run in findings.results.runs if (run.data, run.loss, run.budget) == (data, loss, budget)]
    return [Scored(run, row) for run in runs if (row := run.row(findings.state)) is not None]
