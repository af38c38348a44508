"""Where the figures come from, as the page writes it: settings, versions and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bioseg_cli.report.records import RunRecord
from bioseg_cli.study.results import RunResult

OWN_COLUMNS = frozenset(
    {"data", "run", "resume", "seed", "ratio", "labels", "label_draw", "label_images", "unsup_loss"}
)
"""Settings that the table of runs has columns for, or that are of no account."""


def settings_of(records: Sequence[RunRecord]) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """By command of bioseg the settings that all its runs share, and for each run the others; without `OWN_COLUMNS`."""
    by_command: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record.settings:
            by_command.setdefault(record.command, []).append(record.settings)
    common = {
        command: {
            name: shown(value)
            for name, value in sorted(settings[0].items())
            if name not in OWN_COLUMNS and all(name in each and each[name] == value for each in settings)
        }
        for command, settings in by_command.items()
    }
    shared = {command: OWN_COLUMNS | found.keys() for command, found in common.items()}
    own = [
        {name: shown(value) for name, value in record.settings.items() if name not in shared[record.command]}
        for record in records
    ]
    return common, own


def environments(records: Sequence[RunRecord]) -> list[tuple[dict[str, str], int]]:
    """The machines and versions of packages that runs were trained with, and how many runs each."""
    known = [record.manifest.environment for record in records if record.manifest is not None]
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    for facts in (environment.model_dump() for environment in known if environment is not None):
        packages = facts.pop("packages", {})
        counts[tuple((name, str(value)) for name, value in (facts | packages).items() if value is not None)] += 1
    return [(dict(facts), count) for facts, count in counts.items()]


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
