"""Signals that ask for a stop: a matter of the whole process, so only its owner, a command or a worker, listens.

A library that installed handlers would take them from the program that calls it, and could not from a thread.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP where there is one, end what is done as Ctrl-C does: what is finished is recorded.

    A signal that is ignored stays ignored: under `nohup` a command outlives its terminal.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(_heeded(signal.SIGTERM, *_CLOSED_TERMINAL), interrupt):
        yield


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request to stop after the step; the second stops at once."""
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    with _handled([signal.SIGINT, signal.SIGTERM, *_heeded(*_CLOSED_TERMINAL)], request):
        yield lambda: requested


_CLOSED_TERMINAL = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []


def _heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
