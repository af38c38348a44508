"""Prefetch: threads prepare a bounded number of results, in order, before their consumer asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from bioseg_cli.processors import processors

WORKERS = min(8, processors())
"""What one thread writes keeps no more than this many others busy."""

Thing = TypeVar("Thing")
Made = TypeVar("Made")


@contextmanager
def prefetched_map(make: Callable[[Thing], Made], things: Iterable[Thing], *, most: int) -> Iterator[Iterator[Made]]:
    """Within the `with` block, an iterator over `make(thing)` for each of `things`, in their order.

    An exception that `make` raises comes out where its result would. When the block is left, however that happens,
    what was begun is waited for and nothing more is begun.

    Args:
        make: called in threads.
        things: its arguments.
        most: how many results there may be that were not asked for yet, begun ones among them; at least 1.
    """
    pool = ThreadPoolExecutor(min(WORKERS, most), thread_name_prefix="prefetch")
    try:
        yield _in_order(pool, make, things, most)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Thing], Made], things: Iterable[Thing], most: int
) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    for thing in things:
        waiting.append(pool.submit(make, thing))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def prefetched(items: Iterator[Thing]) -> Generator[Thing]:
    """Yield `items`, each of which needs the one before. A thread makes the next item while the current one is used.

    Closing the generator waits for the item that the thread is making.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        pending: Future[Any] = pool.submit(next, items, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, items, end)
            yield item
            del item  # or it would stay in memory until the next one is there
