"""Bars with their intervals: methods by label budget as in the paper's Figure 3, heads of IIC as in its Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from bioseg_cli.report import words
from bioseg_cli.report.charts import CEILING_LINE, GREY, HATCHES, INK, OTSU_LINE, WIDE, as_chart, drawing, look
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.grid import CONTROL

GROUP_WIDTH = 0.84
"""Share of its place that a group of bars takes."""
DOTS_SPREAD = 0.4
"""Share of a bar's width over which the dots of its runs lie side by side."""
OTSU: Any = {"color": GREY, "linestyle": OTSU_LINE, "linewidth": 1.4, "label": "Otsu"}


class Series(NamedTuple):
    """Bars of one name, one in each group, with the paper's figures for them."""

    name: str
    colour: str
    hatch: str
    cells: Sequence[Cell | None]
    published: Sequence[float | None]


def pipelines(findings: Findings, data: str, identity: str) -> Markup | None:
    """Mean IoU by label budget and method; None where there is nothing to draw."""
    budgets = findings.budgets(data, with_all=False)
    every = findings.columns(data)
    columns = [column for column in every if column[0] != CONTROL] or every
    states = list(dict.fromkeys(state for _, state in columns))
    series = [
        Series(
            words.output(loss, state),
            look(loss).colour,
            HATCHES[states.index(state) % len(HATCHES)],
            [findings.cell(data, (loss, state), budget) for budget in budgets],
            [published(data, loss, state, budget.title) for budget in budgets],
        )
        for loss, state in columns
    ]
    if _nothing(series):
        return None
    said = _said(series, [words.labels(budget) for budget in budgets])
    groups = [words.labels(budget).replace(" (", "\n").rstrip(")") for budget in budgets]
    with drawing(WIDE) as axes:
        _draw(axes, series, groups)
        if columns != every:
            control = [findings.cell(data, (CONTROL, findings.state), budget) for budget in budgets]
            style: Any = {"color": INK, "linewidth": 1.6, "zorder": 3.5}
            _draw_levels(axes, list(map(_mean, control)), 0.03, label="control, same labels", **style)
            said = [f"{text}; {_value(words.method(CONTROL), cell)}" for text, cell in zip(said, control, strict=True)]
        top, otsu = findings.ceiling(data), findings.otsu(data)
        if top is not None:
            axes.axhline(top.mean, color=INK, linestyle=CEILING_LINE, linewidth=1, label="control, all labels")
            said.append(f"{words.capitalised(words.method(CONTROL))} with all labels: {words.score(top.mean)}")
        if otsu is not None:
            axes.axhline(otsu, **OTSU)
            said.append(f"{words.baseline('otsu')}: {words.score(otsu)}")
        return _chart(axes, series, identity, f"Mean IoU on {data} by method and label budget", said)


def heads(findings: Findings, identity: str) -> Markup | None:
    """Mean IoU of both heads of IIC with both mappings, by data set; None where there is nothing to draw."""
    names = findings.data_of_iic
    cells = {(cell.data, cell.head, cell.mapping, cell.state): cell for cell in findings.cells}
    series = [
        Series(
            words.head(head, mapping),
            look(head).colour,
            HATCHES[mapping == "stored"],
            [cells.get((data, head, mapping, "best-final")) for data in names],
            [published_head(data, head) if mapping == "oracle" else None for data in names],
        )
        for head in ("aux", "main")
        for mapping in ("oracle", "stored")
    ]
    if _nothing(series):
        return None
    otsu = [findings.otsu(data) for data in names]
    said = [
        text if level is None else f"{text}; {words.baseline('otsu')} {words.score(level)}"
        for text, level in zip(_said(series, names), otsu, strict=True)
    ]
    with drawing(WIDE) as axes:
        _draw(axes, series, names)
        _draw_levels(axes, otsu, **OTSU)
        title = "Mean IoU of training without labels, by data set and head"
        return _chart(axes, series, identity, title, said)


def _nothing(series: Sequence[Series]) -> bool:
    return all(_mean(cell) is None for bars in series for cell in bars.cells)


def _said(series: Sequence[Series], groups: Sequence[str]) -> list[str]:
    """What the bars of each group show, in words."""
    return [
        f"{group}: " + "; ".join(_value(bars.name, bars.cells[place]) for bars in series)
        for place, group in enumerate(groups)
    ]


def _value(name: str, cell: Cell | None) -> str:
    return f"{name} " + ("no run" if cell is None or cell.estimate is None else words.estimate(cell.estimate))


def _mean(cell: Cell | None) -> float | None:
    return None if cell is None or cell.estimate is None else cell.estimate.mean


def _draw(axes: Axes, series: Sequence[Series], groups: Sequence[str]) -> None:
    """The bars side by side in each group, and the paper's figures as crosses."""
    width = GROUP_WIDTH / len(series)
    crosses = []
    for number, bars in enumerate(series):
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        _draw_bars(axes, bars, places, width)
        crosses += [(place, value) for place, value in zip(places, bars.published, strict=True) if value is not None]
    if crosses:
        style: Any = {"color": INK, "markersize": 5, "markeredgewidth": 1.3, "zorder": 5}
        axes.plot(*zip(*sorted(crosses), strict=True), "x", label="the paper, one run", **style)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    # Bars begin at 0: their lengths are compared.
    axes.set(xlim=(-0.55, len(groups) - 0.45), ylim=(0, 1), ylabel="mean IoU")
    axes.yaxis.set_major_locator(MultipleLocator(0.2))


def _draw_bars(axes: Axes, bars: Series, places: Sequence[float], width: float) -> None:
    cells = zip(places, bars.cells, strict=True)
    shown = [(x, cell, cell.estimate) for x, cell in cells if cell is not None and cell.estimate is not None]
    if shown:
        style: Any = {"facecolor": "white" if bars.hatch else bars.colour, "edgecolor": bars.colour, "linewidth": 0.9}
        means = [found.mean for _, _, found in shown]
        axes.bar([x for x, _, _ in shown], means, 0.92 * width, hatch=bars.hatch, label=bars.name, **style)
    for x, cell, found in shown:
        if found.interval is not None:
            # Student's interval knows nothing of the range of an IoU.
            low, high = max(0.0, found.interval.low), min(1.0, found.interval.high)
            lengths = [[found.mean - low], [high - found.mean]]
            axes.errorbar(x, found.mean, lengths, color=INK, linewidth=0.9, capsize=2.2, zorder=3)
        spread = DOTS_SPREAD * width / 2 * (len(cell.scores) > 1)
        style = {"markersize": 2.6, "markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 0.7}
        axes.plot(x + np.linspace(-spread, spread, len(cell.scores)), cell.scores, "o", zorder=4, **style)


def _draw_levels(axes: Axes, levels: Sequence[float | None], room: float = 0.0, *, label: str, **style: Any) -> None:
    """A line across each group."""
    for group, level in enumerate(levels):
        if level is not None:
            axes.hlines(level, group - GROUP_WIDTH / 2 - room, group + GROUP_WIDTH / 2 + room, label=label, **style)
            label = ""


def _chart(axes: Axes, series: Sequence[Series], identity: str, title: str, said: list[str]) -> Markup:
    if any(value is not None for bars in series for value in bars.published):
        said.append("Crosses are the paper’s single runs")
    return as_chart(axes, identity, title, ". ".join(said) + ".", first=[bars.name for bars in series], columns=2)
