"""Prefetch: results in order, never more than announced, and no thread left when the block is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bioseg_cli.io.prefetch import prefetched_map


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_results_come_in_order_however_long_each_takes() -> None:
    later_done = threading.Event()

    def make(number: int) -> int:
        if number == 0:
            assert later_done.wait(60)
        if number == 1:
            later_done.set()
        return number**2

    with prefetched_map(make, range(20), most=4) as results:
        assert list(results) == [number**2 for number in range(20)]


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_announced_is_ahead(most: int) -> None:
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(30):
            asked.append(number)
            yield number

    with prefetched_map(abs, numbers(), most=most) as results:
        ahead = [len(asked) - used for used, _ in enumerate(results, start=1)]
    assert ahead == [most] * (30 - most) + list(reversed(range(most)))


def test_the_first_error_in_order_comes_out_after_the_results_before_it() -> None:
    failed = threading.Event()

    def make(number: int) -> int:
        if number == 2:
            failed.wait(10)
            raise ValueError("the first in order")
        if number == 3:
            failed.set()
            raise KeyError("the first in time")
        return number

    seen: list[int] = []
    with pytest.raises(ValueError, match="first in order"), prefetched_map(make, range(9), most=3) as results:
        seen.extend(results)
    assert seen == [0, 1]


def test_leaving_the_block_ends_the_threads_and_begins_nothing_more() -> None:
    begun: list[int] = []
    with pytest.raises(RuntimeError), prefetched_map(begun.append, range(1000), most=5) as results:
        next(results)
        assert workers()
        raise RuntimeError
    assert not workers()
    assert len(begun) <= 6
