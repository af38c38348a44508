"""The cells of a study's tables: a data set, method, label budget and saved state, over all its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bioseg_cli.metrics.intervals import MeanInterval
from bioseg_cli.study.grid import CONTROL, Budget
from bioseg_cli.study.results import RunResult, StudyResults
from bioseg_cli.study.statistics import Comparison, Estimate, compare, estimate, holm


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        data, loss: as of its runs.
        budget: labelled images; None without labels.
        state, head, mapping: what of the runs was scored.
        runs: all of them, ended or not.
        estimate: mean IoU with its interval; None where no run could be scored.
        control: its difference to the supervised control with the same labels and seeds.
        p_corrected: the paired t test's p, corrected for all tests of the study (Holm).
    """

    data: str
    loss: str
    budget: Budget | None
    state: str
    head: str | None
    mapping: str | None
    runs: tuple[RunResult, ...]
    estimate: Estimate | None
    control: Comparison | None
    p_corrected: float | None = None

    @property
    def labelled_shares(self) -> list[float]:
        """Labelled share of the area of the labelled images, of each run that it is known of."""
        return [run.labelled_share for run in self.runs if run.labelled_share is not None]

    @property
    def scores(self) -> list[float]:
        """Mean IoU of each run that is in the estimate."""
        rows = [run.row(self.state, self.head, self.mapping) for run in self.runs]
        return [row.mean_iou for row in rows if row is not None]

    @property
    def failed(self) -> tuple[RunResult, ...]:
        """Runs that are not in the estimate."""
        return tuple(run for run in self.runs if run.row(self.state, self.head, self.mapping) is None)

    @property
    def collapsed(self) -> tuple[RunResult, ...]:
        """Runs whose clusters, of this state and head, came to nothing; they are in the estimate."""
        return tuple(run for run in self.runs if self.head in run.collapse.get(self.state, {}))

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        found, control = self.estimate, self.control
        return {
            "data": self.data,
            "loss": self.loss,
            "labels": None if self.budget is None else self.budget.count,
            "budget": None if self.budget is None else self.budget.title,
            "labelled_share": [min(self.labelled_shares), max(self.labelled_shares)] if self.labelled_shares else None,
            "state": self.state,
            "head": self.head,
            "mapping": self.mapping,
            "mean_iou": None if found is None else found.mean,
            "interval": None if found is None else limits(found.interval),
            "runs": 0 if found is None else found.runs,
            "unit": None if found is None else found.unit,
            "units": [] if found is None else list(found.units),
            "reservation": None if found is None else found.reservation,
            "missing": [run.name for run in self.failed],
            "collapsed": [run.name for run in self.collapsed],
            "control": None
            if control is None
            else {
                "difference": control.difference.mean,
                "interval": limits(control.difference.interval),
                "p_t": None if control.t is None else control.t.p_value,
                "p_t_corrected": self.p_corrected,
                "p_wilcoxon": None if control.wilcoxon is None else control.wilcoxon.p_value,
            },
        }


def cells(results: StudyResults) -> list[Cell]:
    """Every cell, in the order of data sets, budgets, methods and states; those of IIC last in each data set."""
    groups: dict[tuple[Any, ...], list[RunResult]] = {}
    for run in results.runs:
        groups.setdefault((run.data, run.loss, run.budget), []).append(run)
    found = [_cell(results, tuple(runs), *output) for runs in groups.values() for output in _outputs(results, runs)]
    order = {data: number for number, data in enumerate(results.data)}
    found.sort(key=lambda cell: (order[cell.data], np.inf if cell.budget is None else cell.budget.count))
    return _corrected(found)


def _outputs(results: StudyResults, runs: Sequence[RunResult]) -> list[tuple[str, str | None, str | None]]:
    """State, head and mapping of everything scored of the runs of a group; of failed ones, what was wanted."""
    scored = [(str(row.state), row.head, row.mapping) for run in runs for row in run.rows]
    if runs[0].budget is None:
        return list(dict.fromkeys(scored or [("best-final", "main", "oracle"), ("best-final", "aux", "oracle")]))
    wanted = [(str(state), None, None) for state in results.settings.get("states", ["best-supervised"])]
    return list(dict.fromkeys([*scored, *([] if scored else wanted)]))


def _cell(
    results: StudyResults, runs: tuple[RunResult, ...], state: str, head: str | None, mapping: str | None
) -> Cell:
    cell = runs[0]
    count = None if cell.budget is None else cell.budget.count
    values = results.values(cell.data, cell.loss, count, state, head, mapping)
    control = None
    if cell.loss != CONTROL and count is not None:
        without = {run.repeat for run in runs if run.unlike_control}
        controlled = {repeat: value for repeat, value in values.items() if repeat not in without}
        control = compare(controlled, results.values(cell.data, CONTROL, count, state))
    return Cell(
        data=cell.data,
        loss=cell.loss,
        budget=cell.budget,
        state=state,
        head=head,
        mapping=mapping,
        runs=runs,
        estimate=estimate(values) if values else None,
        control=control,
    )


def _corrected(found: list[Cell]) -> list[Cell]:
    tested = [i for i, cell in enumerate(found) if cell.control is not None and cell.control.t is not None]
    p_values = [cell.control.t.p_value for cell in found if cell.control is not None and cell.control.t is not None]
    for i, corrected in zip(tested, holm(p_values).tolist(), strict=True):
        found[i] = replace(found[i], p_corrected=corrected)
    return found


def limits(interval: MeanInterval | None) -> list[float] | None:
    """As JSON has them; None where there is no interval."""
    return None if interval is None else [interval.low, interval.high]
