"""Jobs without a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def in_turn(do: Callable[[Any], Any], jobs: list[Any], **_: object) -> Iterator[Any]:
    """What Dask does, without it."""
    for job in jobs:
        yield job, do(job)
