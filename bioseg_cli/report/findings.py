"""What may be said of the results: which method is ahead and whether that is clear, and which reversals are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bioseg_cli.report.paper import PIPELINES, PublishedReversal, published_reversals
from bioseg_cli.study.cells import Cell, cells
from bioseg_cli.study.grid import CONTROL, IIC, Budget
from bioseg_cli.study.results import StudyResults
from bioseg_cli.study.statistics import Comparison, Estimate, Reversal, compare, reversals

ALL = "all"
"""Title of the budget of every label there is."""

Column = tuple[str, str]
"""Unsupervised loss and saved state."""


@dataclass(frozen=True)
class Verdict:
    """Which method is ahead at a label budget.

    Attributes:
        data, budget: where.
        best: the cell with the highest mean, the control's among them.
        told_by: the cell whose difference to the control says how clear that is: the best one's, and where the control
            is ahead, that of the method that comes closest; None where nothing can be compared.
    """

    data: str
    budget: Budget
    best: Cell
    told_by: Cell | None

    @property
    def clear(self) -> bool | None:
        """Whether the lead has an interval that leaves 0 out; None where there is no interval."""
        comparison = None if self.told_by is None else self.told_by.control
        return None if comparison is None else comparison.clear


@dataclass(frozen=True)
class FoundReversal:
    """A mean that falls although there are more labels."""

    data: str
    loss: str
    state: str
    less: Budget
    more: Budget
    reversal: Reversal


@dataclass(frozen=True)
class PaperReversal:
    """A fall in the paper's Table S1, and how the same change came out here; None where it was not measured."""

    data: str
    published: PublishedReversal
    own: Comparison | None

    @property
    def half_width(self) -> float | None:
        """Half the width of our interval of the change."""
        interval = None if self.own is None else self.own.difference.interval
        return None if interval is None else (interval.high - interval.low) / 2


