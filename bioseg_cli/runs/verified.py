"""Verifying a data set before a result relies on it, with progress for the user."""

from __future__ import annotations

from functools import partial

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.verification import verify_content
from bioseg_cli.runs.output import Output


def verify_before_use(dataset: Dataset, output: Output, *, whole: bool = False) -> None:
    """Read the whole data set and compare it with its content hash, where what is read later is not verified then.

    Args:
        dataset: open data set.
        output: for progress.
        whole: read it even so.

    Raises:
        DataError: an image cannot be read, or anything in the data set is not what it was.
    """
    if whole or not dataset.verified_as_read:
        described = f"Verifying {dataset.path.name}"
        verify_content(dataset, partial(output.track, description=described, total=dataset.size))
