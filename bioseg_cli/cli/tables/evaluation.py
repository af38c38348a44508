"""Scores on the screen: tables, with what a reader must know underneath."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bioseg_cli.dataset.area import AREA, shown_share
from bioseg_cli.evaluation.objects import AP_NAMES, ObjectScore
from bioseg_cli.evaluation.report import UNSEEN, Evaluation, Report
from bioseg_cli.metrics.intervals import as_text

CLASSES_ACROSS = 3
"""Classes that fit beside each other in 80 columns; more are listed below each other."""


def render(report: Report) -> RenderableType:
    """Title, means, classes, differences to the control, and notes."""
    where = report.data if report.split is None else f"{report.data}, {report.split} split"
    images = report.rows[0].score.images
    parts: list[RenderableType] = [Text(f"{where}, {images} image{'' if images == 1 else 's'}", style="bold")]
    parts.append(_means(report))
    parts.append(_classes(report))
    if any(row.objects is not None for row in report.rows):
        parts += [_objects(report), _counted_objects(report)]
    if report.control is not None:
        parts.append(_differences(report, report.control))
    notes = Table.grid(padding=(0, 1))
    for note in dict.fromkeys(_notes(report)):
        notes.add_row("-", Text(note))
    parts.append(notes)
    return Group(*parts)


def _means(report: Report) -> Table:
    budgets = any(row.labels is not None for row in report.rows)
    table = _table("", report)
    if budgets:
        table.add_column("labels", justify="right")
    table.add_column("mIoU", justify="right", no_wrap=True)
    # Beside heads and mappings there may be room for an interval in two lines alone.
    table.add_column("95 % interval", justify="right", no_wrap=not report.with_clusters, min_width=len("0.0000 to"))
    table.add_column("mIoU fg", justify="right", no_wrap=True)
    for row, name in _named_rows(report):
        cells = _first_cells(report, row, name)
        if budgets:
            cells.append(Text("" if row.labels is None else str(row.labels)))
        score = row.score
        numbers = (_value(score.mean_iou), _limits(score.intervals["mean_iou"]), _value(score.mean_iou_foreground))
        table.add_row(*cells, *numbers)
    return table


def _classes(report: Report) -> Table:
    across = len(report.classes) <= CLASSES_ACROSS
    table = _table("IoU (Dice)", report)
    if not across:
        table.add_column("class", overflow="fold")
    for heading in report.classes if across else ("IoU (Dice)",):
        table.add_column(Text(heading), justify="right", overflow="fold")
    for row, name in _named_rows(report):
        cells = _first_cells(report, row, name)
        pairs = list(_pairs(row))
        if across:
            table.add_row(*cells, *pairs)
            continue
        for number, (label, pair) in enumerate(zip(report.classes, pairs, strict=True)):
            table.add_row(*(cells if number == 0 else [""] * len(cells)), Text(label), pair)
    return table


def _objects(report: Report) -> Table:
    table = _table("objects", report)
    table.add_column("class", overflow="fold")
    for heading in ("AP 0.5", "95 % interval", "mean AP", "PQ", "SEG"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cells, name, score in _object_rows(report):
        values = score.values
        table.add_row(
            *cells,
            Text(name),
            _value(values[AP_NAMES[0]]),
            _limits(score.intervals[AP_NAMES[0]]),
            *(_value(values[measure]) for measure in ("mean_ap", "pq", "seg")),
        )
    return table


def _counted_objects(report: Report) -> Table:
    table = _table("at IoU 0.5", report)
    table.add_column("class", overflow="fold")
    for heading in ("true", "found", "precision", "recall", "F1", "merges", "splits"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cells, name, score in _object_rows(report):
        rates = (_value(score.values[measure]) for measure in ("precision", "recall", "f1"))
        counts = [str(count) for count in (score.true, score.predicted, score.merges, score.splits)]
        table.add_row(*cells, Text(name), *counts[:2], *rates, *counts[2:])
    return table


def _object_rows(report: Report) -> Iterator[tuple[list[RenderableType], str, ObjectScore]]:
    """The first cells, the class and the score of each row about objects."""
    for row, name in _named_rows(report):
        for place, (label, score) in enumerate(() if row.objects is None else row.objects.scores.items()):
            cells = _first_cells(report, row, name)
            yield cells if place == 0 else [""] * len(cells), label, score


def _differences(report: Report, control: Evaluation) -> Table:
    table = _table("mIoU minus that of the control", report)
    for heading in ("difference", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, name in _named_rows(report):
        if row.control is not None:
            low, high = row.control.limits
            interval = "-" if np.isnan(low) else as_text(low, high, "+.4f")
            table.add_row(*_first_cells(report, row, name), f"{row.control.mean_iou:+.4f}", interval)
    return table


def _table(corner: str, report: Report) -> Table:
    """A table whose first columns say what was scored; `_first_cells` fills them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(corner, overflow="fold")
    if len(_states(report)) > 1:
        table.add_column("state", no_wrap=True)
    if report.with_clusters:
        table.add_column("head", no_wrap=True)
        table.add_column("mapping", min_width=len("(upper"))
    return table


def _first_cells(report: Report, row: Evaluation, name: Text) -> list[RenderableType]:
    cells: list[RenderableType] = [name]
    if len(_states(report)) > 1:
        cells.append(Text(row.state or ""))
    if report.with_clusters:
        cells += [Text(row.head or ""), Text("" if row.mapping is None else str(row.mapping))]
    return cells


def _states(report: Report) -> set[str]:
    return {row.state for row in report.rows if row.state is not None}


def _named_rows(report: Report) -> Iterator[tuple[Evaluation, Text]]:
    """The rows with what they are called: the last part of a path, where that is enough to tell them apart.

    The further rows of a run's heads and mappings are called nothing.
    """
    names = {row.name for row in report.rows}
    short = Counter(Path(name).name for name in names)
    before = None
    for row in report.rows:
        if row.mapping is not None and before is not None and before.name == row.name:
            # A run without labels has many rows: its name, folded, would make each of them tall.
            yield row, Text("")
            continue
        before = row
        last = Path(row.name).name
        name = last if short[last] == 1 else row.name
        # As text: a name may hold what looks like markup.
        yield row, Text(f"{name} (control)" if row is report.control else name)


def _pairs(row: Evaluation) -> Iterator[str]:
    for name, iou, dice in zip(row.score.classes, row.score.iou, row.score.dice, strict=True):
        pair = "absent" if np.isnan(iou) else f"{iou:.4f} ({dice:.4f})"
        yield f"{pair} {UNSEEN}" if name in (row.unseen or ()) else pair


def _value(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _limits(limits: tuple[float, float]) -> str:
    return "-" if np.isnan(limits[0]) else as_text(*limits)


def _notes(report: Report) -> Iterator[str]:
    if len(states := _states(report)) == 1:
        yield f"State of every run: {states.pop()}."
    yield "Counts are pooled over images; mIoU is the mean over classes, mIoU fg that without the background."
    if any(shown_share([row.labels.share]) for row in report.rows if row.labels is not None):
        yield AREA
    for row in report.rows:
        if row.score.absent and row not in report.baselines:
            absent = ", ".join(row.score.absent)
            which = row.name if row.mapping is None else f"{row.name}, {row.head} head, {row.mapping.kind} mapping"
            yield f"{which}: {absent} in neither truth nor prediction, left out of its means."
    yield from report.notes
