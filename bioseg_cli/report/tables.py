"""What stands in the tables of means: the paper's S1 and S2, and the paper's own figures beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bioseg_cli.report import words
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.results import ForestScore, RunResult, ScoreRow

MARKS = "abcdefghijklmnopqrstuvwxyz"


class FootNotes:
    """The notes of a table: each text once, under a letter."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def marks(self, *texts: str | None) -> str:
        """The letters of some texts; none for None."""
        said = [text for text in texts if text is not None]
        self._texts += [text for text in dict.fromkeys(said) if text not in self._texts]
        return ",".join(_letters(self._texts.index(text)) for text in said)

    @property
    def marked(self) -> list[tuple[str, str]]:
        """Letter and text, to stand below the table."""
        return [(self.marks(text), text) for text in self._texts]


def _letters(place: int) -> str:
    """The letters from a to z, then from aa to zz: no two notes have the same."""
    return MARKS[place % len(MARKS)] * (1 + place // len(MARKS))


@dataclass(frozen=True)
class Row:
    """A row of means.

    Attributes:
        title: what the row is of.
        cells: a column each; None where a column has no runs.
        published: what the paper has for the columns, None where it has nothing; empty where it has nothing at all.
        best: the cell with the highest mean of several.
    """

    title: str
    cells: tuple[Cell | None, ...]
    published: tuple[float | None, ...] = ()
    best: Cell | None = None


def accuracy(findings: Findings, data: str) -> list[Row]:
    """Table S1's block of a data set: a row a label budget, a column a loss and saved state."""
    columns, rows = findings.columns(data), []
    for budget in findings.budgets(data):
        cells = tuple(findings.cell(data, column, budget) for column in columns)
        shares = [share for cell in cells if cell is not None for share in cell.labelled_shares]
        theirs = _known(published(data, *column, budget.title) for column in columns)
        rows.append(Row(words.labels(budget, shares), cells, theirs, _best(cells)))
    return rows


def heads(findings: Findings, names: Sequence[str]) -> list[Row]:
    """Table S2: a row a head of IIC with its mapping, a column a data set."""
    cells = [cell for name in names for cell in findings.clusters(name)]
    kinds = list(dict.fromkeys((cell.head, cell.mapping, cell.state) for cell in cells))
    kinds.sort(key=lambda kind: (kind[2] != "best-final", kind[0] != "aux", kind[1] != "oracle"))
    several = len({state for _, _, state in kinds}) > 1
    rows = []
    for head, mapping, state in kinds:
        found = {cell.data: cell for cell in cells if (cell.head, cell.mapping, cell.state) == (head, mapping, state)}
        title = words.head(head, mapping) + (f", {words.state(state)}" if several else "")
        with_paper = mapping == "oracle" and state == kinds[0][2]
        theirs = _known(published_head(name, str(head)) if with_paper else None for name in names)
        rows.append(Row(words.capitalised(title), tuple(map(found.get, names)), theirs))
    return rows


def heads_of_baselines(findings: Findings, names: Sequence[str]) -> dict[str, list[tuple[ScoreRow | None, str | None]]]:
    """By baseline, for each data set its score and what is to be said of it."""
    by_data = [{row.name: row for row in findings.results.baselines.get(name, ())} for name in names]
    notes = []
    for name in names:
        files = findings.results.files.get(name, {})
        other = "uda" in files and files["uda"] != files.get("iic", files["uda"])
        notes.append("scored on the images that train-uda has, which are others than those of IIC" if other else None)
    return {
        baseline: [(rows.get(baseline), note) for rows, note in zip(by_data, notes, strict=True)]
        for baseline in dict.fromkeys(baseline for rows in by_data for baseline in rows)
    }


def interval_of_baseline(row: ScoreRow) -> tuple[float, float] | None:
    """Lower and upper limit of the mean IoU of a baseline; None where it has no interval."""
    low, high = row.score.intervals.mean_iou or (None, None)
    return None if low is None or high is None else (low, high)


def kind_of_interval(row: ScoreRow) -> str:
    """What the interval of a baseline is over."""
    if isinstance(row.score, ForestScore):
        return f"of a forest: Student’s, over {row.score.draws} label draws"
    return "of a baseline: bootstrap over the images, as nothing of it is trained"


def lacking(cell: Cell) -> str:
    """What a reader must know of the runs of a cell: that some are not in its mean, collapsed, or lack a class."""
    said = []
    if cell.failed:
        ended = len(cell.runs) - len(cell.failed)
        said.append(f"{ended} of {words.counted(len(cell.runs), 'run')}" if ended else "no run")
        said += how_they_ended(cell.failed)
    if cell.collapsed:
        said.append(f"{len(cell.collapsed)} of {words.counted(len(cell.runs), 'run')} collapsed")
    unseen = [run for run in cell.runs if run.unseen]
    for classes in dict.fromkeys(run.unseen for run in unseen):
        count = sum(run.unseen == classes for run in unseen)
        what = words.listed([f"‘{name}’" for name in classes])
        said.append(f"{count} of {words.counted(len(cell.runs), 'run')} without a label of {what}")
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


def _known(values: Iterable[float | None]) -> tuple[float | None, ...]:
    found = tuple(values)
    return found if any(value is not None for value in found) else ()


def _best(cells: Sequence[Cell | None]) -> Cell | None:
    scored = [(cell.estimate.mean, cell) for cell in cells if cell is not None and cell.estimate is not None]
    return max(scored, key=lambda each: each[0])[1] if len(scored) > 1 else None
