"""`bioseg prepare NAME`: files to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bioseg_cli.cli.rejected import rejected_shown, table_of_files
from bioseg_cli.errors import Interrupted
from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.runs.console import ConsoleOutput

if TYPE_CHECKING:
    from bioseg_cli.prepare.result import PreparationResult


def prepare(config: PrepareConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Make the data set of a recipe."""
    from bioseg_cli.prepare import session

    try:
        with rejected_shown(output):
            result = session.run(config, output, overwrite=overwrite)
    except KeyboardInterrupt:
        if config.workspace is None or not config.workspace.is_dir():
            raise
        raise Interrupted(
            "Stopped", where=config.workspace, fix="Repeat the command with --resume to go on from the files there."
        ) from None
    _show(result, output)
    output.result(result.to_json())


def _show(result: PreparationResult, output: ConsoleOutput) -> None:
    from rich.table import Table
    from rich.text import Text

    from bioseg_cli.dataset.area import with_share

    channels, height, width = result.image_shape
    table = Table(title=str(result.path))
    table.add_column("split")
    table.add_column("labelled", justify="right")
    table.add_column("unlabelled", justify="right")
    for name in result.classes:
        table.add_column(Text(name), justify="right")
    for split, counts in result.images.items():
        shares = result.class_shares.get(split, {})
        cells = [f"{shares[name]:.1%}" if name in shares else "-" for name in result.classes]
        area = result.labelled_area.get(split, {})
        table.add_row(split, with_share(counts["labelled"], [area.get("share")]), str(counts["unlabelled"]), *cells)
    output.show(table)
    if result.left_out:
        output.show(table_of_files(result.left_out, "Files that are left out"))
    normalisation = result.normalisation
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in zip(normalisation.low, normalisation.high, strict=True))
    method = "minimum and maximum" if normalisation.method == "minmax" else "0.1 and 99.9 percentiles"
    depth = f"{channels} channel{'s' if channels > 1 else ''} of {result.image_dtype}"
    lines = [
        f"images   {height} x {width} pixels, {depth}",
        f"0 to 1   {ranges} ({method} of the training images)",
        f"masks    {result.masks}",
        *_labelled_lines(result.labelled_area),
        *(f"note     {note}" for note in result.notes),
        *([f"picture  {result.picture}"] if result.picture else []),
    ]
    output.show(Text("\n".join(lines)))


def _labelled_lines(areas: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How much of the labelled images has a label, where that is not all."""
    from bioseg_cli.dataset.area import per_cent

    said = [
        f"{area['pixels']} pixels in {split} ({per_cent(area['share'])} % of its labelled images)"
        for split, area in areas.items()
        if area["share"] < 1
    ]
    return [f"labels   {', '.join(said)}"] if said else []
