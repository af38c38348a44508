"""`bioseg suggest`: which images of a data set to label first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.suggest.settings import SuggestConfig

if TYPE_CHECKING:
    from rich.table import Table

    from bioseg_cli.suggest.result import Suggestion, SuggestionResult


def suggest(config: SuggestConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Say which training images to label first: a few that cover the set, or those that a network doubts."""
    from rich.text import Text

    from bioseg_cli.suggest import session

    result = session.run(config, output, overwrite=overwrite)
    counted = "have a mask" if result.among == "unlabelled" else "count as labelled"
    output.show(Text(f"{result.training_images} training images, of which {result.labelled} {counted}"))
    output.show(_table(result))
    if result.out is not None:
        output.show(Text(f"picture  {result.out}"))
    if export := result.export:
        masks = export.folder / "masks"
        task = (
            f"correct every mask in {masks}" if export.masks else f"draw a mask for each in {masks}, of the same name"
        )
        output.show(Text(f"images   {export.folder}\nnext     {task}, then"))
        output.show(Text(export.then))
    output.result(result.to_json())


def _table(result: SuggestionResult) -> Table:
    from rich.table import Table

    table = Table(title="Images to label first")
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("why")
    table.add_column("typicality" if result.run is None else "views differ in", justify="right")
    for image in result.suggested:
        table.add_row(str(image.rank), image.image, image.reason, _score(image))
    return table


def _score(image: Suggestion) -> str:
    if image.disagreement is not None:
        return f"{100 * image.disagreement:.2g} %"
    return "" if image.typicality is None else f"{image.typicality:.2f}"
