"""The tables of accuracy: the paper's S1 and S2 with an interval in every cell, and the paper's own figures beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bioseg_cli.report import words
from bioseg_cli.report.findings import ALL, Column, Findings
from bioseg_cli.report.markup import Markup, joined, tag
from bioseg_cli.report.paper import PIPELINES, is_of_the_paper, published, published_head
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.grid import CONTROL, Budget
from bioseg_cli.study.results import RunResult, ScoreRow

MARKS = "abcdefghijklmnopqrstuvwxyz"


class FootNotes:
    """The notes of a table: each text once, under a letter."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, *texts: str | None) -> Markup:
        """The letters of some texts, raised; nothing for None."""
        letters = []
        for text in texts:
            if text is not None:
                if text not in self._texts:
                    self._texts.append(text)
                letters.append(MARKS[self._texts.index(text) % len(MARKS)])
        return tag("sup", ",".join(letters)) if letters else Markup()

    def markup(self) -> Markup:
        """The texts, to stand below the table."""
        if not self._texts:
            return Markup()
        marked = (joined([self.mark(text), " ", words.capitalised(text), "."]) for text in self._texts)
        return tag("p", joined(marked, " "), class_="notes")


def scrolling(table: Markup, label: str, notes: FootNotes | None = None) -> Markup:
    """A table in a container of its own, which scrolls where the screen is narrower."""
    container = tag("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)
    return container if notes is None else joined([container, notes.markup()])


def accuracy(findings: Findings, data: str) -> Markup:
    """Table S1's block of a data set: a row a label budget, a column a loss and saved state; baselines below."""
    columns, notes = findings.columns(data), FootNotes()
    rows: list[Markup] = []
    for budget in findings.budgets(data):
        found = [findings.cell(data, column, budget) for column in columns]
        best = _best(found)
        cells = [_score_cell(one, notes, best=one is not None and one is best) for one in found]
        shares = [share for one in found if one is not None for share in one.labelled_shares]
        rows.append(tag("tr", tag("th", words.labels(budget, shares), scope="row"), *cells))
        if any(_published(data, column, budget) is not None for column in columns):
            rows.append(_published_row(data, columns, budget))
    baselines = [_baseline_row(row, len(columns), notes) for row in findings.results.baselines.get(data, ())]
    table = tag(
        "table",
        _heading(columns),
        tag("tbody", *rows),
        tag("tbody", *baselines, class_="baselines") if baselines else "",
        class_="figures",
    )
    return scrolling(table, f"Mean IoU on {data} by labels and method", notes)


def has_published(findings: Findings, data: str) -> bool:
    """Whether the paper has figures for a data set and its label budgets."""
    columns, budgets = findings.columns(data), findings.budgets(data)
    return any(_published(data, column, budget) is not None for column in columns for budget in budgets)


def _heading(columns: Sequence[Column]) -> Markup:
    losses = list(dict.fromkeys(loss for loss, _ in columns))
    groups = []
    for loss in losses:
        count = sum(one == loss for one, _ in columns)
        title = words.capitalised(words.method(loss)) if loss == CONTROL else f"{words.method(loss)} loss"
        groups.append(tag("th", title, scope="colgroup", colspan=count, class_="group"))
    states = []
    for column in columns:
        pipeline = PIPELINES.get(column)
        name = words.capitalised(words.STATES.get(column[1], column[1]))
        states.append(tag("th", name if pipeline is None else f"{name} ({pipeline})", scope="col"))
    return tag(
        "thead",
        tag("tr", tag("th", "Labelled images", scope="col", rowspan=2), *groups),
        tag("tr", *states),
    )


def _best(found: Sequence[Cell | None]) -> Cell | None:
    scored = [one for one in found if one is not None and one.estimate is not None]
    if len(scored) < 2:
        return None
    return max(scored, key=lambda one: one.estimate.mean if one.estimate is not None else 0.0)


def _score_cell(one: Cell | None, notes: FootNotes, *, best: bool = False) -> Markup:
    if one is None:
        return tag("td", tag("abbr", words.DASH, title="not part of the comparison"), class_="none")
    parts: list[str] = []
    if (found := one.estimate) is not None:
        value = words.score(found.mean)
        limits = "no interval" if found.interval is None else words.score_limits(found.interval)
        reason = None if found.reservation is None else found.reservation.removeprefix("no interval: ")
        parts.append(tag("strong" if best else "span", value, class_="mean"))
        parts.append(tag("span", limits, notes.mark(reason), class_="interval"))
    if lack := lacking(one):
        parts.append(tag("span", lack, class_="lack"))
    return tag("td", *parts)


def lacking(one: Cell) -> str:
    """What a reader must know of the runs of a cell: that some are not in its mean, collapsed, or lack a class."""
    said = []
    if one.failed:
        ended = len(one.runs) - len(one.failed)
        said.append(f"{ended} of {words.counted(len(one.runs), 'run')}" if ended else "no run")
        said += how_they_ended(one.failed)
    if one.collapsed:
        said.append(f"{len(one.collapsed)} of {words.counted(len(one.runs), 'run')} collapsed")
    unseen = [run for run in one.runs if run.unseen]
    for classes in dict.fromkeys(run.unseen for run in unseen):
        count = sum(run.unseen == classes for run in unseen)
        what = words.listed([f"‘{name}’" for name in classes])
        said.append(f"{count} of {words.counted(len(one.runs), 'run')} without a label of {what}")
    return "; ".join(said)


def how_they_ended(runs: Sequence[RunResult]) -> list[str]:
    """`1 failed: the loss is not finite`, `2 missing`."""
    endings = Counter((_ending(run), run.failure) for run in runs)
    return [
        f"{count} {ending}" + (f": {words.shortened(failure)}" if failure else "")
        for (ending, failure), count in endings.items()
    ]


def _ending(run: RunResult) -> str:
    if run.rows:
        return "without this state"
    return "not scored" if run.status in ("finished", "collapsed") else run.status


def _published(data: str, column: Column, budget: Budget) -> float | None:
    return published(data, *column, budget.title)


def _published_row(data: str, columns: Sequence[Column], budget: Budget) -> Markup:
    values = [_published(data, column, budget) for column in columns]
    cells = [tag("td", "" if value is None else words.score(value)) for value in values]
    return tag("tr", tag("th", "the paper, one run", scope="row"), *cells, class_="published")


def _baseline_row(row: ScoreRow, columns: int, notes: FootNotes) -> Markup:
    limits = row.score.get("intervals", {}).get("mean_iou")
    said: list[str] = [tag("span", words.score(row.mean_iou), class_="mean")]
    if limits is not None and None not in limits:
        low, high = limits
        why = "of a baseline: bootstrap over the images, as nothing of it is trained"
        if "labels" in row.score:
            why = f"of a forest: Student’s, over {row.score['draws']} label draws"
        said.append(tag("span", words.score_limits((low, high)), notes.mark(why), class_="interval"))
    name = words.baseline(row.name)
    return tag("tr", tag("th", name, scope="row"), tag("td", *said, colspan=columns))


def heads(findings: Findings) -> Markup:
    """Table S2: a row a head of IIC with its mapping, a column a data set; baselines below."""
    notes = FootNotes()
    names = [data for data in findings.results.data if findings.clusters(data)]
    several = len({one.state for data in names for one in findings.clusters(data)}) > 1
    kinds = list(dict.fromkeys((one.head, one.mapping, one.state) for data in names for one in findings.clusters(data)))
    kinds.sort(key=lambda one: (one[2] != "best-final", one[0] != "aux", one[1] != "oracle"))
    rows = []
    for place, (head, mapping, state) in enumerate(kinds):
        cells = []
        for data in names:
            found = [one for one in findings.clusters(data) if (one.head, one.mapping, one.state) == kinds[place]]
            cells.append(_score_cell(found[0] if found else None, notes))
        title = f"{words.HEADS.get(str(head), str(head))}, {words.MAPPINGS.get(str(mapping), str(mapping))}"
        title = words.capitalised(f"{title}, {words.STATES.get(state, state)}" if several else title)
        rows.append(tag("tr", tag("th", title, scope="row"), *cells))
        if mapping == "oracle" and state == kinds[0][2] and any(is_of_the_paper(data) for data in names):
            values = [published_head(data, str(head)) for data in names]
            cells = [tag("td", words.DASH if value is None else words.score(value)) for value in values]
            rows.append(tag("tr", tag("th", "the paper, one run", scope="row"), *cells, class_="published"))
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", "Clusters of", scope="col"), *(tag("th", one, scope="col") for one in names))),
        tag("tbody", *rows),
        tag("tbody", *_baselines_of_heads(findings, names, notes), class_="baselines"),
        class_="figures",
    )
    return scrolling(table, "Mean IoU of training without labels, by head and data set", notes)


def _baselines_of_heads(findings: Findings, names: Sequence[str], notes: FootNotes) -> list[Markup]:
    results = findings.results
    known = list(dict.fromkeys(row.name for data in names for row in results.baselines.get(data, ())))
    rows = []
    for name in known:
        cells = []
        for data in names:
            found = [row for row in results.baselines.get(data, ()) if row.name == name]
            files = results.files.get(data, {})
            other = "uda" in files and files["uda"] != files.get("iic", files["uda"])
            why = "scored on the images that train-uda has, which are others than those of IIC" if other else None
            cells.append(tag("td", words.score(found[0].mean_iou), notes.mark(why)) if found else tag("td", words.DASH))
        rows.append(tag("tr", tag("th", words.baseline(name), scope="row"), *cells))
    return rows


def ceiling(findings: Findings, data: str) -> Cell | None:
    """The control with all labels, in the state compared by."""
    for budget in findings.budgets(data):
        if budget.title == ALL:
            return findings.cell(data, (CONTROL, findings.state), budget)
    return None
