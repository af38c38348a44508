"""Where the figures come from: every run with its hash and settings, versions, and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bioseg_cli.dataset.area import with_share
from bioseg_cli.report import words
from bioseg_cli.report.markup import Markup, joined, tag
from bioseg_cli.report.records import RunRecord, common_settings, environments, own_settings
from bioseg_cli.report.tables import scrolling
from bioseg_cli.runs.console import clock

HASH_SHOWN = 16
"""Characters of a hash; `--json` has them all."""


def runs_table(records: Sequence[RunRecord]) -> Markup:
    """A row a run: how it ended, its repeat, how long it took and where, its hash, and what is special about it."""
    common = common_settings(records)
    special = any(own_settings(one, common) for one in records)
    heading = (
        "Run", "Data set", "Method", "Labels", "Draw", "Seed", "Status", "Updates", "Time", "Device", "Hash",
        *(["Other settings"] if special else []),
    )  # fmt: skip
    rows = [_run_row(one, common, special=special) for one in records]
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in heading))),
        tag("tbody", *rows),
        class_="runs",
    )
    summary = tag("summary", f"All {words.counted(len(records), 'run')}")
    # Open, so that it is printed; whoever reads on a screen can close it.
    return tag("details", summary, scrolling(table, "All runs"), open=True)


def _run_row(record: RunRecord, common: Mapping[str, Mapping[str, Any]], *, special: bool) -> Markup:
    run = record.run
    status = tag("span", run.status, class_=f"status-{run.status}")
    said: list[str] = [status] if run.failure is None else [status, f": {run.failure}"]
    kinds = {f"{head}: {kind}" for each in run.collapse.values() for head, kind in each.items()}
    if kinds:
        said.append(f" ({', '.join(sorted(kinds))})")
    cells = [
        tag("td", run.data),
        tag("td", words.method(run.loss)),
        tag("td", "none" if run.budget is None else with_share(run.budget.count, [run.labelled_share])),
        tag("td", words.DASH if run.budget is None else str(run.draw)),
        tag("td", str(run.seed)),
        tag("td", *said, class_="long" if len(said) > 1 else None),
        tag("td", "" if record.updates is None else str(record.updates)),
        tag("td", "" if record.seconds is None else clock(record.seconds)),
        tag("td", record.machine),
        tag("td", tag("code", run.hash[:HASH_SHOWN])),
    ]
    if special:
        own = ", ".join(f"{name} {shown(value)}" for name, value in own_settings(record, common).items())
        cells.append(tag("td", own, class_="long"))
    return tag("tr", tag("th", run.name, scope="row"), *cells)


def settings_lists(records: Sequence[RunRecord]) -> list[tuple[str, Markup]]:
    """By command, the settings that all its runs share."""
    return [
        (command, _pairs({name: shown(value) for name, value in sorted(settings.items())}))
        for command, settings in common_settings(records).items()
    ]


def machines(records: Sequence[RunRecord]) -> Markup:
    """The versions and machines that the runs were trained with."""
    lists = []
    for environment, count in environments(records):
        packages = {name: str(version) for name, version in environment.get("packages", {}).items()}
        facts = {name: str(value) for name, value in environment.items() if name != "packages" and value is not None}
        title = tag("p", f"{words.capitalised(words.counted(count, 'run'))}:", class_="about")
        lists.append(joined([title, _pairs({**facts, **packages})]))
    return joined(lists)


def _pairs(values: Mapping[str, str]) -> Markup:
    pairs = (tag("div", tag("dt", name.replace("_", " ")), tag("dd", value)) for name, value in values.items())
    return tag("dl", *pairs, class_="settings")


def shown(value: Any) -> str:
    """A setting as a reader would write it."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
