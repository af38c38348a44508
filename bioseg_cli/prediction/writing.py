"""Writing of masks while the network goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Writing:
    """A context that runs writes in a thread, one after the other, and raises what goes wrong with them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None and self._pending is not None:
            self._pending.result()

    def submit(self, write: Callable[..., None], *arguments: Any) -> None:
        """Start a write, after the one before has ended: at most one image waits in memory."""
        if self._pending is not None:
            self._pending.result()
        self._pending = self._pool.submit(write, *arguments)
