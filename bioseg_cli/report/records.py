"""What each run says of itself: its manifest, and its log of metrics."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioseg_cli.errors import BiosegError
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import Manifest
from bioseg_cli.runs.sections import Progress
from bioseg_cli.study.results import RunResult


@dataclass(frozen=True)
class RunRecord:
    """A run with what its directory holds.

    Attributes:
        run: as the results have it.
        manifest: None where there is none.
        metrics: by column of metrics.csv, its values an epoch; empty where there is none.
    """

    run: RunResult
    manifest: Manifest | None
    metrics: Mapping[str, Sequence[float]]

    @property
    def command(self) -> str:
        """Which of bioseg trained it."""
        return "" if self.manifest is None else self.manifest.command

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every setting of the training."""
        return {} if self.manifest is None else self.manifest.config

    @property
    def progress(self) -> Progress | None:
        """How far it was trained, and how long that took."""
        return None if self.manifest is None else self.manifest.progress

    @property
    def machine(self) -> str:
        """Device and precision."""
        if self.manifest is None or self.manifest.device is None:
            return ""
        precision = self.manifest.precision
        return self.manifest.device + ("" if precision is None else f", {precision.name}")


def read_record(run: RunResult) -> RunRecord:
    """What there is of a run; a directory that is gone or damaged is one that holds nothing."""
    try:
        directory = RunDirectory.open(run.path)
    except BiosegError:
        return RunRecord(run, None, {})
    try:
        with directory.metrics_file.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        metrics = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    except (OSError, ValueError, TypeError):
        metrics = {}
    return RunRecord(run, directory.manifest, metrics)
