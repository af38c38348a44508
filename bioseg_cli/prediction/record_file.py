"""The record beside the masks, which is whole at every moment of a prediction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bioseg_cli.io.ownership import Ownership
from bioseg_cli.prediction.earlier import Outdated
from bioseg_cli.prediction.record import FileEntry, Outcome, PredictionRecord
from bioseg_cli.runs.manifest import now, write_manifest
from bioseg_cli.runs.sections import Status

LEAST_PAUSE = 1.0
"""Seconds between two writings of a record at least."""
SHARE_OF_WRITING = 0.05
"""Of the time, what writing of records takes at most: those of many files are long."""


class RecordFile:
    """A record on its way: its file is written again while the prediction goes on.

    Args:
        path: of the file.
        begun: the record when nothing is predicted yet.
        outcome: says what has come of the prediction so far.
        kept: entries of files that are not predicted again.
        order: names of the files as they were given. Entries of other files come last.
        outdated: files of earlier predictions that are replaced one by one.
        ownership: of the folder.
    """

    def __init__(
        self,
        path: Path,
        begun: PredictionRecord,
        outcome: Callable[[], Outcome],
        kept: Sequence[FileEntry],
        order: Sequence[str],
        outdated: Outdated,
        ownership: Ownership,
    ) -> None:
        self._path = path
        self._begun = begun
        self._outcome = outcome
        self._kept = kept
        self._place = {name: number for number, name in enumerate(order)}
        self._outdated = outdated
        self._ownership = ownership
        self._next = 0.0

    def record(self) -> PredictionRecord:
        """What the file says, or will say."""
        outcome = self._outcome()
        entries = (*self._kept, *outcome.files)
        files = sorted(entries, key=lambda entry: self._place.get(entry.name, len(self._place)))
        record = self._begun.having(**{**outcome.given(), "files": tuple(files)})
        earlier = self._outdated.without(outcome.files)
        return record.having(earlier=earlier) if earlier else record

    def write(self) -> None:
        """Write the file, when nothing is left of the files that were replaced."""
        self._ownership.check()
        begun = time.monotonic()
        record = self.record()
        self._outdated.remove_leftovers(record.files)
        write_manifest(self._path, record.model_dump())
        ended = time.monotonic()
        self._next = ended + max(LEAST_PAUSE, (ended - begun) / SHARE_OF_WRITING)

    def end(self, status: Status) -> PredictionRecord:
        """Write the file for the last time, and return what it says; without a mask to tell of there is none."""
        self._begun = self._begun.having(status=status, finished=now())
        record = self.record()
        if record.files or record.earlier:
            self.write()
            return record
        self._path.unlink(missing_ok=True)
        return record

    def keep_up(self) -> None:
        """Write the file, unless that was done a moment ago."""
        if time.monotonic() >= self._next:
            self.write()
