"""Which labelled images a label budget takes, so that every class is among its labels as early as can be.

A budget is the beginning of an order of the labelled images. Where that beginning shows every class that the order
shows at all, it is taken as it is. A smaller budget would lack a class: of the shortest beginning that lacks none it
takes the images first that add the most classes. So budgets stay inside each other, and no larger one changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from bioseg_cli.dataset.schema import IntArray

Shown = Callable[[int], frozenset[int]]
"""The class codes of the labelled pixels of an image, by its index."""


class LabelBudgets:
    """The label budgets of one order of labelled images. Masks are read when a question needs them, and no earlier.

    Args:
        order: (L,) indices of the images.
        classes: number of classes of the data set.
        shown: says which classes an image shows.
    """

    def __init__(self, order: IntArray, classes: int, shown: Shown) -> None:
        self.order = order
        self._classes = classes
        self._shown = shown

    def first(self, count: int) -> IntArray:
        """The images of a budget, (count,) indices."""
        if count >= len(self.order) or count >= self._complete:
            return self.order[:count]
        return self._by_what_they_add[:count]

    @cached_property
    def enough(self) -> int:
        """The smallest budget with every class that any image of the order shows."""
        every = self.classes_in(self.order[: self._complete])
        counts = range(1, self._complete + 1)
        return next((count for count in counts if self.classes_in(self._by_what_they_add[:count]) == every), 0)

    def classes_in(self, indices: IntArray) -> frozenset[int]:
        """The classes that images show together."""
        return frozenset[int]().union(*self._one_by_one(indices))

    def _one_by_one(self, indices: IntArray) -> list[frozenset[int]]:
        """The classes of each image, up to the one that completes all there are."""
        found: list[frozenset[int]] = []
        seen = frozenset[int]()
        for index in indices.tolist():
            if len(seen) == self._classes:
                break
            found.append(self._shown(index))
            seen |= found[-1]
        return found

    @cached_property
    def _complete(self) -> int:
        """Length of the shortest beginning of the order that shows every class that the order shows."""
        seen, complete = frozenset[int](), 0
        for length, classes in enumerate(self._one_by_one(self.order), 1):
            if not classes <= seen:
                seen, complete = seen | classes, length
        return complete

    @cached_property
    def _by_what_they_add(self) -> IntArray:
        """The images of that beginning, each the first of those that add the most classes to the ones before."""
        waiting = self.order[: self._complete].tolist()
        taken: list[int] = []
        seen = frozenset[int]()
        while waiting:
            best = max(waiting, key=lambda index: len(self._shown(index) - seen))  # of equals the first
            if self._shown(best) <= seen:
                taken += waiting
                break
            waiting.remove(best)
            taken.append(best)
            seen |= self._shown(best)
        return np.array(taken, dtype=np.int64)
