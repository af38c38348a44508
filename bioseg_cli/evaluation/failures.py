"""Runs that cannot be scored among others that can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bioseg_cli.errors import BiosegError, DataError, OutputError, UsageError


class RunFailures:
    """Why single runs of several are left out.

    Args:
        several: there are several; of one run alone, what goes wrong is raised.

    Attributes:
        found: what went wrong first, by run.
    """

    def __init__(self, *, several: bool) -> None:
        self.several = several
        self.found: dict[Path, BiosegError] = {}

    @contextmanager
    def of(self, *runs: Path) -> Iterator[None]:
        """Whatever fails within it fails for these runs, but for what would fail for all of them.

        Raises:
            UsageError: options that do not go together.
            OutputError: nothing can be written.
        """
        try:
            yield
        except (UsageError, OutputError):
            raise
        except Exception as error:
            if not self.several:
                raise
            for run in runs:
                self.found.setdefault(run, _as_failure(error, run))


def _as_failure(error: Exception, run: Path) -> BiosegError:
    if isinstance(error, BiosegError):
        return error
    if isinstance(error, MemoryError):
        return DataError("Memory ran out over this run", where=run, fix="Score it on a larger machine.")
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return DataError(
        f"The run could not be scored ({reason})", where=run, fix="Score it alone with --debug to see where."
    )
