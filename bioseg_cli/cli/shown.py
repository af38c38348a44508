"""The result of a stage on the screen or as JSON, whether all of it was done or a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bioseg_cli.errors import PartialFailure

ResultT = TypeVar("ResultT")


def show_done(stage: Callable[[], ResultT], show: Callable[[ResultT], None]) -> None:
    """Run a stage and show its result; where a part of it failed, show what was done and raise."""
    try:
        result = stage()
    except PartialFailure as failure:
        show(failure.done)
        raise
    show(result)
