"""Reliability curves: the share of right pixels against how sure the network was of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from bioseg_cli.evaluation.document import CalibrationRecord, ReliabilityBin
from bioseg_cli.report import words
from bioseg_cli.report.charts import GREY, SMALL, as_chart, drawing, look
from bioseg_cli.report.findings import Findings
from bioseg_cli.study.grid import CONTROL, Budget


def reliability(findings: Findings, data: str, budget: Budget, identity: str) -> Markup | None:
    """Accuracy against confidence, a line a method, its runs together; None where no run has been scored so."""
    found: dict[str, list[CalibrationRecord]] = {}
    for run in findings.results.runs:
        if (run.data, run.budget) == (data, budget):
            row = run.row(findings.state)
            if row is not None and row.calibration is not None:
                found.setdefault(run.loss, []).append(row.calibration)
    if not found:
        return None
    with drawing(SMALL) as axes:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="as sure as right")
        said = []
        for loss in sorted(found, key=lambda loss: loss != CONTROL):
            runs = found[loss]
            _draw(axes, pooled([run.reliability_before for run in runs]), loss, after=False)
            _draw(axes, pooled([run.reliability for run in runs]), loss, after=True)
            before = sum(run.ece_before for run in runs) / len(runs)
            after = sum(run.ece for run in runs) / len(runs)
            said.append(
                f"{words.method(loss)}, {words.counted(len(runs), 'run')}: expected calibration error {before:.4f} "
                f"before and {after:.4f} after the temperature"
            )
        lowest = min(place.confidence for runs in found.values() for run in runs for place in run.reliability)
        axes.set(xlim=(min(lowest, 0.5), 1), ylim=(0, 1))
        axes.set(title=words.labels(budget), xlabel="confidence", ylabel="share of right pixels")
        title = f"Reliability on {data}, {words.labels(budget)}"
        return as_chart(axes, identity, title, words.capitalised("; ".join(said)) + ".")


def pooled(curves: Sequence[Sequence[ReliabilityBin]]) -> list[tuple[float, float]]:
    """Mean confidence and share of right pixels of each bin, the pixels of all curves together."""
    sums: dict[float, tuple[int, float, float]] = {}
    for place in (place for curve in curves for place in curve):
        pixels, confidence, right = sums.get(place.above, (0, 0.0, 0.0))
        count = place.pixels
        sums[place.above] = (pixels + count, confidence + count * place.confidence, right + count * place.accuracy)
    return [(confidence / pixels, right / pixels) for _, (pixels, confidence, right) in sorted(sums.items())]


def _draw(axes: Axes, points: Sequence[tuple[float, float]], loss: str, *, after: bool) -> None:
    style: dict[str, Any] = {"color": look(loss).colour, "linestyle": ":", "linewidth": 0.7, "alpha": 0.8}
    if after:
        style = {"marker": look(loss).marker, "markersize": 3, "linewidth": 1.2, **look(loss).line}
        style["label"] = words.method(loss)
    axes.plot(*zip(*points, strict=True), **style)
