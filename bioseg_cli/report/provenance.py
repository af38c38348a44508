"""Where the figures come from, as the page writes it: settings, versions and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bioseg_cli.report.records import RunRecord
from bioseg_cli.study.results import RunResult

OWN_COLUMNS = frozenset(
    {"data", "run", "resume", "seed", "ratio", "labels", "label_draw", "label_images", "unsup_loss"}
)
"""Settings that the table of runs has columns for, or that are of no account."""


def common_settings(records: Sequence[RunRecord]) -> dict[str, dict[str, str]]:
    """By command of bioseg, the settings that all its runs share; without `OWN_COLUMNS`."""
    by_command: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record.settings:
            by_command.setdefault(record.command, []).append(record.settings)
    return {
        command: {
            name: shown(value)
            for name, value in sorted(settings[0].items())
            if name not in OWN_COLUMNS and all(name in each and each[name] == value for each in settings)
        }
        for command, settings in by_command.items()
    }


def own_settings(records: Sequence[RunRecord]) -> list[dict[str, str]]:
    """For each run, the settings in which it differs from others of its command."""
    common = common_settings(records)
    return [
        {
            name: shown(value)
            for name, value in record.settings.items()
            if name not in common[record.command] and name not in OWN_COLUMNS
        }
        for record in records
    ]


def environments(records: Sequence[RunRecord]) -> list[tuple[dict[str, str], int]]:
    """The machines and versions of packages that runs were trained with, and how many runs each."""
    known = [
        record.manifest.environment.model_dump()
        for record in records
        if record.manifest is not None and record.manifest.environment is not None
    ]
    facts = [
        {
            **{name: value for name, value in environment.items() if name != "packages"},
            **environment.get("packages", {}),
        }
        for environment in known
    ]
    written = [{name: str(value) for name, value in environment.items() if value is not None} for environment in facts]
    return [
        (environment, written.count(environment))
        for place, environment in enumerate(written)
        if environment not in written[:place]
    ]


def collapsed_heads(run: RunResult) -> list[str]:
    """`main: one cluster`, of every saved state."""
    return sorted({f"{head}: {kind}" for each in run.collapse.values() for head, kind in each.items()})


def shown(value: Any) -> str:
    """A setting as a reader would write it."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
