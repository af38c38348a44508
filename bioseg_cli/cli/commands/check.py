"""`bioseg check`: what is wrong or unusual in data sets, runs and folders of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioseg_cli.checking.settings import CheckConfig
from bioseg_cli.errors import DataError
from bioseg_cli.runs.console import ConsoleOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from bioseg_cli.checking.result import CheckedDataset, CheckedFolder, CheckedRun, CheckResult, Finding

_HASH_SHOWN = 12
"""Characters of a hash; `--json` has them all."""


def check(config: CheckConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Read everything in data sets, runs and folders of images, and say what is wrong or unusual."""
    from rich.text import Text

    from bioseg_cli.checking import session

    result = session.run(config, output)
    for dataset in result.datasets:
        output.show(_dataset(dataset))
    for facts in (*map(_run, result.runs), *map(_folder, result.folders)):
        output.show(Text(facts + "\n"))
    output.show(_findings(result.findings) if result.findings else Text("Nothing is wrong or unusual"))
    output.result(result.to_json())
    _refuse_harm(result)


def _refuse_harm(result: CheckResult) -> None:
    if count := len(result.harmful):
        findings = f"{count} finding{'s' if count > 1 else ''}"
        raise DataError(f"{findings} would make results wrong", fix="The table names them, and says what to do.")


def _dataset(dataset: CheckedDataset) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(dataset.path))
    names = next(iter(dataset.class_shares.values()), {})
    table.add_column("split", no_wrap=True)
    for heading in ("labelled", "unlabelled"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    for split, counts in dataset.images.items():
        shares = dataset.class_shares.get(split, {})
        cells = [f"{shares[name]:.1%}" if name in shares else "-" for name in names]
        table.add_row(split, str(counts["labelled"]), str(counts["unlabelled"]), *cells)
    channels, height, width = dataset.image_shape
    content = "as it was made" if dataset.unchanged else "CHANGED since it was made"
    lines = (
        f"content  {dataset.content_hash[:_HASH_SHOWN]}, {content}",
        f"images   {_size((height, width))}, {channels} channel{'s' if channels > 1 else ''} of {dataset.image_dtype}",
        f"made of  images of {_sizes(dataset.source_sizes)}",
        f"pixels   {dataset.pixel_size or 'of unknown size'}",
    )
    return Group(table, Text("\n".join(lines) + "\n"))


def _run(run: CheckedRun) -> str:
    states = ", ".join(f"{state} {digest[:_HASH_SHOWN]}" for state, digest in run.states.items()) or "none"
    seen = "not known" if run.seen is None else str(run.seen)
    return (
        f"{run.path}\n"
        f"training  {run.command}, {run.status}\n"
        f"data      {run.data}, content {run.data_hash[:_HASH_SHOWN]}\n"
        f"states    {states}\n"
        f"seen      {seen} images"
    )


def _folder(folder: CheckedFolder) -> str:
    kinds = ", ".join(f"{kind} ({count})" for kind, count in folder.kinds.items()) or "none"
    sizes = "none" if folder.sizes is None else _sizes(folder.sizes)
    pixel_sizes = ", ".join(f"{size} ({count})" for size, count in folder.pixel_sizes.items())
    return (
        f"{folder.path}\n"
        f"files     {folder.files}, with {folder.images} images that can be read\n"
        f"images    {kinds}\n"
        f"size      {sizes}\n"
        f"pixels    {pixel_sizes}"
    )


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _sizes(extremes: Sequence[tuple[int, int]]) -> str:
    return " to ".join(dict.fromkeys(map(_size, extremes)))


def _findings(findings: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Findings", show_lines=True)
    table.add_column("")
    table.add_column("where", overflow="fold")
    table.add_column("what, and what to do", overflow="fold")
    for finding in findings:
        said = f"{finding.what}." + (f"\n{finding.fix}" if finding.fix else "")
        mark = Text("harm", style="bold red") if finding.harm else Text("note")
        table.add_row(mark, Text(finding.where), Text(said))
    return table
