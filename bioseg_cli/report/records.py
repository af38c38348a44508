"""What each run says of itself: its manifest, and its log of metrics."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioseg_cli.errors import BiosegError
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.study.results import RunResult


@dataclass(frozen=True)
class RunRecord:
    """A run with what its directory holds.

    Attributes:
        run: as the results have it.
        manifest: empty where there is none.
        metrics: by column of metrics.csv, its values an epoch; empty where there is none.
    """

    run: RunResult
    manifest: Mapping[str, Any]
    metrics: Mapping[str, Sequence[float]]

    @property
    def command(self) -> str:
        """Which of bioseg trained it."""
        return str(self.manifest.get("command"))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every setting of the training."""
        return self.manifest.get("config") or {}

    @property
    def seconds(self) -> float | None:
        """How long it trained."""
        seconds = self.manifest.get("progress", {}).get("seconds")
        return None if seconds is None else float(seconds)

    @property
    def updates(self) -> int | None:
        """How many steps it trained."""
        updates = self.manifest.get("progress", {}).get("updates")
        return None if updates is None else int(updates)

    @property
    def machine(self) -> str:
        """Device and precision."""
        if "device" not in self.manifest:
            return ""
        return f"{self.manifest['device']}, {self.manifest.get('precision', {}).get('name', '')}".rstrip(", ")


def read_record(run: RunResult) -> RunRecord:
    """What there is of a run; a directory that is gone or damaged is one that holds nothing."""
    try:
        directory = RunDirectory.open(run.path)
    except BiosegError:
        return RunRecord(run, {}, {})
    try:
        with directory.metrics_file.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        metrics = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    except (OSError, ValueError, TypeError):
        metrics = {}
    return RunRecord(run, directory.manifest, metrics)
