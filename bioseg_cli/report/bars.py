"""Bars with their intervals: methods by label budget as in the paper's Figure 3, heads of IIC as in its Figure 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from bioseg_cli.report import words
from bioseg_cli.report.charts import (
    CEILING_LINE,
    GREY,
    HATCHES,
    INK,
    OTSU_LINE,
    WIDE,
    Chart,
    as_chart,
    colour,
    drawing,
    legend_below,
)
from bioseg_cli.report.findings import Column, Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.grid import CONTROL
from bioseg_cli.study.results import RunResult
from bioseg_cli.study.statistics import Estimate

GROUP_WIDTH = 0.84
"""Share of its place that a group of bars takes."""
DOTS_SPREAD = 0.4
"""Share of a bar's width over which the dots of its runs lie side by side."""


def pipelines(findings: Findings, data: str, identity: str) -> Chart | None:
    """Mean IoU by label budget and method; None where there is nothing to draw."""
    budgets = findings.budgets(data, with_all=False)
    every = findings.columns(data)
    columns = [column for column in every if column[0] != CONTROL] or every
    found = {(g, c): findings.cell(data, column, budget) for g, budget in enumerate(budgets)
             for c, column in enumerate(columns)}  # fmt: skip
    if all(cell is None or cell.estimate is None for cell in found.values()):
        return None
    control = [findings.cell(data, (CONTROL, findings.state), budget) for budget in budgets]
    title = f"Mean IoU on {data} by method and label budget"
    with drawing(WIDE) as (figure, axes):
        width = GROUP_WIDTH / len(columns)
        for c, column in enumerate(columns):
            places = [g + (c - (len(columns) - 1) / 2) * width for g in range(len(budgets))]
            cells = [found[g, c] for g in range(len(budgets))]
            _draw_bars(axes, places, cells, width, colour(column[0]), _hatch(columns, column), words.output(*column))
        published_at = _draw_published(axes, data, columns, [budget.title for budget in budgets], width)
        if columns != every:
            _draw_control(axes, control)
        top = findings.ceiling(data)
        if top is not None:
            axes.axhline(top.mean, color=INK, linestyle=CEILING_LINE, linewidth=1, label="control, all labels")
        otsu = findings.otsu(data)
        if otsu is not None:
            axes.axhline(otsu, color=GREY, linestyle=OTSU_LINE, linewidth=1.4, label="Otsu")
        _finish(axes, [words.labels(budget).replace(" (", "\n").rstrip(")") for budget in budgets])
        legend_below(figure, axes, [words.output(*column) for column in columns], columns=2)
        said = [f"{words.labels(budget)}: " + "; ".join(
                    [*(_said(words.output(*column), found[g, c]) for c, column in enumerate(columns)),
                     *([_said(words.method(CONTROL), control[g])] if columns != every else [])])
                for g, budget in enumerate(budgets)]  # fmt: skip
        if top is not None:
            said.append(f"{words.capitalised(words.method(CONTROL))} with all labels: {words.score(top.mean)}")
        said += [f"{words.baseline('otsu')}: {words.score(otsu)}"] if otsu is not None else []
        said += ["Crosses are the paper’s single runs"] if published_at else []
        return as_chart(figure, identity, title, ". ".join(said) + ".")


def heads(findings: Findings, identity: str) -> Chart | None:
    """Mean IoU of both heads of IIC with both mappings, by data set; None where there is nothing to draw."""
    data = findings.data_of_iic
    kinds = [(head, mapping) for head in ("aux", "main") for mapping in ("oracle", "stored")]
    found = {
        (g, c): next(
            (x for x in findings.clusters(data_set) if (x.head, x.mapping, x.state) == (*kind, "best-final")), None
        )
        for g, data_set in enumerate(data)
        for c, kind in enumerate(kinds)
    }
    if all(cell is None or cell.estimate is None for cell in found.values()):
        return None
    with drawing(WIDE) as (figure, axes):
        width = GROUP_WIDTH / len(kinds)
        for c, (head, mapping) in enumerate(kinds):
            places = [g + (c - (len(kinds) - 1) / 2) * width for g in range(len(data))]
            cells = [found[g, c] for g in range(len(data))]
            name = words.head(head, mapping)
            _draw_bars(axes, places, cells, width, colour(head), HATCHES[mapping == "stored"], name)
        crosses = [
            (g + (c - (len(kinds) - 1) / 2) * width, value)
            for g, data_set in enumerate(data)
            for c, (head, mapping) in enumerate(kinds)
            if mapping == "oracle" and (value := published_head(data_set, head)) is not None
        ]
        _draw_crosses(axes, crosses)
        said: list[str] = []
        for g, data_set in enumerate(data):
            parts = [_said(words.head(head, mapping), found[g, c]) for c, (head, mapping) in enumerate(kinds)]
            otsu = findings.otsu(data_set)
            if otsu is not None:
                label = "" if any("Otsu" in each for each in said) else "Otsu"
                ends = (g - GROUP_WIDTH / 2, g + GROUP_WIDTH / 2)
                axes.hlines(otsu, *ends, color=GREY, linestyle=OTSU_LINE, linewidth=1.4, label=label)
                parts.append(f"{words.baseline('otsu')} {words.score(otsu)}")
            said.append(f"{data_set}: " + "; ".join(parts))
        _finish(axes, data)
        legend_below(figure, axes, [words.head(*kind) for kind in kinds], columns=2)
        title = "Mean IoU of training without labels, by data set and head"
        said += ["Crosses are the paper’s single runs"] if crosses else []
        return as_chart(figure, identity, title, ". ".join(said) + ".")


