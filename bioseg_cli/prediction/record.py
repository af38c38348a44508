"""The record beside the masks, which is whole at every moment of a prediction."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bioseg_cli.runs.manifest import write_manifest

LEAST_PAUSE = 1.0
"""Seconds between two writings of a record at least."""
SHARE_OF_WRITING = 0.05
"""Of the time, what writing of records takes at most: those of many files are long."""


class RecordFile:
    """A record on its way: its file is written again while the prediction goes on.

    Args:
        path: of the file.
        record: the record of what is predicted now; others add to it.
        kept: entries of files that are not predicted again.
        order: names of the files as they were given. Entries of other files come last.
    """

    def __init__(
        self, path: Path, record: dict[str, Any], kept: Sequence[Mapping[str, Any]], order: Sequence[str]
    ) -> None:
        self._path = path
        self._record = record
        self._kept = kept
        self._place = {name: number for number, name in enumerate(order)}
        self._next = 0.0

    def document(self) -> dict[str, Any]:
        """What the file says, or will say."""
        entries = [*self._kept, *self._record["files"]]
        files = sorted(entries, key=lambda entry: self._place.get(entry["name"], len(self._place)))
        return {**self._record, "files": files}

    def write(self) -> None:
        """Write the file."""
        begun = time.monotonic()
        write_manifest(self._path, self.document())
        ended = time.monotonic()
        self._next = ended + max(LEAST_PAUSE, (ended - begun) / SHARE_OF_WRITING)

    def end(self) -> None:
        """Write the file for the last time; without a mask to tell of there is none."""
        if self.document()["files"]:
            self.write()
            return
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()  # only where nothing else is in it

    def keep_up(self) -> None:
        """Write the file, unless that was done a moment ago."""
        if time.monotonic() >= self._next:
            self.write()
