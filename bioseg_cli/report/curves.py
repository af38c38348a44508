"""Lines: mean IoU against the number of labelled images, learning curves, and the signs of collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from bioseg_cli.report import words
from bioseg_cli.report.charts import (
    CEILING_LINE,
    FOREST_LINE,
    GREY,
    INK,
    OTSU_LINE,
    SMALL,
    WIDE,
    as_chart,
    drawing,
    look,
)
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.records import RunRecord
from bioseg_cli.study.forest import forest_points
from bioseg_cli.study.grid import CONTROL, IIC, Budget
from bioseg_cli.study.statistics import Estimate

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


class Point(NamedTuple):
    """What a method reaches with so many labelled images: the mean, and each run."""

    labelled: int
    mean: Estimate
    scores: Sequence[float]


def efficiency(findings: Findings, data: str, identity: str) -> Markup | None:
    """Mean IoU against labelled images with intervals, a line a method; None with fewer than two budgets."""
    budgets = findings.budgets(data, with_all=False)
    found = {loss: _points(findings, data, loss, budgets) for loss in findings.losses(data)}
    found = {loss: points for loss, points in found.items() if points}
    if max(map(len, found.values()), default=0) < 2:
        return None
    forests = forest_points(findings.results.baselines.get(data, ()))
    forests = [point for point in forests if point[0] in {budget.count for budget in budgets}]
    references = _references(findings, data)
    with drawing(WIDE) as axes:
        _frame(axes, found, [value for value, _, _ in references] + [value for _, value in forests])
        for place, (loss, points) in enumerate(found.items()):
            _draw_method(axes, loss, points, place - (len(found) - 1) / 2)
        for value, name, style in references:
            _draw_reference(axes, value, name, style)
        if forests:
            _draw_forests(axes, forests)
        _label_axes(axes, budgets, f"mean IoU, {words.state(findings.state)}")
        said = [
            f"{words.capitalised(words.method(loss))}: "
            + ", ".join(f"{words.estimate(point.mean)} with {point.labelled}" for point in points)
            for loss, points in found.items()
        ]
        said += [f"{words.capitalised(name)}: {words.score(value)}" for value, name, _ in references]
        if forests:
            listed = ", ".join(f"{words.score(value)} with {count}" for count, value in forests)
            said.append(f"Random forest on filters: {listed}")
        title = f"Mean IoU on {data} against the number of labelled images"
        return as_chart(axes, identity, title, ". ".join(said) + ".")


def _points(findings: Findings, data: str, loss: str, budgets: Sequence[Budget]) -> list[Point]:
    cells = [(budget.count, findings.cell(data, (loss, findings.state), budget)) for budget in budgets]
    return [
        Point(count, cell.estimate, cell.scores)
        for count, cell in cells
        if cell is not None and cell.estimate is not None
    ]


def _references(findings: Findings, data: str) -> list[tuple[float, str, Any]]:
    """What the curves are held against: value, name, line style."""
    found: list[tuple[float, str, Any]] = []
    top, otsu = findings.ceiling(data), findings.otsu(data)
    if top is not None:
        found.append((top.mean, "control, all labels", CEILING_LINE))
    if otsu is not None:
        found.append((otsu, "Otsu", OTSU_LINE))
    return found


def _frame(axes: Axes, found: Mapping[str, Sequence[Point]], references: Sequence[float]) -> None:
    """Show every run, and each interval that does not make the frame much larger.

    References too, unless they lie so far off that the curves would be flat.
    """
    points = [point for of_method in found.values() for point in of_method]
    values = [score for point in points for score in point.scores]
    widest = max(max(values) - min(values), SMALLEST_FRAME)
    intervals = [point.mean.interval for point in points if point.mean.interval is not None]
    values += [limit for each in intervals if each.high - each.low <= widest for limit in (each.low, each.high)]
    low, high = min(values), max(values)
    room = max(high - low, SMALLEST_FRAME)
    near = [value for value in references if low - 1.5 * room <= value <= high + 1.5 * room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.12 * max(high - low, SMALLEST_FRAME)
    axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin))


def _draw_method(axes: Axes, loss: str, points: Sequence[Point], place: float) -> None:
    """A line with intervals, shifted: at one place the intervals of two methods would hide each other."""
    shift = ScaledTranslation(place * APART / 72, 0, axes.figure.dpi_scale_trans)
    style: Any = {"color": look(loss).colour, "transform": axes.transData + shift}
    dotted: Any = {"linestyle": look(loss).linestyle, "marker": look(loss).marker, "markersize": 5, "zorder": 3}
    counts, means = [point.labelled for point in points], [point.mean.mean for point in points]
    axes.plot(counts, means, label=words.method(loss), **dotted, **style)
    known = [(point.labelled, point.mean.interval) for point in points if point.mean.interval is not None]
    shown = [count for count, _ in known]
    low, high = [interval.low for _, interval in known], [interval.high for _, interval in known]
    axes.vlines(shown, low, high, linewidth=0.8, **style)
    bottom, top = axes.get_ylim()
    if known and min(low) >= bottom and max(high) <= top:
        axes.fill_between(shown, low, high, alpha=BAND, linewidth=0, **style)


def _draw_reference(axes: Axes, value: float, name: str, style: Any) -> None:
    low, high = axes.get_ylim()
    line: Any = {"color": INK if style == CEILING_LINE else GREY, "linestyle": style, "linewidth": 1.2}
    if low <= value <= high:
        axes.axhline(value, label=name, **line)
    else:
        where = "below" if value < low else "above"
        axes.plot([], [], label=f"{name}: {value:.3f}, {where} the frame", **line)


def _draw_forests(axes: Axes, forests: Sequence[tuple[int, float]]) -> None:
    low, high = axes.get_ylim()
    outside = sum(not low <= value <= high for _, value in forests)
    label = "forest" + (f" ({outside} of {len(forests)} outside the frame)" if outside else "")
    axes.plot(*zip(*forests, strict=True), "x", color=GREY, linestyle=FOREST_LINE, linewidth=1.2, label=label)


def _label_axes(axes: Axes, budgets: Sequence[Budget], measure: str) -> None:
    """Ticks at the label budgets, and names."""
    counts = [budget.count for budget in budgets]
    margin = 0.08 * (counts[-1] - counts[0])
    axes.set_xlim(counts[0] - margin, counts[-1] + margin)
    if counts[-1] >= LOGARITHMIC_FROM * counts[0]:
        axes.set_xscale("log")
        wider = (counts[-1] / counts[0]) ** 0.08
        axes.set_xlim(counts[0] / wider, counts[-1] * wider)
    names = [f"{each.count}\n{each.title}" if "label" not in each.title else str(each.count) for each in budgets]
    axes.set_xticks(counts, names)
    axes.minorticks_off()
    axes.set(xlabel="labelled images", ylabel=measure)


def learning(records: Sequence[RunRecord], data: str, budget: Budget, identity: str) -> Markup | None:
    """Validation mean IoU against updates, a line a run; None where no run has a log."""
    shown = [
        record for record in records
        if (record.run.data, record.run.budget) == (data, budget)
        and record.metrics.get("val_mean_iou") and record.metrics.get("updates")
    ]  # fmt: skip
    if not shown:
        return None
    with drawing(SMALL) as axes:
        ends: dict[str, list[float]] = {}
        for record in sorted(shown, key=lambda record: record.run.loss != CONTROL):
            loss, updates, values = record.run.loss, record.metrics["updates"], record.metrics["val_mean_iou"]
            label = None if loss in ends else words.method(loss)
            axes.plot(updates, values, label=label, linewidth=1.1, alpha=0.85, **look(loss).line)
            axes.plot(updates[-1:], values[-1:], look(loss).marker, color=look(loss).colour, markersize=3.5)
            ends.setdefault(loss, []).append(values[-1])
        every = np.concatenate([record.metrics["val_mean_iou"] for record in shown])
        low, high = float(np.percentile(every, FIRST_EPOCHS)), float(every.max())
        margin = 0.08 * max(high - low, 0.01)
        axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin))
        axes.set_xlim(left=0)
        axes.set(title=words.labels(budget), xlabel="updates", ylabel="validation mean IoU")
        said = [
            f"{words.counted(len(last), 'run')} of {words.method(loss)}, {_range(last)} at the end"
            for loss, last in ends.items()
        ]
        title = f"Validation mean IoU on {data} against updates, {words.labels(budget)}"
        return as_chart(axes, identity, title, words.capitalised("; ".join(said)) + ".")


def collapse(records: Sequence[RunRecord], data: str, measure: str, identity: str) -> Markup | None:
    """A sign of collapse against epochs, a line a run and head; None where no run has a log."""
    logs = [
        (record.run, record.metrics["epoch"], record.metrics)
        for record in records
        if (record.run.data, record.run.loss) == (data, IIC) and record.metrics.get("epoch")
    ]
    heads = [head for head in ("main", "aux") if any(metrics.get(f"val_{head}_{measure}") for _, _, metrics in logs)]
    if not heads:
        return None
    # Here, as it brings torch: only runs of IIC need it.
    from bioseg_cli.training.collapse import ONE_CLUSTER_ENTROPY, UNDECIDED

    with drawing(SMALL) as axes:
        said = []
        for head in heads:
            ends: list[float] = []
            for run, epochs, metrics in logs:
                if values := metrics.get(f"val_{head}_{measure}"):
                    label = None if ends else words.HEADS[head]
                    axes.plot(epochs, values, label=label, linewidth=1.1, **look(head).line)
                    fell = any(head in each for each in run.collapse.values())
                    marker, size, edge = ("x", 6, 1.6) if fell else (look(head).marker, 4, 1)
                    style: Any = {"color": look(head).colour, "markersize": size, "markeredgewidth": edge}
                    axes.plot(epochs[-1:], values[-1:], marker, **style)
                    ends.append(values[-1])
            said.append(f"{words.HEADS[head]}: {_range(ends)} after the last epoch")
        limit = {"marginal_entropy": ONE_CLUSTER_ENTROPY, "pixel_entropy": UNDECIDED}.get(measure)
        if limit is not None:
            axes.axhline(limit, color=GREY, linestyle=OTSU_LINE, linewidth=1.2)
            axes.set_ylim(-0.03, 1.03)
            side = "below" if measure == "marginal_entropy" else "above"
            said.append(f"{side} {limit:g} a head has collapsed")
        else:
            axes.set_ylim(bottom=0)
        unit = "clusters" if measure == "live_clusters" else "share of log K"
        axes.set(title=words.capitalised(MEASURES[measure]), xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        title = f"{words.capitalised(MEASURES[measure])} on {data} against epochs"
        return as_chart(axes, identity, title, words.capitalised("; ".join(said)) + ".")


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