@dataclass(frozen=True)
class Findings:
    """The results with their cells, to be asked."""

    results: StudyResults

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the tables."""
        return tuple(cells(self.results))

    @cached_property
    def state(self) -> str:
        """The saved state that comparisons are drawn by: the plan's first, so that none is picked for its result."""
        wanted = [str(state) for state in self.results.settings.get("states", [])]
        scored = [cell.state for cell in self.cells if cell.budget is not None and cell.estimate is not None]
        return next((state for state in wanted if state in scored), next(iter(scored), "best-supervised"))

    def cell(self, data: str, column: Column, budget: Budget) -> Cell | None:
        """The cell of a data set, column and label budget."""
        for cell in self.cells:
            if (cell.data, cell.loss, cell.state, cell.budget) == (data, *column, budget):
                return cell
        return None

    @property
    def data_with_labels(self) -> list[str]:
        """The data sets that runs learnt from labels of."""
        return [data for data in self.results.data if self.columns(data)]

    @property
    def data_of_iic(self) -> list[str]:
        """The data sets that runs of IIC learnt from without labels."""
        return [data for data in self.results.data if self.clusters(data)]

    def clusters(self, data: str) -> list[Cell]:
        """The cells of IIC on a data set: a saved state, head and mapping each."""
        return [cell for cell in self.cells if cell.data == data and cell.loss == IIC]

    def otsu(self, data: str) -> float | None:
        """Mean IoU of Otsu's threshold on a data set; None where it was not scored."""
        return next((row.mean_iou for row in self.results.baselines.get(data, ()) if row.name == "otsu"), None)

    def ceiling(self, data: str) -> Estimate | None:
        """The control with all labels, in the state compared by."""
        cells = (self.cell(data, (CONTROL, self.state), budget) for budget in self.budgets(data) if budget.title == ALL)
        return next((cell.estimate for cell in cells if cell is not None), None)

    def budgets(self, data: str, *, with_all: bool = True) -> list[Budget]:
        """The label budgets of a data set, ascending, that of all labels last."""
        found = {cell.budget for cell in self.cells if cell.data == data and cell.budget is not None}
        chosen = [budget for budget in found if with_all or budget.title != ALL]
        return sorted(chosen, key=lambda budget: (budget.title == ALL, budget.count))

    def losses(self, data: str) -> list[str]:
        """Unsupervised losses of a data set, the control first."""
        losses = dict.fromkeys(loss for loss, _ in self.columns(data))
        return sorted(losses, key=lambda loss: loss != CONTROL)

    def columns(self, data: str) -> list[Column]:
        """Losses and states of a data set: the paper's pipelines first, in its order, the control last.

        The control has no unsupervised loss, so its states of best supervised and best final loss are one; states of
        it that score alike throughout are a column.
        """
        found = dict.fromkeys((cell.loss, cell.state) for cell in self.cells if cell.data == data and cell.loss != IIC)
        order = {column: place for place, column in enumerate(PIPELINES)}
        losses = list(
            dict.fromkeys(loss for loss, _ in sorted(found, key=lambda column: order.get(column, len(order))))
        )
        losses = [loss for loss in losses if loss != CONTROL] + [CONTROL] * (CONTROL in losses)
        columns: list[Column] = []
        for loss in losses:
            own = sorted(
                (column for column in found if column[0] == loss), key=lambda column: order.get(column, len(order))
            )
            for column in own:
                same = loss == CONTROL and any(self._alike(data, column, other) for other in columns)
                if not same:
                    columns.append(column)
        return columns

    def _alike(self, data: str, column: Column, other: Column) -> bool:
        counts = [budget.count for budget in self.budgets(data)]
        values = [
            [self.results.values(data, loss, count, state) for count in counts] for loss, state in (column, other)
        ]
        return column[0] == other[0] and values[0] == values[1]

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Which method is ahead, at each label budget with more than the control."""
        found = []
        for data in self.results.data:
            for budget in self.budgets(data, with_all=False):
                scored = [
                    cell
                    for cell in self.cells
                    if (cell.data, cell.budget, cell.state) == (data, budget, self.state) and cell.estimate is not None
                ]
                if len(scored) > 1:
                    found.append(Verdict(data, budget, *_ahead(scored)))
        return tuple(found)

    @cached_property
    def tests(self) -> int:
        """Number of paired t tests, for which the p values are corrected."""
        return sum(cell.p_corrected is not None for cell in self.cells)

    @cached_property
    def reversals(self) -> tuple[FoundReversal, ...]:
        """Means that fall although there are more labels."""
        found = []
        for data in self.results.data:
            budgets = {budget.count: budget for budget in self.budgets(data, with_all=False)}
            for loss, state in self.columns(data):
                values = {count: self.results.values(data, loss, count, state) for count in budgets}
                found += [
                    FoundReversal(data, loss, state, budgets[reversal.less], budgets[reversal.more], reversal)
                    for reversal in reversals({count: each for count, each in values.items() if each})
                ]
        return tuple(found)

    @property
    def budgets_compared(self) -> bool:
        """Whether some method has runs of one repeat at two label budgets: else no reversal can be found."""
        repeats = [
            (run.data, run.loss, run.repeat)
            for run in self.results.runs
            if run.rows and run.budget is not None and run.budget.title != ALL
        ]
        return len(set(repeats)) < len(repeats)

    @cached_property
    def paper_reversals(self) -> tuple[PaperReversal, ...]:
        """The paper's falls on the data sets that are here."""
        found = []
        for data in self.results.data:
            counts = {budget.title: budget.count for budget in self.budgets(data, with_all=False)}
            for fall in published_reversals(data):
                own = None
                if fall.less in counts and fall.more in counts:
                    more, less = (
                        self.results.values(data, fall.loss, counts[title], fall.state)
                        for title in (fall.more, fall.less)
                    )
                    own = compare(more, less)
                found.append(PaperReversal(data, fall, own))
        return tuple(found)


def _ahead(scored: Sequence[Cell]) -> tuple[Cell, Cell | None]:
    """The best of some cells, and the one whose difference to the control tells how clear that is."""
    ranked = sorted(scored, key=_mean, reverse=True)
    best = ranked[0]
    told_by = best if best.loss != CONTROL else next((cell for cell in ranked if cell.control is not None), None)
    return best, told_by if told_by is not None and told_by.control is not None else None


def _mean(cell: Cell) -> float:
    return cell.estimate.mean if cell.estimate is not None else float("-inf")
