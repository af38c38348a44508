"""The IoU that an image is expected to have, by the probabilities alone and without any label.

The predicted pixels of a class are known, P; the true ones, T, are taken for drawn, each pixel by itself, with the
probabilities of the network. Then E|P and T| is the sum of the class's probabilities over P, and E|P or T| is |P| plus
the sum of its probabilities elsewhere. Their quotient is the estimate. All are sums over pixels, which add up over
rows, tiles and slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.metrics.confusion import mean_over_classes


class ExpectedIoU:
    """Adds up the pixels of an image.

    Args:
        classes: K.

    Attributes:
        sums: (3, K) of each class: pixels predicted and expected true, predicted pixels, expected true pixels.
    """

    def __init__(self, classes: int) -> None:
        self.sums = np.zeros((3, classes))

    def add(self, probabilities: NDArray[np.float32], predicted: NDArray[Any]) -> None:
        """Take in pixels.

        Args:
            probabilities: (..., K, H, W) of the classes.
            predicted: (..., H, W) classes.
        """
        for code, sums in enumerate(self.sums.T):
            likely, here = probabilities[..., code, :, :], predicted == code
            sums += np.sum(likely, where=here, dtype=np.float64), np.count_nonzero(here), likely.sum(dtype=np.float64)

    def per_class(self) -> NDArray[np.float64]:
        """(K,) expected IoU; NaN for a class that is predicted nowhere, of which the probabilities can say little."""
        both, predicted, true = self.sums
        found = np.full(len(both), np.nan)
        np.divide(both, predicted + true - both, out=found, where=predicted > 0)
        return found

    def mean(self) -> float:
        """Mean over the classes that are predicted; NaN without a pixel."""
        return float(mean_over_classes(self.per_class()))


def summed(parts: Sequence[ExpectedIoU]) -> ExpectedIoU:
    """All pixels of the parts together, of which there is at least one."""
    whole = ExpectedIoU(parts[0].sums.shape[1])
    whole.sums = np.sum([part.sums for part in parts], axis=0)
    return whole
