"""The tables of differences: who is ahead, by how much of the control, and where more labels gave less."""

from __future__ import annotations

from collections.abc import Sequence

from bioseg_cli.report import words
from bioseg_cli.report.findings import Findings, Verdict
from bioseg_cli.report.markup import Markup, joined, tag
from bioseg_cli.report.paper import PIPELINES
from bioseg_cli.report.tables import FootNotes, scrolling
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.statistics import Comparison

LEADS = {True: "clear", False: "not clear", None: "cannot be told"}
BETTER, WORSE = "better than the control", "worse than the control"
UNCLEAR, UNTOLD = "no clear difference", "cannot be told"


def ahead(findings: Findings) -> Markup:
    """Which method has the highest mean at each label budget, and whether that is clear."""
    rows = [tag("tr", *_ahead_cells(findings, one)) for one in findings.verdicts]
    heading = ("Data set", "Labelled images", "Highest mean IoU", "Difference to the control (95 % interval)", "Lead")
    table = tag("table", _heads(heading), tag("tbody", *rows), class_="words")
    return scrolling(table, "The method that is ahead at each label budget")


def _ahead_cells(findings: Findings, one: Verdict) -> list[Markup]:
    best, told_by = one.best, one.told_by
    mean = "" if best.estimate is None else words.score(best.estimate.mean)
    difference: str = "no control with the same labels and seeds"
    if told_by is not None and told_by.control is not None:
        which = f"{words.method(told_by.loss)} "
        difference = joined([which, tag("span", _difference(told_by.control), class_="tabular")])
    otsu = next((row for row in findings.results.baselines.get(one.data, ()) if row.name == "otsu"), None)
    reading: list[str] = [tag("span", LEADS[one.clear], class_=f"reading {_class_of(one.clear)}")]
    if otsu is not None and best.estimate is not None and best.estimate.mean <= otsu.mean_iou:
        reading.append(tag("span", f"and no better than Otsu’s threshold, {words.score(otsu.mean_iou)}", class_="lack"))
    return [
        tag("th", one.data, scope="row"),
        tag("td", words.labels(one.budget)),
        tag("td", f"{words.method(best.loss)} ", tag("span", mean, class_="tabular")),
        tag("td", difference),
        tag("td", *reading),
    ]


def differences(findings: Findings) -> Markup:
    """The difference of every cell to its control, with tests."""
    notes = FootNotes()
    bodies = []
    for data in findings.results.data:
        compared = [one for one in findings.cells if one.data == data and one.control is not None]
        if compared:
            heading = tag("tr", tag("th", data, scope="rowgroup", colspan=9, class_="block"))
            bodies.append(tag("tbody", heading, *(_difference_row(one, notes) for one in compared)))
    heads = (
        "Labelled images", "Method", "Pairs", "Difference", "95 % interval", "p, t test", "p, Holm", "p, Wilcoxon"
    )  # fmt: skip
    table = tag("table", _heads((*heads, "Reading")), *bodies, class_="figures")
    return scrolling(table, "Differences to the supervised control", notes)


def _difference_row(one: Cell, notes: FootNotes) -> Markup:
    comparison, difference = one.control, one.control.difference if one.control is not None else None
    if comparison is None or difference is None:
        raise ValueError("the cell has no control")
    pairs = len(difference.units)
    pipeline = PIPELINES.get((one.loss, one.state))
    name = f"{words.method(one.loss)}, {words.STATES.get(one.state, one.state)}"
    unpaired = None
    if comparison.unpaired:
        unpaired = (
            f"left out, as the other method has no run of the repeat: {words.counted(comparison.unpaired, 'run')}"
        )
    why = None if difference.interval is not None else (difference.reservation or "").removeprefix("no interval: ")
    limits = "no interval" if difference.interval is None else words.gain_limits(difference.interval)
    untested = "no test: all differences are equal" if pairs > 1 and comparison.t is None else None
    tests = [
        "" if comparison.t is None else words.probability(comparison.t.p_value),
        "" if one.p_corrected is None else words.probability(one.p_corrected),
        "" if comparison.wilcoxon is None else f"{comparison.wilcoxon.p_value:.3g} (≥ {least_wilcoxon(pairs):.3g})",
    ]
    return tag(
        "tr",
        tag("th", "" if one.budget is None else words.labels(one.budget), scope="row"),
        tag("td", name if pipeline is None else f"{name} ({pipeline})", class_="words"),
        tag("td", f"{pairs}", notes.mark(_unit(difference.unit), unpaired)),
        tag("td", words.gain(difference.mean)),
        tag("td", limits, notes.mark(why)),
        *(tag("td", said or words.DASH, notes.mark(untested)) for said in tests),
        tag("td", tag("span", reading(comparison), class_=f"reading {_class_of(comparison.clear)}"), class_="words"),
    )