def _draw_bars(
    axes: Axes, places: Sequence[float], cells: Sequence[Cell | None], width: float, shade: str, hatch: str, name: str
) -> None:
    shown = [
        (x, cell, cell.estimate) for x, cell in zip(places, cells, strict=True) if cell is not None and cell.estimate
    ]
    if not shown:
        return
    axes.bar(
        [x for x, _, _ in shown],
        [found.mean for _, _, found in shown],
        0.92 * width,
        facecolor="white" if hatch else shade,
        edgecolor=shade,
        hatch=hatch,
        linewidth=0.9,
        label=name,
    )
    for x, cell, found in shown:
        _draw_whisker(axes, x, found)
        values = [value for run in cell.runs if (value := _score(run, cell)) is not None]
        offsets = np.linspace(-1, 1, len(values)) * DOTS_SPREAD * width / 2 if len(values) > 1 else [0.0]
        axes.plot(
            x + np.asarray(offsets), values, "o", markersize=2.6, markerfacecolor="white", markeredgecolor=INK,
            markeredgewidth=0.7, zorder=4,
        )  # fmt: skip


def _score(run: RunResult, cell: Cell) -> float | None:
    row = run.row(cell.state, cell.head, cell.mapping)
    return None if row is None else row.mean_iou


def _draw_whisker(axes: Axes, x: float, found: Estimate) -> None:
    if found.interval is not None:
        # Student's interval knows nothing of the range of an IoU.
        low, high = max(0.0, found.interval.low), min(1.0, found.interval.high)
        axes.errorbar(
            x, found.mean, [[found.mean - low], [high - found.mean]], color=INK, linewidth=0.9, capsize=2.2, zorder=3
        )


def _draw_control(axes: Axes, control: Sequence[Cell | None]) -> None:
    label = "control, same labels"
    for g, cell in enumerate(control):
        if cell is None or cell.estimate is None:
            continue
        ends = (g - GROUP_WIDTH / 2 - 0.03, g + GROUP_WIDTH / 2 + 0.03)
        axes.hlines(cell.estimate.mean, *ends, color=INK, linewidth=1.6, label=label, zorder=3.5)
        label = ""


def _draw_published(
    axes: Axes, data: str, columns: Sequence[Column], titles: Sequence[str], width: float
) -> list[tuple[float, float]]:
    crosses = [
        (g + (c - (len(columns) - 1) / 2) * width, value)
        for g, title in enumerate(titles)
        for c, column in enumerate(columns)
        if (value := published(data, *column, title)) is not None
    ]
    _draw_crosses(axes, crosses)
    return crosses


def _draw_crosses(axes: Axes, crosses: Sequence[tuple[float, float]]) -> None:
    if crosses:
        x, y = zip(*crosses, strict=True)
        axes.plot(x, y, "x", color=INK, markersize=5, markeredgewidth=1.3, label="the paper, one run", zorder=5)


def _finish(axes: Axes, groups: Sequence[str]) -> None:
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.tick_params(axis="x", length=0)
    # Bars begin at 0: their lengths are compared.
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_locator(MultipleLocator(0.2))
    axes.set_ylabel("mean IoU")


def _hatch(columns: Sequence[Column], column: Column) -> str:
    states = list(dict.fromkeys(state for _, state in columns))
    return HATCHES[states.index(column[1]) % len(HATCHES)]


def _said(name: str, cell: Cell | None) -> str:
    if cell is None or cell.estimate is None:
        return f"{name} no run"
    return f"{name} {words.estimate(cell.estimate)}"
