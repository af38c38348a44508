"""The range of intensities that a picture shows: one bright object must not hide the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.5, 99.5)
"""Of the intensities, what becomes black and white."""


def display_range(pixels: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """The intensities that become black and white, the second above the first also where all pixels are alike."""
    low, high = np.percentile(pixels, percentiles)
    return float(low), float(high if high > low else low + 1)


def stretched(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Pixels of any shape from 0 for `low` and below to 1 for `high` and above."""
    # In double precision: the values of a 32-bit integer image would lose digits.
    shown: NDArray[np.float32] = np.clip((pixels - np.float64(low)) / (high - low), 0, 1).astype(np.float32)
    return shown


def for_display(image: NDArray[Any], extent: tuple[slice, slice]) -> NDArray[np.float32]:
    """An image (C, H, W) as (H, W, 3) from 0 to 1: three channels are colours, others are averaged.

    Args:
        image: of any intensities.
        extent: rows and columns of it that the display range is taken from.
    """
    shown = stretched(image, *display_range(image[:, *extent]))
    if len(image) == 3:
        return np.moveaxis(shown, 0, -1)
    grey: NDArray[np.float32] = np.repeat(shown.mean(axis=0)[:, :, None], 3, axis=2)
    return grey
