"""Commands of bioseg as forks of this process, which has imported what they need: a short command is mostly imports."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bioseg_cli.cli.app import main

MODULES = (
    "bioseg_cli.prepare.picture",
    "bioseg_cli.training.session",
    "bioseg_cli.training.uda",
    "bioseg_cli.training.iic",
    "bioseg_cli.prediction.session",
    "bioseg_cli.evaluation.session",
    "bioseg_cli.evaluation.runs",
    "bioseg_cli.evaluation.figures",
    "bioseg_cli.study.session",
)
POLL_SECONDS = 0.005


def import_commands() -> None:
    """Import what commands take longest to import."""
    for module in MODULES:
        importlib.import_module(module)


@dataclass(frozen=True)
class AtRename:
    """A signal that a process sends itself right before or after one of its renames.

    Attributes:
        number: of the rename, from 1; 0 = none.
        moment: before or after it.
        sent: the signal.
    """

    number: int
    moment: Literal["before", "after"]
    sent: signal.Signals


class Renames:
    """Stands for `os.replace`: whatever bioseg writes gets its final name by it, so that then its files change."""

    def __init__(self, at: AtRename | None) -> None:
        self.count = 0
        self._at = at
        self._rename = os.replace
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any, **options: Any) -> None:
        """Rename, and count it."""
        with self._lock:
            self.count += 1
            at = self._at if self._at is not None and self._at.number == self.count else None
        if at is not None and at.moment == "before":
            os.kill(os.getpid(), at.sent)
        self._rename(*arguments, **options)
        if at is not None and at.moment == "after":
            os.kill(os.getpid(), at.sent)


class Forked:
    """A command that runs.

    Args:
        arguments: of bioseg.
        said: file for what it says on standard error; where it ends by itself, the last line is the number of its
            renames.
        at: where it is to kill itself.

    Attributes:
        pid: number of the process.
        code: that it exited with, negative after a signal; None while it runs.
    """

    def __init__(self, arguments: tuple[object, ...], said: Path, at: AtRename | None = None) -> None:
        self.code: int | None = None
        self._said = said
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be(arguments, said, at)

    def poll(self) -> int | None:
        """The exit code, where it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = None if pid == 0 else os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float) -> str:
        """Wait for the end; returns what it said.

        Raises:
            TimeoutError: it hangs; it was killed.
        """
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"it did not end within {seconds:g} s")
            time.sleep(POLL_SECONDS)
        return self._said.read_text()

    def send(self, sent: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sent)


def _be(arguments: tuple[object, ...], said: Path, at: AtRename | None) -> None:
    """Be the process of the command."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.replace = os.rename = renames = Renames(at)
    sys.argv = ["bioseg", *map(str, arguments)]
    code: Any = 1
    try:
        main()
        code = 0
    except SystemExit as error:
        code = error.code
    finally:
        print(renames.count, file=sys.stderr, flush=True)
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
