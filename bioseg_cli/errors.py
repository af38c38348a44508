"""The exception tree, one exit code a branch.

BiosegError
├── UsageError      2    the options or the configuration are wrong
├── DataError       3    a file is missing, unreadable, or not what it should be
│   └── OutputError 3    nothing can be written where the output goes
├── RunError        4    training failed: a loss that is not finite, memory that ran out
├── PartialFailure  1    some inputs of a batch failed, the rest was done
└── Interrupted     130  stopped by the user, state saved

Every message says what happened, where, and what to do. `cli.binding` prints it in two or three lines.
"""

from __future__ import annotations

from os import PathLike
from typing import Any, ClassVar, Self

from bioseg_cli.printable import printable


class BiosegError(Exception):
    """Something the user can act on.

    Args:
        what: what happened, one sentence without a full stop.
        where: the file or folder it happened in, if there is one.
        fix: what to do about it, one sentence or the option to use.
        done: the result of what was done all the same, of the type that the stage returns.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, where: str | PathLike[str] | None = None, fix: str | None = None, done: Any = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        self.done = done

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"in {self.where}")
        if self.fix is not None:
            lines.append(self.fix)
        # The names of files are in them, and may hold what a terminal obeys.
        return "\n".join(map(printable, lines))


class UsageError(BiosegError):
    """The options or the configuration are wrong, or what they ask for needs a package that is not installed."""

    exit_code = 2

    @classmethod
    def not_installed(cls, task: str, error: ModuleNotFoundError, extra: str) -> Self:
        """Raised from `error`, the import of a package that only an extra of bioseg installs; `task` needs it."""
        return cls(f"{task} the package {error.name}", fix=f"Install it: pip install 'bioseg[{extra}]'")


class DataError(BiosegError):
    """A file is missing, unreadable, or not what it should be."""

    exit_code = 3


class OutputError(DataError):
    """Nothing can be written where the output goes: a full disk, a folder without permission. A batch ends."""


class RunError(BiosegError):
    """A training run failed."""

    exit_code = 4


class PartialFailure(BiosegError):
    """Some inputs of a batch failed; the others were done."""

    exit_code = 1


class Interrupted(BiosegError):
    """The user stopped the command; what can be kept was saved."""

    exit_code = 130
