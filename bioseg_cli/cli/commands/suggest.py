"""`bioseg suggest`: which images of a data set to label first."""

from __future__ import annotations

from typing import Any

from bioseg_cli.runs.console import Output
from bioseg_cli.suggest.settings import SuggestConfig


def suggest(config: SuggestConfig, output: Output, overwrite: bool) -> None:
    """Say which training images to label first: a few that cover the set, or those that a trained network doubts."""
    from rich.text import Text

    from bioseg_cli.suggest import session

    found = session.run(config, output, overwrite=overwrite)
    counted = "have a mask" if found["among"] == "unlabelled" else "count as labelled"
    output.show(Text(f"{found['training_images']} training images, of which {found['labelled']} {counted}"))
    output.show(_table(found))
    if "out" in found:
        output.show(Text(f"picture  {found['out']}"))
    if "export" in found:
        masks = found["export"] / "masks"
        task = (
            f"correct every mask in {masks}" if found["masks"] else f"draw a mask for each in {masks}, of the same name"
        )
        output.show(Text(f"images   {found['export']}\nnext     {task}, then"))
        output.show(Text(found["then"]))
    output.result(found)


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Images to label first")
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("why")
    table.add_column("typicality" if found["run"] is None else "views differ in", justify="right")
    for suggestion in found["suggested"]:
        table.add_row(str(suggestion["rank"]), suggestion["image"], suggestion["reason"], _score(suggestion))
    return table


def _score(suggestion: dict[str, Any]) -> str:
    if "disagreement" in suggestion:
        return f"{100 * suggestion['disagreement']:.2g} %"
    return "" if suggestion["typicality"] is None else f"{suggestion['typicality']:.2f}"
