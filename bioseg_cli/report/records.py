"""What each run says of itself: its manifest, and its log of metrics."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioseg_cli.errors import BiosegError
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.study.results import RunResult

OWN_COLUMNS = frozenset(
    {"data", "run", "resume", "seed", "ratio", "labels", "label_draw", "label_images", "unsup_loss"}
)
"""Settings that the table of runs has columns for, or that are of no account."""


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


def common_settings(records: Iterable[RunRecord]) -> dict[str, dict[str, Any]]:
    """By command of bioseg, the settings that all its runs share; without `OWN_COLUMNS`."""
    by_command: dict[str, list[Mapping[str, Any]]] = {}
    for one in records:
        if one.settings:
            by_command.setdefault(str(one.manifest.get("command")), []).append(one.settings)
    return {
        command: {
            name: value
            for name, value in settings[0].items()
            if name not in OWN_COLUMNS and all(name in each and each[name] == value for each in settings)
        }
        for command, settings in by_command.items()
    }


def own_settings(record: RunRecord, common: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings in which a run differs from others of its command."""
    shared = common.get(str(record.manifest.get("command")), {})
    return {name: value for name, value in record.settings.items() if name not in shared and name not in OWN_COLUMNS}


def environments(records: Iterable[RunRecord]) -> list[tuple[dict[str, Any], int]]:
    """The versions and machines that runs were trained with, and how many runs each."""
    found: list[tuple[dict[str, Any], int]] = []
    for one in records:
        environment = one.manifest.get("environment")
        if environment is None:
            continue
        place = next((i for i, (known, _) in enumerate(found) if known == environment), None)
        if place is None:
            found.append((environment, 1))
        else:
            found[place] = (environment, found[place][1] + 1)
    return found
