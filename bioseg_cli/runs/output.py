"""What a stage says while it works, and how far it is: to whom, the caller decides (`runs.console`, `runs.logged`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, TypeVar

from bioseg_cli.printable import printable

PLAIN_SECONDS = 10.0
"""Without a terminal, a progress line is written at most this often."""

Thing = TypeVar("Thing")


class ProgressDisplay(Protocol):
    """Progress of one piece of work, while its context is entered."""

    def __enter__(self) -> Self:
        """Begin to show it."""

    def __exit__(self, *_: object) -> None:
        """Show it no longer."""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more steps are done; a note is such as the current loss."""


class Output(Protocol):
    """To whom a stage speaks."""

    def say(self, text: str) -> None:
        """A remark for the reader."""

    def warn(self, text: str) -> None:
        """Something the reader must see."""

    def progress(self, description: str, total: int, done: int = 0) -> ProgressDisplay:
        """A progress display to advance by hand.

        Args:
            description: of the work.
            total: steps of it.
            done: steps that an earlier session did.
        """

    def track(self, things: Iterable[Thing], description: str, total: int) -> Iterator[Thing]:
        """Yield `things`, showing how far along they are and how long the rest will take."""
        with self.progress(description, total) as progress:
            for thing in things:
                yield thing
                progress.advance()


class PlainProgress:
    """Progress as lines, few enough to read in a log file; see `ProgressDisplay`.

    Args:
        say: takes each line.
        description: of the work.
        total: steps of it.
        done: steps that an earlier session did.
    """

    def __init__(self, say: Callable[[str], None], description: str, total: int, done: int) -> None:
        self._say = say
        self._description = printable(description)
        self._total = total
        self._first = self._done = done
        self._note = ""
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more steps are done."""
        self._done += count
        self._note = self._note if note is None else note
        now = time.monotonic()
        if self._done > self._first and now - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            left = (now - self._start) / (self._done - self._first) * (self._total - self._done)
            said = f", {self._note}" if self._note else ""
            self._say(f"{self._description} {self._done}/{self._total}, {clock(left)} left{said}")


def clock(seconds: float) -> str:
    """A duration as hours, minutes and seconds: 1:02:03, or 2:03."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
