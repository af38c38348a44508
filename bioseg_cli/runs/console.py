"""What a command says: results on standard output, everything else on standard error.

On a terminal progress is a bar with the time left; in a pipe or a log file it is plain, timestamped lines, few enough
to read. With `--json` standard output carries one JSON document and nothing else.

Names of files are shown as they are: no markup in them is followed, and what a terminal would obey or cannot show is
escaped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Self, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from bioseg_cli.errors import OutputError
from bioseg_cli.printable import printable, printable_lines
from bioseg_cli.runs.output import Output, PlainProgress
from bioseg_cli.runs.streams import Unheeded, let_go

PIPE_WIDTH = 200
"""Characters a table may take where standard output is not a terminal."""


class ConsoleOutput(Output):
    """Where a command writes.

    Args:
        as_json: print one JSON document at the end instead of tables.
        quiet: no progress and no remarks; results, warnings and errors stay.

    Attributes:
        bar: that is shown now, below what is said.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.json = as_json
        self.quiet = quiet
        self._out = PlainConsole(sys.stdout, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        self._err = error_console()
        self.bar: Progress | None = None

    def say(self, text: str) -> None:
        """A remark for the reader, on standard error."""
        if not self.quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """Something the reader must see, on standard error even when quiet."""
        self._line(f"Warning: {text}")

    def _line(self, text: str) -> None:
        console = self.bar.console if self.bar is not None else self._err
        stamp = "" if self._err.is_terminal else time.strftime("%Y-%m-%d %H:%M:%S ")
        console.print(stamp + printable(text), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table or a text that is the command's result; on standard output, unless it goes there as JSON."""
        if not self.json:
            with _standard_output():
                self._out.print(what)

    def result(self, document: dict[str, Any]) -> None:
        """The command's result as JSON, if that was asked for."""
        if self.json:
            with _standard_output():
                sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, default=_plain) + "\n")
                sys.stdout.flush()

    def progress(self, description: str, total: int, done: int = 0) -> BarProgress | PlainProgress:
        """A bar on a terminal, else lines."""
        if self._err.is_terminal and not self.quiet:
            return BarProgress(self, self._err, description, total, done)
        return PlainProgress(self.say, description, total, done)


class PlainConsole(Console):
    """A console that shows names of files and classes as they are: no markup, no emoji codes."""

    def __init__(self, file: IO[str], *, width: int | None = None, soft_wrap: bool = False) -> None:
        super().__init__(file=file, width=width, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as a text, of which the width is measured before it is rendered."""
        return super().render_str(printable_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The parts of what is printed, in which nothing but Rich's own control codes is one."""
        for part in super().render(renderable, options):
            text = printable_lines(part.text)
            yield part if part.control or text == part.text else Segment(text, part.style)

    def on_broken_pipe(self) -> None:
        """Go on: nothing is wrong where a reader such as `head` has gone, and Rich would exit with 1."""
        let_go(self.file)


def error_console() -> PlainConsole:
    """A console on standard error, whether anybody reads it or not."""
    return PlainConsole(cast(IO[str], Unheeded(sys.stderr)), soft_wrap=True)


@contextmanager
def _standard_output() -> Iterator[None]:
    """Standard output is written within it; raises `OutputError` where that fails for want of more than a reader."""
    try:
        yield
    except BrokenPipeError:
        let_go(sys.stdout)
    except OSError as error:
        let_go(sys.stdout)
        raise output_failure(error) from None


def output_failure(error: OSError) -> OutputError:
    """The error about a standard output that cannot be written."""
    reason = error.strerror or str(error)
    return OutputError(f"Standard output cannot be written ({reason})", fix="Send it to another file or disk.")


def _plain(value: Any) -> Any:
    """What JSON has no form for: paths become text, NumPy's scalars numbers."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class BarProgress:
    """Progress as a bar on a terminal, with the time left; see `runs.output.ProgressDisplay`."""

    def __init__(self, output: ConsoleOutput, console: Console, description: str, total: int, done: int) -> None:
        self._output = output
        self._done = done
        self._note = ""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(printable(description), total=total, completed=done, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        self._output.bar = self._bar
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._output.bar = None

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more steps are done."""
        self._done += count
        self._note = self._note if note is None else note
        self._bar.update(self._task, completed=self._done, note=self._note)
