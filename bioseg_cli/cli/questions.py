"""Questions to a person at a terminal, on standard error: standard output is for results."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.prompt import Confirm, Prompt
from rich.text import Text

from bioseg_cli.errors import Interrupted
from bioseg_cli.printable import printable
from bioseg_cli.runs.console import ConsoleOutput, PlainConsole


def may_ask(output: ConsoleOutput) -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not output.json


class Questions:
    """Asks one question after the other; what cannot be an answer is asked again."""

    def __init__(self) -> None:
        self._console = PlainConsole(sys.stderr)

    def folder(self, question: str, proposal: Path | None, *, others: Sequence[str] = ()) -> Path:
        """A folder that is there, or one of some other words."""
        while True:
            answer = self.text(question, None if proposal is None else str(proposal))
            if answer in others or Path(answer).expanduser().is_dir():
                return Path(answer) if answer in others else Path(answer).expanduser()
            self._console.print(Text(f"There is no folder {printable(answer)}"))

    def text(self, question: str, proposal: str | None = None, *, choices: Sequence[str] = ()) -> str:
        """A text that is not empty; one of the choices, if there are any."""
        while True:
            with _end_of_input():
                answer: str = Prompt.ask(
                    Text(question),
                    console=self._console,
                    choices=list(choices) or None,
                    default=proposal if proposal is not None else "",
                    show_default=proposal is not None,
                )
            if answer.strip():
                return answer.strip()

    def number_above_0(self, question: str, proposal: float) -> float:
        """A number above 0."""
        while True:
            with contextlib.suppress(ValueError):
                if 0 < (answer := float(self.text(question, f"{proposal:g}"))) < math.inf:
                    return answer
            self._console.print(Text("A number above 0 is needed"))

    def yes(self, question: str, *, proposal: bool) -> bool:
        """Yes or no."""
        with _end_of_input():
            answer: bool = Confirm.ask(Text(question), console=self._console, default=proposal)
        return answer


class _end_of_input:  # noqa: N801 - reads as a statement
    """Whoever closes the input (Ctrl-D) stops the command."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is EOFError:
            raise Interrupted("Stopped", fix="Nothing half-written was left.") from None
