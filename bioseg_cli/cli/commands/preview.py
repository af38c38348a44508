"""`bioseg preview`: what the augmentation of training makes of the images of a data set."""

from __future__ import annotations

from bioseg_cli.preview.settings import PreviewConfig
from bioseg_cli.printable import printable
from bioseg_cli.runs.console import ConsoleOutput


def preview(config: PreviewConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Draw training images with each strong operation applied alone, or with the weak transform and masks."""
    from rich.text import Text

    from bioseg_cli.preview import session

    result = session.run(config, output, overwrite=overwrite)
    output.show(Text(f"picture  {result.picture}\nimages   {', '.join(map(printable, result.images))}"))
    output.result(result.to_json())
