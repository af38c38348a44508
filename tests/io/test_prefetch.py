"""Work that runs ahead: in order, never far ahead, and over when the block is left."""

from __future__ import annotations

import threading
import time

import pytest

from bioseg_cli.io.prefetch import made_ahead


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_results_come_in_order_however_long_each_takes() -> None:
    def make(number: int) -> int:
        time.sleep(0.003 * (number % 3 == 0))
        return number**2

    with made_ahead(make, range(20), most=4) as results:
        assert list(results) == [number**2 for number in range(20)]


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_announced_is_ahead(most: int) -> None:
    begun: list[int] = []

    with made_ahead(begun.append, range(30), most=most) as results:
        for used, _ in enumerate(results, start=1):
            time.sleep(0.002)
            assert len(begun) <= used + most
    assert sorted(begun) == list(range(30))


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
    with pytest.raises(ValueError, match="first in order"), made_ahead(make, range(9), most=3) as results:
        seen.extend(results)
    assert seen == [0, 1]


def test_leaving_the_block_ends_the_threads_and_begins_nothing_more() -> None:
    begun: list[int] = []
    with pytest.raises(RuntimeError), made_ahead(begun.append, range(1000), most=5) as results:
        next(results)
        assert workers()
        raise RuntimeError
    assert not workers()
    assert len(begun) <= 6
