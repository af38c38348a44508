"""Normalisation numbers of the training images, gathered image by image and exact.

Integers up to 16 bits are counted in a histogram. Of wider types only the values that can still be one of the two
percentiles are kept: a few thousandths of all pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.prepare.settings import NormalisationMethod

LOW_PERCENT, HIGH_PERCENT = 0.1, 99.9
"""The percentiles that `percentile` maps to 0 and 1 (Caicedo et al. 2019 use them on BBBC039)."""

Values = npt.NDArray[np.float64]


class RangeOfChannels:
    """Finds the range of each channel over images that are seen once.

    Args:
        method: "minmax" or "percentile".
        dtype: type of the pixels.
        channels: C.
        pixels: how many pixels a channel has in all images together; exceeding it is a programming error.
    """

    def __init__(self, method: NormalisationMethod, dtype: npt.DTypeLike, *, channels: int, pixels: int) -> None:
        self._method = method
        self._dtype = np.dtype(dtype)
        self._announced = pixels
        self._seen = 0
        self._low = np.full(channels, np.inf)
        self._high = np.full(channels, -np.inf)
        if method == "percentile":
            self._sorted = [self._counter() for _ in range(channels)]

    def _counter(self) -> _Histogram | _Tails:
        if self._dtype.kind in "ui" and self._dtype.itemsize <= 2:
            return _Histogram(self._dtype)
        return _Tails(self._announced)

    def add(self, image: Pixels) -> None:
        """See one image (C, H, W), without its padding."""
        flat = image.reshape(len(image), -1)
        self._seen += flat.shape[1]
        if self._seen > self._announced:
            raise ValueError("more pixels than were announced")
        if not flat.shape[1]:
            return
        self._low = np.minimum(self._low, flat.min(axis=1))
        self._high = np.maximum(self._high, flat.max(axis=1))
        if self._method == "percentile":
            for counter, values in zip(self._sorted, flat, strict=True):
                counter.add(values)

    def normalisation(self) -> Normalisation:
        """The range found.

        Raises:
            DataError: every training image is one constant grey.
        """
        if not (self._high > self._low).any():
            raise DataError(
                "All pixels of all training images have one value",
                fix="Check that the images are not black, and that the right folder was given.",
            )
        low, high = self._low, self._high
        if self._method == "percentile":
            low = np.array([self._percentile(counter, LOW_PERCENT) for counter in self._sorted])
            high = np.array([self._percentile(counter, HIGH_PERCENT) for counter in self._sorted])
            # Nearly empty images: fewer than one pixel in a thousand differs, and percentiles would erase it.
            flat = high <= low
            low, high = np.where(flat, self._low, low), np.where(flat, self._high, high)
        return Normalisation(self._method, tuple(low.tolist()), tuple(high.tolist()))

    def _percentile(self, counter: _Histogram | _Tails, percent: float) -> float:
        """As `numpy.percentile`: linear between the two nearest ranks."""
        position = percent / 100 * (self._seen - 1)
        rank = int(position)
        below = counter.value_at(rank, self._seen)
        above = counter.value_at(min(rank + 1, self._seen - 1), self._seen)
        return below + (above - below) * (position - rank)


def value_counts(values: Pixels) -> IntArray:
    """How often each value of unsigned integers of 8 or 16 bits occurs, (256,) or (65536,)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.itemsize == 2:
        return np.bincount(flat, minlength=65536)
    # Two neighbours are one 16-bit number, and counting goes by numbers.
    paired, rest = flat[: flat.size // 2 * 2], flat[flat.size // 2 * 2 :]
    pairs = np.bincount(paired.view(np.uint16), minlength=65536).reshape(256, 256)
    counts: IntArray = pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(rest, minlength=256)
    return counts


class _Histogram:
    """Counts of every value of a small integer type."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        bits = 8 * dtype.itemsize
        self._unsigned = np.dtype(dtype.str.replace("i", "u"))
        self._lowest = -(1 << (bits - 1)) if dtype.kind == "i" else 0
        self._counts = np.zeros(1 << bits, dtype=np.int64)

    def add(self, values: Pixels) -> None:
        self._counts += value_counts(values.view(self._unsigned))

    def value_at(self, rank: int, total: int) -> float:
        """The value at `rank` (from 0) of the `total` sorted ones."""
        # Read as unsigned, negative numbers stand behind the others.
        ascending = np.roll(self._counts, -self._lowest)
        return float(np.searchsorted(np.cumsum(ascending), rank, side="right") + self._lowest)


class _Tails:
    """The smallest and the largest values seen, enough of them for both percentiles."""

    def __init__(self, pixels: int) -> None:
        self._keep = int(np.ceil(LOW_PERCENT / 100 * pixels)) + 2
        self._smallest: Values = np.empty(0)
        self._largest: Values = np.empty(0)

    def add(self, values: Pixels) -> None:
        self._smallest = self._ends(np.concatenate([self._smallest, self._ends(values.astype(np.float64), 1)]), 1)
        self._largest = self._ends(np.concatenate([self._largest, self._ends(values.astype(np.float64), -1)]), -1)

    def _ends(self, values: Values, sign: int) -> Values:
        """The `_keep` smallest (sign 1) or largest (sign -1) values, unsorted."""
        if len(values) <= self._keep:
            return values
        return sign * np.partition(sign * values, self._keep - 1)[: self._keep]

    def value_at(self, rank: int, total: int) -> float:
        """The value at `rank` (from 0) of the `total` sorted ones; `rank` must be near either end."""
        if rank < len(self._smallest):
            return float(np.sort(self._smallest)[rank])
        return float(np.sort(self._largest)[rank - total])