def least_wilcoxon(pairs: int) -> float:
    """The smallest p value that the exact two-sided signed-rank test can have with so many pairs."""
    return min(1.0, 2.0 ** (1 - pairs))


def reading(comparison: Comparison) -> str:
    """What a difference to the control says."""
    if comparison.clear is None:
        return UNTOLD
    if not comparison.clear:
        return UNCLEAR
    return BETTER if comparison.difference.mean > 0 else WORSE


def falls(findings: Findings) -> Markup:
    """Means that fall although there are more labels."""
    rows = []
    for one in findings.reversals:
        difference = one.reversal.comparison.difference
        limits = "no interval" if difference.interval is None else words.gain_limits(difference.interval)
        rows.append(
            tag(
                "tr",
                tag("th", one.data, scope="row"),
                tag("td", _pipeline(one.loss, one.state), class_="words"),
                tag("td", f"{words.labels(one.less)} → {words.labels(one.more)}", class_="words"),
                tag("td", words.gain(difference.mean)),
                tag("td", limits),
                tag("td", one.reversal.verdict, class_="words"),
            )
        )
    heading = ("Data set", "Method", "Labelled images", "Change of the mean", "95 % interval", "Verdict")
    return scrolling(tag("table", _heads(heading), tag("tbody", *rows), class_="figures"), "Falls with more labels")


def published_falls(findings: Findings) -> Markup:
    """The falls in the paper's Table S1 beside our intervals of the same changes."""
    rows = []
    for one in findings.paper_reversals:
        published, half = one.published, one.half_width
        said = "not measured here"
        if one.own is not None:
            difference = one.own.difference
            limits = "no interval" if difference.interval is None else words.gain_limits(difference.interval)
            said = f"{words.gain(difference.mean)} ({limits})"
        widths = words.DASH if half is None else f"{-published.change / half:.1f}"
        rows.append(
            tag(
                "tr",
                tag("th", one.data, scope="row"),
                tag("td", _pipeline(published.loss, published.state), class_="words"),
                tag("td", f"{published.less} → {published.more}".replace(" %", f"{words.NO_BREAK}%"), class_="words"),
                tag("td", words.gain(published.change)),
                tag("td", said),
                tag("td", words.DASH if half is None else words.score(half)),
                tag("td", widths),
            )
        )
    heading = (
        "Data set", "Method", "Labelled images", "Fall in the paper", "The same change here", "Half width",
        "Fall in half widths",
    )  # fmt: skip
    return scrolling(tag("table", _heads(heading), tag("tbody", *rows), class_="figures"), "Falls in the paper's table")


def _pipeline(loss: str, state: str) -> str:
    name = f"{words.method(loss)}, {words.STATES.get(state, state)}"
    pipeline = PIPELINES.get((loss, state))
    return name if pipeline is None else f"{name} ({pipeline})"


def _difference(comparison: Comparison) -> str:
    interval = comparison.difference.interval
    limits = "no interval" if interval is None else words.gain_limits(interval)
    return f"{words.gain(comparison.difference.mean)} ({limits})"


def _unit(unit: str) -> str:
    return "pairs of label draws, the seeds of a draw averaged" if unit == "label draw" else "pairs of seeds"


def _heads(names: Sequence[str]) -> Markup:
    return tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))


def _class_of(clear: bool | None) -> str:
    return {True: "clear", False: "unclear", None: "untold"}[clear]
