"""What `bioseg evaluate` shows: the table of scores, in terminals of any width."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from helpers.reports import cluster_report, report
from rich.console import Console

from bioseg_cli.cli.tables.evaluation import render
from bioseg_cli.evaluation.report import Report

MANY = tuple(f"class {i}" for i in range(9))


def shown(what: Report, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(render(what))
    return stream.getvalue()


@pytest.mark.parametrize(
    "what",
    [
        report(),
        report(states=("best-supervised", "best-final", "best-miou", "last")),
        report(names=("runs/a-rather-long-name-of-a-data-set-uda-iid-100labels-seed12/copied/again", "b")),
        report(classes=("background", "cortical grey", "white", "layer 1")),
        report(classes=MANY),
        cluster_report(),
        cluster_report(states=("best-final", "last")),
    ],
    ids=["one", "states", "long names", "four classes", "nine classes", "clusters", "states of clusters"],
)
def test_the_table_fits_80_columns_and_cuts_nothing(what):
    text = shown(what)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for row in what.rows:
        assert f"{row.score.mean_iou:.4f}" in text
        assert all(f"{value:.4f}" in text for value in (*row.score.iou, *row.score.dice))
    wide = shown(what, 200)
    assert all(Path(row.name).name in wide for row in what.rows)
    assert all(name in wide for name in what.classes)


def test_runs_of_one_name_are_told_apart():
    text = shown(report(names=("first/run", "second/run", "third/other")))
    assert "first/run" in text
    assert "second/run" in text
    assert "third/other" not in text


def test_rows_of_clusters_say_how_they_were_mapped():
    text = shown(cluster_report(), 200)
    assert "stored (1 image)" in text
    assert "oracle (seen)" in text
    assert "head" not in shown(report(), 200)


def test_square_brackets_in_names_are_no_markup():
    what = report(names=("[red]data[b]",), classes=("[bold]", "b"))
    assert "[red]data[b]" in shown(what)
    assert "[bold]" in shown(what)


def test_the_control_has_a_row_and_a_table_of_differences():
    control = report(names=("runs/control",)).evaluations[0]
    text = shown(report(control=control))
    assert "control (control)" in text
    assert "mIoU minus that of the control" in text
    assert "+0.0000 to +0.0000" in text
