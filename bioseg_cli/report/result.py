"""What `session.run` returns: the page that was written, and what its tables hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.report.findings import Findings
from bioseg_cli.report.paper import published, published_head
from bioseg_cli.report.strips import Album
from bioseg_cli.report.summary import sentences
from bioseg_cli.study.cells import Cell, limits
from bioseg_cli.study.document import document


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
                    "data": verdict.data,
                    "labels": verdict.budget.count,
                    "loss": verdict.best.loss,
                    "told_by": None if verdict.told_by is None else verdict.told_by.loss,
                    "clear": verdict.clear,
                }
                for verdict in findings.verdicts
            ],
            "tests": findings.tests,
            "reversals": [
                {
                    "data": fall.data,
                    "loss": fall.loss,
                    "state": fall.state,
                    "labels": [fall.less.count, fall.more.count],
                    "change": fall.reversal.comparison.difference.mean,
                    "interval": limits(fall.reversal.comparison.difference.interval),
                    "verdict": fall.reversal.verdict,
                }
                for fall in findings.reversals
            ],
            "paper_reversals": [
                {
                    "data": fall.data,
                    "loss": fall.published.loss,
                    "state": fall.published.state,
                    "ratios": [fall.published.less, fall.published.more],
                    "change": fall.published.change,
                    "own_change": None if fall.own is None else fall.own.difference.mean,
                    "own_interval": None if fall.own is None else limits(fall.own.difference.interval),
                }
                for fall in findings.paper_reversals
            ],
            "without_picture": self.album.problems,
        }


def _published(cell: Cell) -> float | None:
    if cell.budget is not None:
        return published(cell.data, cell.loss, cell.state, cell.budget.title)
    return published_head(cell.data, str(cell.head)) if cell.mapping == "oracle" else None
