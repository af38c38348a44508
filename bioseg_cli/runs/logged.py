"""What a stage says when a program calls it: to the logger `bioseg`, and nothing on any stream."""

from __future__ import annotations

import logging

from bioseg_cli.printable import printable
from bioseg_cli.runs.output import Output, PlainProgress

LOGGER = logging.getLogger("bioseg")
# Without a handler of its own, logging would print warnings on standard error.
LOGGER.addHandler(logging.NullHandler())


class LoggedOutput(Output):
    """Logs remarks and progress as INFO and warnings as WARNING, and remembers the warnings; safe in any thread.

    Attributes:
        warnings: sentences that the reader of the result must see.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        """A remark."""
        LOGGER.info("%s", printable(text))

    def warn(self, text: str) -> None:
        """Something the reader must see."""
        self.warnings.append(text)
        LOGGER.warning("%s", printable(text))

    def progress(self, description: str, total: int, done: int = 0) -> PlainProgress:
        """Lines of the log."""
        return PlainProgress(self.say, description, total, done)
