"""What a stage says when a program calls it: to the logger `bioseg`, and nothing on any stream."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import RenderableType

from bioseg_cli.printable import printable
from bioseg_cli.runs.console import Output

LOGGER = logging.getLogger("bioseg")
# Without a handler of its own, logging would print warnings on standard error.
LOGGER.addHandler(logging.NullHandler())


class LoggedOutput(Output):
    """Logs remarks as INFO and warnings as WARNING, and remembers the warnings; safe in any thread.

    Attributes:
        warnings: sentences that the reader of the result must see.
    """

    def __init__(self) -> None:
        # Not that of the base class: it looks at the standard streams, which a program with windows may lack.
        self.json = False
        self.quiet = True
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        """A remark."""
        LOGGER.info("%s", printable(text))

    def warn(self, text: str) -> None:
        """Something the reader must see."""
        self.warnings.append(text)
        LOGGER.warning("%s", printable(text))

    def show(self, what: RenderableType) -> None:
        """Nothing: the result is what the stage returns."""

    def result(self, document: dict[str, Any]) -> None:
        """Nothing: the result is what the stage returns."""
