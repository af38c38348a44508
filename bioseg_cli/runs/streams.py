"""Standard output and standard error of a program: they are there, and who listens decides nothing of the work."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from typing import IO, Any

from bioseg_cli.printable import printable_lines


def prepare_streams() -> None:
    """Have all three streams open, and characters that an output has no byte for written as escapes.

    A program may be started without some of them; a file that it opens would take their place, and what a library
    prints would go into the file. A console of an old code page, or a locale without any, would end a command whose
    work is done.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Libraries name files and what stands in them as it is.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())
    warnings.formatwarning = _printable_warning


class _PrintableFormatter(logging.Formatter):
    """What a library logs, as a terminal may be shown it."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return printable_lines(super().format(record))


def _printable_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{category.__name__}: {printable_lines(str(message))}\n"


def let_go(stream: IO[str]) -> None:
    """Have what is written to a stream from now on, and what is left in its buffer, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Unheeded:
    """A stream whose reader may go at any moment: a closed terminal, or the end of a pipe. The work goes on.

    Args:
        stream: that is written to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, as far as there is anybody to read it."""
        try:
            return self._stream.write(text)
        except OSError:
            let_go(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush, likewise."""
        try:
            self._stream.flush()
        except OSError:
            let_go(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
