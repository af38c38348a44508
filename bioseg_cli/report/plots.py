"""All charts of the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bioseg_cli.report import bars, curves
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.records import RunRecord
from bioseg_cli.report.reliability import reliability

ByData = Mapping[str, Sequence[Markup]]
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
    heads: Markup | None
    collapse: ByData
    learning: ByData
    reliability: ByData


def draw_plots(findings: Findings, records: Sequence[RunRecord]) -> Plots:
    """Draw what there is to draw."""
    accuracy, collapse, learning, reliable = {}, {}, {}, {}
    # By number, which keeps data sets apart whose names differ in signs alone.
    for number, data in enumerate(findings.results.data):
        of_methods = bars.pipelines(findings, data, f"bars-{number}")
        over_labels = None if of_methods is None else curves.efficiency(findings, data, f"labels-{number}")
        accuracy[data] = _drawn([of_methods, over_labels])
        collapse[data] = _drawn(
            curves.collapse(records, data, measure, f"collapse-{number}-{_plain(measure)}")
            for measure in curves.MEASURES
        )
        budgets = {f"{number}-{_plain(budget.title)}": budget for budget in findings.budgets(data)}
        learning[data] = _drawn(
            curves.learning(records, data, budget, f"learning-{which}") for which, budget in budgets.items()
        )
        reliable[data] = _drawn(
            reliability(findings, data, budget, f"reliability-{which}") for which, budget in budgets.items()
        )
    return Plots(accuracy, bars.heads(findings, "heads"), collapse, learning, reliable)


def _drawn(charts: Iterable[Markup | None]) -> list[Markup]:
    return [chart for chart in charts if chart is not None]


def _plain(title: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", title).strip("-")
