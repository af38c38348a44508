"""`bioseg doctor`: what bioseg finds on this machine and in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioseg_cli.doctor.settings import DoctorConfig
from bioseg_cli.runs.console import ConsoleOutput

if TYPE_CHECKING:
    from rich.table import Table

    from bioseg_cli.doctor.result import DoctorResult


def doctor(config: DoctorConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Say what this machine computes with, what is installed, and which data sets and runs are here."""
    from rich.text import Text

    from bioseg_cli.doctor import session

    result = session.run(config)
    output.show(Text(_facts(result)))
    if result.datasets:
        output.show(_datasets(result))
    if result.runs:
        output.show(_runs(result))
    if not result.datasets and not result.runs:
        output.show(Text("No data set in data/ and no run in runs/ yet: begin with `bioseg init`"))
    for remark in result.remarks:
        output.warn(remark)
    output.result(result.to_json())


def _facts(result: DoctorResult) -> str:
    computing = result.computing
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    busy = "" if computing.busy is None else f", {computing.busy:.1f} processes want one"
    memory = "unknown" if computing.memory is None else f"{computing.memory / 1e9:.1f} GB free"
    lines = [
        f"versions    {versions}",
        f"device      {computing.device}" + "".join(f", {name}" for name in computing.gpus),
        f"precision   {computing.precision} ({computing.reason})",
        f"processors  {computing.cores}{busy}",
        f"memory      {memory}",
        f"disk        {result.disk / 1e9:.1f} GB free",
    ]
    for extra in result.extras:
        state = f"not installed: pip install 'bioseg[{extra.name}]'" if extra.missing else "installed"
        lines.append(f"{extra.name:<12}{state} ({extra.for_what})")
    return "\n".join(lines)


def _datasets(result: DoctorResult) -> Table:
    from rich.table import Table

    table = Table(title="Data sets")
    table.add_column("file", overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("labelled", justify="right")
    table.add_column("classes", overflow="fold")
    for dataset in result.datasets:
        counts = ("", "") if dataset.fault else (str(dataset.images), str(dataset.labelled))
        table.add_row(str(dataset.path), *counts, dataset.fault or ", ".join(dataset.classes))
    return table


def _runs(result: DoctorResult) -> Table:
    from rich.table import Table

    table = Table(title="Runs")
    table.add_column("folder", overflow="fold")
    table.add_column("command")
    table.add_column("updates", justify="right")
    table.add_column("status", overflow="fold")
    for run in result.runs:
        table.add_row(str(run.path), run.command, "" if run.fault else str(run.updates), run.fault or run.status)
    return table
