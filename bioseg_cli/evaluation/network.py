"""The images of a data set through a network that never waits: read before it and counted behind it, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, naming
from bioseg_cli.io.prefetch import prefetched_map

LARGEST_BATCH = 16
"""Images that go through the network together at most: what it says of them is held twice."""
PREFETCHED_GROUPS = 2

Outputs = TypeVar("Outputs")
Predicted = TypeVar("Predicted")
Counts = TypeVar("Counts")


class NetworkOnGroundTruth(Generic[Outputs, Predicted]):
    """What a network predicts for the images of a data set; calling it with a number predicts that image alone.

    Args:
        truth: the images.
        batch: how many of them the network takes at once.
        forward: what the network says of images (B, C, H, W) as stored; called in the caller's thread.
        maps: what that means, one thing an image; called in a thread.
    """

    def __init__(
        self,
        truth: DatasetGroundTruth,
        batch: int,
        forward: Callable[[Pixels], Outputs],
        maps: Callable[[Outputs], Sequence[Predicted]],
    ) -> None:
        self._truth = truth
        self._batch = min(batch, LARGEST_BATCH)
        self._forward = forward
        self._maps = maps

    def __call__(self, number: int) -> Predicted:
        """The prediction of image `number`."""
        return self._maps(self._forward(self._truth.stored(number)[None]))[0]

    def compared(self, compare: Callable[[int, Pixels, Predicted], Counts]) -> Iterator[Counts]:
        """`compare(number, labels, prediction)` of every image, in order; called in a thread.

        However it ends, what the threads have begun is waited for, which is a few images, and nothing more is begun.

        Raises:
            DataError: an image or its labels cannot be read, or do not fit the prediction.
        """
        numbers = range(len(self._truth.names))
        groups = [numbers[start : start + self._batch] for start in numbers[:: self._batch]]

        def finish(group: range, labels: Sequence[Pixels], outputs: Outputs) -> list[Counts]:
            found = []
            for number, truth, predicted in zip(group, labels, self._maps(outputs), strict=True):
                with naming(self._truth, number):
                    found.append(compare(number, truth, predicted))
            return found

        pool = ThreadPoolExecutor(1, thread_name_prefix="counting")
        try:
            with prefetched_map(self._read, groups, most=PREFETCHED_GROUPS) as ready:
                waiting: deque[Future[list[Counts]]] = deque()
                for group, (images, labels) in zip(groups, ready, strict=True):
                    waiting.append(pool.submit(finish, group, labels, self._forward(images)))
                    if len(waiting) > 1:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, group: range) -> tuple[Pixels, list[Pixels]]:
        truth = self._truth
        return np.stack([truth.stored(number) for number in group]), [truth.labels(number) for number in group]
