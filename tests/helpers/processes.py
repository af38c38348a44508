"""Commands of bioseg as processes of their own, held while something else is tried."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

PATIENCE = 600
"""Seconds after which a process that is waited for is taken to hang."""


BIOSEG = (sys.executable, "-m", "bioseg_cli")


def command(*arguments: object, program: Sequence[str] = BIOSEG) -> list[str]:
    """The command line of bioseg."""
    return [*program, *map(str, arguments)]


def heed_signals() -> None:
    """Heed the signals that the tests may have been started to ignore: in the background, or by `nohup`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(
    *arguments: object, first: Callable[[], None] = lambda: None, program: Sequence[str] = BIOSEG, **options: Any
) -> subprocess.Popen[str]:
    """A command that has begun, after the process did something else `first`; what it says is kept."""

    def prepare() -> None:
        heed_signals()
        first()

    return subprocess.Popen(
        command(*arguments, program=program),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
        **options,
    )


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition that a process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


STOPPING = """
import os, signal
from bioseg_cli.cli.app import main
from bioseg_cli.io.ownership import Ownership

keep = Ownership.keep

def stop_and_keep(self, ended):
    Ownership.keep = keep
    os.kill(os.getpid(), signal.SIGSTOP)
    keep(self, ended)

Ownership.keep = stop_and_keep
main()
"""
"""A command that stops itself as soon as it owns a place."""


@contextlib.contextmanager
def holding(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command that has stopped because it owns a place, and goes on at the end."""
    process = started(*arguments, program=(sys.executable, "-c", STOPPING))
    try:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def held(process: subprocess.Popen[str], condition: Callable[[], bool]) -> Iterator[None]:
    """A process that is stopped as soon as it has brought a condition about, and goes on at the end."""
    try:
        until(condition, process)
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def ended(process: subprocess.Popen[str], by: signal.Signals | None = None) -> tuple[int, str, str]:
    """The exit code of a process, and what it said; `by` is sent to it first."""
    if by is not None:
        process.send_signal(by)
    out, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, out, errors
