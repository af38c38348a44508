"""From settings to the page: gather, draw, write once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioseg_cli.errors import UsageError
from bioseg_cli.io.files import refuse_existing, write_text
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.report.settings import REPORT_NAME, ReportConfig
from bioseg_cli.report.strips import Album
from bioseg_cli.report.summary import sentences
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.manifest import now
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.collect import results_of
from bioseg_cli.study.folder import is_study
from bioseg_cli.study.results import StudyResults
from bioseg_cli.study.statistics import Comparison
from bioseg_cli.study.table import document


def run(config: ReportConfig, output: Output, *, overwrite: bool) -> dict[str, Any]:
    """Write the page, and return its path with the numbers of its tables.

    Raises:
        UsageError: the page exists already, a study among other paths, or a split that is not the study's.
        DataError: not a run or a study, or a data set that runs have to be scored on is gone.
    """
    study = next((path for path in config.runs if is_study(path)), None)
    path = config.out or (Path() if study is None else study) / REPORT_NAME
    refuse_existing(path, overwrite=overwrite)
    results = results_of(config.runs, split=config.split, output=output)
    if study is None:
        refuse_doubles(results)
    elif "split" in config.model_fields_set and config.split != results.split:
        raise UsageError(
            f"The study was scored on its {results.split} split", where=study, fix="Leave out --split, or plan another."
        )
    page, found = make_page(results, output, title=config.title)
    write_text(path, page)
    return {"report": path, **found}


def refuse_doubles(results: StudyResults) -> None:
    """Raise `UsageError` where tables could not tell two runs apart: one would stand for both."""
    known: dict[tuple[Any, ...], Path] = {}
    for run in results.runs:
        which = run.data, run.loss, run.budget, run.repeat
        if which in known:
            raise UsageError(
                f"{known[which]} and {run.path} have the same data set, loss, labels, label draw and seed: in the "
                "tables they would be one",
                fix="Report them one at a time.",
            )
        known[which] = run.path


def make_page(results: StudyResults, output: Output, *, title: str | None = None) -> tuple[str, dict[str, Any]]:
    """The page and the numbers of its tables, with the keys of docs/report.md."""
    # Here, as they bring matplotlib.
    from bioseg_cli.report.album import draw_album
    from bioseg_cli.report.page import render
    from bioseg_cli.report.records import read_record

    findings = Findings(results)
    records = [read_record(run) for run in results.runs]
    album = draw_album(findings, output)
    heading = title or results.title
    of_what = "" if heading == results.title else f" of {results.title}"
    made = now()[:16].replace("T", " ")
    about = f"bioseg report{of_what} · {results.split} split · {made} UTC"
    page = render(heading, about, findings, records, album)
    return page, numbers(findings, album)


def numbers(findings: Findings, album: Album) -> dict[str, Any]:
    """What the tables hold, for machines."""
    found = document(findings.results)
    cells = [{**cell, "paper": _published(one)} for cell, one in zip(found["cells"], findings.cells, strict=True)]
    return {
        "title": findings.results.title,
        **found,
        "cells": cells,
        "summary": sentences(findings),
        "state": findings.state,
        "ahead": [
            {
                "data": one.data,
                "labels": one.budget.count,
                "loss": one.best.loss,
                "told_by": None if one.told_by is None else one.told_by.loss,
                "clear": one.clear,
            }
            for one in findings.verdicts
        ],
        "tests": findings.tests,
        "reversals": [
            {
                "data": one.data,
                "loss": one.loss,
                "state": one.state,
                "labels": [one.less.count, one.more.count],
                "change": one.reversal.comparison.difference.mean,
                "interval": limits(one.reversal.comparison),
                "verdict": one.reversal.verdict,
            }
            for one in findings.reversals
        ],
        "paper_reversals": [
            {
                "data": one.data,
                "loss": one.published.loss,
                "state": one.published.state,
                "ratios": [one.published.less, one.published.more],
                "change": one.published.change,
                "own_change": None if one.own is None else one.own.difference.mean,
                "own_interval": None if one.own is None else limits(one.own),
            }
            for one in findings.paper_reversals
        ],
        "without_picture": album.problems,
    }


def limits(comparison: Comparison) -> list[float] | None:
    """Of the interval of a difference."""
    interval = comparison.difference.interval
    return None if interval is None else [interval.low, interval.high]


def _published(one: Cell) -> float | None:
    if one.budget is not None:
        return published(one.data, one.loss, one.state, one.budget.title)
    return published_head(one.data, str(one.head)) if one.mapping == "oracle" else None
