"""What `session.run` returns: the page that was written, and what its tables hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.report.strips import Album
from bioseg_cli.report.summary import sentences
from bioseg_cli.study.cells import Cell
from bioseg_cli.study.statistics import Comparison
from bioseg_cli.study.table import document


@dataclass(frozen=True)
class ReportResult:
    """A page of a study, or of runs.

    Attributes:
        page: the file.
        findings: what its tables hold.
        album: its pictures, and why some are missing.
    """

    page: Path
    findings: Findings
    album: Album

    @property
    def summary(self) -> list[str]:
        """What the page says first, in sentences."""
        return sentences(self.findings)

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg report --json`, with the keys of docs/report.md."""
        findings = self.findings
        found = document(findings.results)
        cells = [
            {**shown, "paper": _published(cell)} for shown, cell in zip(found["cells"], findings.cells, strict=True)
        ]
        return {
            "report": str(self.page),
            "title": findings.results.title,
            **found,
            "cells": cells,
            "summary": self.summary,
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
            "without_picture": self.album.problems,
        }


def limits(comparison: Comparison) -> list[float] | None:
    """Of the interval of a difference."""
    interval = comparison.difference.interval
    return None if interval is None else [interval.low, interval.high]


def _published(one: Cell) -> float | None:
    if one.budget is not None:
        return published(one.data, one.loss, one.state, one.budget.title)
    return published_head(one.data, str(one.head)) if one.mapping == "oracle" else None
