"""Reading in a process of its own: a reader may take too long, take too much memory, or end its process."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from bioseg_cli.errors import BiosegError

Read = Callable[[str, Path], None]
"""Reads a file by the reader of a name; raises a `BiosegError` where it refuses it."""

MOST_SECONDS = 10.0
MOST_BYTES = 2 * 2**30
"""Of address space, above what the process has when it begins to read."""

_STARTS_WITHIN_SECONDS = 300.0
_ENDS_WITHIN_SECONDS = 10.0
_KIB = 1024


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        kind: read whole, refused by an error of bioseg, or a fault.
        seconds: that it took.
        grown: how far the resident memory rose at most, in bytes.
        said: the refusal, or the traceback of a fault.
    """

    kind: Literal["read", "refused", "fault"]
    seconds: float
    grown: int
    said: str = ""


class Worker:
    """A process that reads one input after another; when it dies or hangs, the next input has a new one.

    Args:
        read: a function of a module, so that the process can import it.
        prepare: likewise; called once in each process, for what libraries import and keep when they are first used.
        most_seconds: that an input may take.
        most_bytes: see `MOST_BYTES`.
    """

    def __init__(
        self,
        read: Read,
        prepare: Callable[[], None] | None = None,
        *,
        most_seconds: float = MOST_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._functions = read, prepare
        self._most_seconds = most_seconds
        self._most_bytes = most_bytes
        self._log = tempfile.NamedTemporaryFile(prefix="fuzz-", suffix=".log")  # noqa: SIM115 - lives as long as this
        self._process: multiprocessing.process.BaseProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._connection.close()  # at which the process ends by itself
            self._process.join(_ENDS_WITHIN_SECONDS)
        self._stop()
        self._log.close()

    def outcome(self, reader: str, path: Path) -> Outcome:
        """Have an input read."""
        if self._process is None or not self._process.is_alive():
            self._start()
        begun = time.monotonic()
        self._connection.send((reader, path))
        try:
            # The process itself notes where it is after `most_seconds`.
            if self._connection.poll(self._most_seconds + 1):
                found: Outcome = self._connection.recv()
                if found.kind != "fault" and found.seconds > self._most_seconds:
                    return Outcome("fault", found.seconds, found.grown, f"took {found.seconds:.1f} s\n{self._noted()}")
                return found
            what = f"took more than {self._most_seconds:g} s"
        except EOFError:
            assert self._process is not None
            self._process.join(10)
            what = f"ended its process with {self._process.exitcode}"
        self._stop()
        return Outcome("fault", time.monotonic() - begun, 0, f"{what}\n{self._noted()}")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        given = (theirs, *self._functions, self._log.name, self._most_seconds, self._most_bytes)
        self._process = context.Process(target=_serve, args=given, daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(_STARTS_WITHIN_SECONDS):
            raise TimeoutError("The process that reads did not start")
        self._connection.recv()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _noted(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")[-6000:]


def _serve(
    connection: Connection,
    read: Read,
    prepare: Callable[[], None] | None,
    log: str,
    most_seconds: float,
    most_bytes: int,
) -> None:
    with Path(log).open("r+b", buffering=0) as noted:
        os.dup2(noted.fileno(), 2)  # what libraries of C print would fill the terminal
        faulthandler.enable(noted)
        if prepare is not None:
            prepare()
        connection.send("ready")
        while True:
            try:
                reader, path = connection.recv()
            except EOFError:
                return
            noted.truncate(0)
            noted.seek(0)
            faulthandler.dump_traceback_later(most_seconds, file=noted)
            outcome = _outcome(read, reader, path, most_bytes)
            faulthandler.cancel_dump_traceback_later()
            connection.send(outcome)


def _outcome(read: Read, reader: str, path: Path, most_bytes: int) -> Outcome:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (before["VmSize"] + most_bytes, hard))
    begun = time.monotonic()
    kind: Literal["read", "refused", "fault"] = "read"
    said = ""
    try:
        read(reader, path)
    except BiosegError as error:
        kind, said = "refused", str(error)
    except BaseException as error:  # whatever it is, it is none of bioseg's errors
        kind = "fault"
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        said = "".join(traceback.format_exception(error))
    seconds = time.monotonic() - begun
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return Outcome(kind, seconds, max(0, _memory()["VmHWM"] - before["VmRSS"]), said)


def _memory() -> dict[str, int]:
    """Sizes of this process, in bytes, by the names of Linux."""
    lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * _KIB for words in lines if words[-1:] == ["kB"]}
