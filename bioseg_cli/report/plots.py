"""All charts of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bioseg_cli.report import bars, curves
from bioseg_cli.report.charts import Chart
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.records import RunRecord
from bioseg_cli.report.reliability import reliability
from bioseg_cli.study.grid import Budget

ByData = Mapping[str, Sequence[Chart]]
"""By data set, the charts that there is something to draw in."""


@dataclass(frozen=True)
class Plots:
    """The charts of each part of the page.

    Attributes:
        accuracy: bars by label budget and method and, of several budgets, curves over them.
        heads: of IIC; None without such runs.
        collapse: a chart each sign of it.
        learning, reliability: a chart each label budget.
    """

    accuracy: ByData
    heads: Chart | None
    collapse: ByData
    learning: ByData
    reliability: ByData


def draw_plots(findings: Findings, records: Sequence[RunRecord]) -> Plots:
    """Draw what there is to draw."""
    # By number, which keeps data sets apart whose names differ in signs alone.
    numbered = {data: str(number) for number, data in enumerate(findings.results.data)}

    def by_budget(kind: str, draw: Callable[[str, Budget, str], Chart | None]) -> ByData:
        return {
            data: _drawn(draw(data, budget, _identity(kind, number, budget.title)) for budget in findings.budgets(data))
            for data, number in numbered.items()
        }

    return Plots(
        accuracy={data: _accuracy(findings, data, number) for data, number in numbered.items()},
        heads=bars.heads(findings, "heads"),
        collapse={
            data: _drawn(
                curves.collapse(records, data, measure, _identity("collapse", number, measure))
                for measure in curves.MEASURES
            )
            for data, number in numbered.items()
        },
        learning=by_budget("learning", partial(curves.learning, records)),
        reliability=by_budget("reliability", partial(reliability, findings)),
    )


def _accuracy(findings: Findings, data: str, number: str) -> list[Chart]:
    of_methods = bars.pipelines(findings, data, f"bars-{number}")
    return [] if of_methods is None else _drawn([of_methods, curves.efficiency(findings, data, f"labels-{number}")])


def _drawn(charts: Iterable[Chart | None]) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _identity(*parts: str) -> str:
    return "-".join(re.sub(r"[^0-9A-Za-z]+", "-", part).strip("-") for part in parts)
