"""Pictures to judge a prediction by: the image with the outline of every class in its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo
from bioseg_cli.pictures import as_rgb, draw_outlines

STRETCH_PERCENTILES = (0.5, 99.5)


def draw_overlay(
    pixels: NDArray[Any], labels: NDArray[np.integer[Any]], classes: Sequence[ClassInfo]
) -> NDArray[np.uint8]:
    """An 8-bit colour picture (H, W, 3) of an image (C, H, W) and its labels (H, W).

    The image is stretched between its percentiles, for display only; class 0, the background, has no outline.
    """
    # Colours share one stretch, which keeps their hue; other channels have nothing in common, so each has its own.
    stretched = _stretched(pixels) if len(pixels) == 3 else np.stack([_stretched(channel) for channel in pixels])
    picture = as_rgb(stretched)
    draw_outlines(picture, labels, classes)
    return picture


def _stretched(pixels: NDArray[Any]) -> NDArray[np.float32]:
    low, high = np.percentile(pixels, STRETCH_PERCENTILES)
    span = high - low if high > low else 1.0
    stretched: NDArray[np.float32] = np.clip((pixels - low) / span, 0, 1).astype(np.float32)
    return stretched
