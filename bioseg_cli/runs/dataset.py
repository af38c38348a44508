"""The data set that a run was trained on, opened again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.directory import RunDirectory


@contextmanager
def dataset_of(run: RunDirectory) -> Iterator[Dataset | None]:
    """The data set of a run, open; None where the file now holds another data set.

    Raises:
        DataError: the file is gone, or is not a data set.
    """
    recorded = run.manifest.data
    with Dataset(Path(recorded.path)) as dataset:
        yield dataset if dataset.content_hash == recorded.content_hash else None
