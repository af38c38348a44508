"""What each run says of itself: its manifest, and its log of metrics."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
        metrics: by column of metrics.csv, its values an epoch, without columns that are damaged; empty where there is
            no such file.
        damage: what is wrong with metrics.csv, in a sentence without its stop; None where nothing is.
    """

    run: RunResult
    manifest: Manifest | None
    metrics: Mapping[str, Sequence[float]]
    damage: str | None = None

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
    return RunRecord(run, directory.manifest, *_read_metrics(directory.metrics_file))


def _read_metrics(path: Path) -> tuple[dict[str, list[float]], str | None]:
    """The columns of a metrics.csv that hold a finite number in each line, and what is wrong with the first other one.

    A curve is left out where it would be wrong, and no other: what is damaged in one column does not concern the rest.
    """
    if not path.is_file():
        return {}, None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        return {}, f"{path} cannot be read: {error}"
    if not lines:
        return {}, f"{path} is empty"
    metrics, damages = {}, []
    for place, name in enumerate(lines[0]):
        values = [_number(line[place]) if place < len(line) else None for line in lines[1:]]
        if None in values:
            damages.append(f"{path} has no number in line {values.index(None) + 2}, column {name}")
        else:
            metrics[name] = [value for value in values if value is not None]
    return metrics, damages[0] if damages else None


def _number(cell: str) -> float | None:
    """The finite number in a cell, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
