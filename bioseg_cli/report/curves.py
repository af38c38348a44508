"""Lines: mean IoU against the number of labelled images, learning curves, and the signs of collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform

from bioseg_cli.report import words
from bioseg_cli.report.charts import (
    CEILING_LINE,
    FOREST_LINE,
    GREY,
    INK,
    OTSU_LINE,
    SMALL,
    WIDE,
    Chart,
    as_chart,
    colour,
    drawing,
    legend_below,
    line,
    marker,
)
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.records import RunRecord
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.forest import forest_points
from bioseg_cli.study.grid import CONTROL, IIC, Budget

LOGARITHMIC_FROM = 8
"""Largest over smallest label budget from which on the axis of labels is logarithmic."""
APART = 4.0
"""Points between the lines of two methods."""
SMALLEST_FRAME = 0.01
"""Smaller differences of mean IoU are not enlarged further."""
BAND = 0.13
"""Opacity of an interval."""
FIRST_EPOCHS = 5
"""Per cent of the points of learning curves, the lowest, that may lie below the frame."""
MEASURES = {
    "marginal_entropy": "entropy of the mean prediction",
    "pixel_entropy": "mean entropy of a pixel",
    "live_clusters": "clusters with over 1 % of the area",
}


def efficiency(findings: Findings, data: str, identity: str) -> Chart | None:
    """Mean IoU against labelled images with intervals, a line a method; None with fewer than two budgets."""
    budgets = findings.budgets(data, with_all=False)
    losses = list(dict.fromkeys(loss for loss, _ in findings.columns(data)))
    found = {
        loss: [
            cell
            for budget in budgets
            if (cell := findings.cell(data, (loss, findings.state), budget)) is not None and cell.estimate is not None
        ]
        for loss in [CONTROL] * (CONTROL in losses) + [loss for loss in losses if loss != CONTROL]
    }
    if len(budgets) < 2 or max(map(len, found.values()), default=0) < 2:
        return None
    references = _references(findings, data)
    with drawing(WIDE) as (figure, axes):
        values = [value for cells in found.values() for cell in cells for value in _run_scores(findings, cell)]
        values += _narrow_limits(found, max(values) - min(values))
        forests = _forests(findings, data, budgets)
        _frame(axes, values, [value for value, _, _ in references] + [value for _, value in forests])
        drawn = [loss for loss, cells in found.items() if cells]
        for place, loss in enumerate(drawn):
            # Side by side, as intervals at one place would hide each other.
            apart = ScaledTranslation((place - (len(drawn) - 1) / 2) * APART / 72, 0, figure.dpi_scale_trans)
            _draw_efficiency(axes, loss, found[loss], axes.transData + apart)
        for value, name, style in references:
            _draw_reference(axes, value, name, style)
        if forests:
            counts_of, means_of = zip(*forests, strict=True)
            axes.plot(
                counts_of,
                means_of,
                "x",
                color=GREY,
                linestyle=FOREST_LINE,
                linewidth=1.2,
                label=_forest_name(axes, means_of),
            )
        counts = [budget.count for budget in budgets]
        margin = 0.08 * (counts[-1] - counts[0])
        axes.set_xlim(counts[0] - margin, counts[-1] + margin)
        if counts[-1] >= LOGARITHMIC_FROM * counts[0]:
            axes.set_xscale("log")
            wider = (counts[-1] / counts[0]) ** 0.08
            axes.set_xlim(counts[0] / wider, counts[-1] * wider)
        axes.set_xticks(counts, [_tick(budget) for budget in budgets])
        axes.minorticks_off()
        axes.set_xlabel("labelled images")
        axes.set_ylabel(f"mean IoU, {words.state(findings.state)}")
        legend_below(figure, axes)
        said = [
            f"{words.capitalised(words.method(loss))}: "
            + ", ".join(
                f"{words.estimate(cell.estimate)} with {cell.budget.count}"
                for cell in cells
                if cell.estimate is not None and cell.budget is not None
            )
            for loss, cells in found.items()
            if cells
        ]
        said += [f"{words.capitalised(name)}: {words.score(value)}" for value, name, _ in references]
        if forests:
            listed = ", ".join(f"{words.score(value)} with {count}" for count, value in forests)
            said.append(f"Random forest on filters: {listed}")
        title = f"Mean IoU on {data} against the number of labelled images"
        return as_chart(figure, identity, title, ". ".join(said) + ".")


def _draw_efficiency(axes: Axes, loss: str, cells: Sequence[Cell], where: Transform) -> None:
    points = [
        (cell.budget.count, cell.estimate) for cell in cells if cell.budget is not None and cell.estimate is not None
    ]
    counts = [count for count, _ in points]
    means = [found.mean for _, found in points]
    style: Any = {"color": colour(loss), "linestyle": line(loss), "marker": marker(loss), "markersize": 5}
    axes.plot(counts, means, label=words.method(loss), zorder=3, transform=where, **style)
    bottom, top = axes.get_ylim()
    known = [(count, found.interval) for count, found in points if found.interval is not None]
    shown = [count for count, _ in known]
    low, high = [interval.low for _, interval in known], [interval.high for _, interval in known]
    axes.vlines(shown, low, high, color=colour(loss), linewidth=0.8, transform=where)
    if known and min(low) >= bottom and max(high) <= top:
        axes.fill_between(shown, low, high, color=colour(loss), alpha=BAND, linewidth=0, transform=where)


def _references(findings: Findings, data: str) -> list[tuple[float, str, Any]]:
    """What the curves are held against: value, name, line style."""
    found: list[tuple[float, str, Any]] = []
    top, otsu = findings.ceiling(data), findings.otsu(data)
    if top is not None:
        found.append((top.mean, "control, all labels", CEILING_LINE))
    if otsu is not None:
        found.append((otsu, "Otsu", OTSU_LINE))
    return found


def _forests(findings: Findings, data: str, budgets: Sequence[Budget]) -> list[tuple[int, float]]:
    counts = {budget.count for budget in budgets}
    return [point for point in forest_points(findings.results.baselines.get(data, ())) if point[0] in counts]


def _forest_name(axes: Axes, means: Sequence[float]) -> str:
    low, high = axes.get_ylim()
    outside = sum(not low <= value <= high for value in means)
    return "forest" + (f" ({outside} of {len(means)} outside the frame)" if outside else "")


def _run_scores(findings: Findings, cell: Cell) -> list[float]:
    if cell.budget is None:
        return []
    return list(findings.results.values(cell.data, cell.loss, cell.budget.count, cell.state).values())


def _narrow_limits(found: Mapping[str, Sequence[Cell]], spread: float) -> list[float]:
    """The limits of intervals that fit in a frame for single runs without making it much larger."""
    intervals = [cell.estimate.interval for cells in found.values() for cell in cells if cell.estimate is not None]
    return [
        limit
        for interval in intervals
        if interval is not None and interval.high - interval.low <= max(spread, SMALLEST_FRAME)
        for limit in (interval.low, interval.high)
    ]


def _frame(axes: Axes, values: Sequence[float], references: Sequence[float]) -> None:
    """Show every run; references too, unless they lie so far off that the curves would be flat."""
    low, high = min(values), max(values)
    room = max(high - low, SMALLEST_FRAME)
    near = [value for value in references if low - 1.5 * room <= value <= high + 1.5 * room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.12 * max(high - low, SMALLEST_FRAME)
    axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin))


def _draw_reference(axes: Axes, value: float, name: str, style: Any) -> None:
    low, high = axes.get_ylim()
    shade = INK if style == CEILING_LINE else GREY
    if low <= value <= high:
        axes.axhline(value, color=shade, linestyle=style, linewidth=1.2, label=name)
        return
    where = "below" if value < low else "above"
    axes.plot([], [], color=shade, linestyle=style, linewidth=1.2, label=f"{name}: {value:.3f}, {where} the frame")


def _tick(budget: Budget) -> str:
    return f"{budget.count}\n{budget.title}" if "label" not in budget.title else str(budget.count)


def learning(records: Sequence[RunRecord], data: str, budget: Budget, identity: str) -> Chart | None:
    """Validation mean IoU against updates, a line a run; None where no run has a log."""
    shown = [
        record for record in records
        if (record.run.data, record.run.budget) == (data, budget) and record.metrics.get("val_mean_iou")
    ]  # fmt: skip
    if not shown:
        return None
    shown.sort(key=lambda record: record.run.loss != CONTROL)
    with drawing(SMALL) as (figure, axes):
        drawn: dict[str, list[float]] = {}
        for record in shown:
            loss, values = record.run.loss, record.metrics["val_mean_iou"]
            style = {"color": colour(loss), "linestyle": line(loss), "linewidth": 1.1, "alpha": 0.85}
            axes.plot(record.metrics["updates"], values, label=None if loss in drawn else words.method(loss), **style)
            axes.plot(record.metrics["updates"][-1:], values[-1:], marker(loss), color=colour(loss), markersize=3.5)
            drawn.setdefault(loss, []).append(values[-1])
        every = np.concatenate([record.metrics["val_mean_iou"] for record in shown])
        low, high = float(np.percentile(every, FIRST_EPOCHS)), float(every.max())
        margin = 0.08 * max(high - low, 0.01)
        axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin))
        axes.set_xlim(left=0)
        axes.set_title(words.labels(budget))
        axes.set_xlabel("updates")
        axes.set_ylabel("validation mean IoU")
        legend_below(figure, axes)
        said = [
            f"{words.counted(len(ends), 'run')} of {words.method(loss)}, {_range(ends)} at the end"
            for loss, ends in drawn.items()
        ]
        title = f"Validation mean IoU on {data} against updates, {words.labels(budget)}"
        return as_chart(figure, identity, title, words.capitalised("; ".join(said)) + ".")


def collapse(records: Sequence[RunRecord], data: str, measure: str, identity: str) -> Chart | None:
    """A sign of collapse against epochs, a line a run and head; None where no run has a log."""
    shown = [
        record
        for record in records
        if (record.run.data, record.run.loss) == (data, IIC) and record.metrics.get("epoch")
    ]
    heads = [head for head in ("main", "aux") if any(record.metrics.get(f"val_{head}_{measure}") for record in shown)]
    if not heads:
        return None
    with drawing(SMALL) as (figure, axes):
        said = []
        for head in heads:
            ends: list[float] = []
            for record in shown:
                values = record.metrics.get(f"val_{head}_{measure}")
                if not values:
                    continue
                fell = any(head in each for each in record.run.collapse.values())
                style = {"color": colour(head), "linestyle": line(head), "linewidth": 1.1}
                axes.plot(record.metrics["epoch"], values, label=None if ends else words.HEADS[head], **style)
                end: Any = {
                    "color": colour(head),
                    "markersize": 6 if fell else 4,
                    "markeredgewidth": 1.6 if fell else 1,
                }
                axes.plot(record.metrics["epoch"][-1:], values[-1:], "x" if fell else marker(head), **end)
                ends.append(values[-1])
            said.append(f"{words.HEADS[head]}: {_range(ends)} after the last epoch")
        if (limit := _limit(measure)) is not None:
            axes.axhline(limit, color=GREY, linestyle=OTSU_LINE, linewidth=1.2)
            axes.set_ylim(-0.03, 1.03)
            side = "below" if measure == "marginal_entropy" else "above"
            said.append(f"{side} {limit:g} a head has collapsed")
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(words.capitalised(MEASURES[measure]))
        axes.set_xlabel("epoch")
        axes.set_ylabel("clusters" if measure == "live_clusters" else "share of log K")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend_below(figure, axes)
        title = f"{words.capitalised(MEASURES[measure])} on {data} against epochs"
        return as_chart(figure, identity, title, words.capitalised("; ".join(said)) + ".")


def _limit(measure: str) -> float | None:
    # Here, as it brings torch: only runs of IIC need it.
    from bioseg_cli.training.collapse import ONE_CLUSTER_ENTROPY, UNDECIDED

    return {"marginal_entropy": ONE_CLUSTER_ENTROPY, "pixel_entropy": UNDECIDED}.get(measure)


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
