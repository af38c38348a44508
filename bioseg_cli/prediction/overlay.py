"""Pictures to judge a prediction by: the image with every class outlined, or every cluster tinted, in its colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.pictures import as_rgb, draw_outlines, in_class_colours
from bioseg_cli.prediction.reading import Reading

STRETCH_PERCENTILES = (0.5, 99.5)
TINT = 0.5
"""Share of a cluster's colour in the picture; the rest is the image."""


def draw_overlay(pixels: NDArray[Any], labels: NDArray[np.integer[Any]], reading: Reading) -> NDArray[np.uint8]:
    """An 8-bit colour picture (H, W, 3) of an image (C, H, W) and its labels (H, W).

    The image is stretched between its percentiles, for display only. Classes are outlined but for class 0, the
    background; of clusters none is a background, and each is tinted.
    """
    # Colours share one stretch, which keeps their hue; other channels have nothing in common, so each has its own.
    stretched = _stretched(pixels) if len(pixels) == 3 else np.stack([_stretched(channel) for channel in pixels])
    picture = as_rgb(stretched)
    if reading.raw_clusters:
        tints = in_class_colours(labels, reading.values, ignore=len(reading.values))
        return np.rint((1 - TINT) * picture + TINT * tints).astype(np.uint8)
    draw_outlines(picture, labels, reading.values)
    return picture


def _stretched(pixels: NDArray[Any]) -> NDArray[np.float32]:
    low, high = np.percentile(pixels, STRETCH_PERCENTILES)
    span = high - low if high > low else 1.0
    stretched: NDArray[np.float32] = np.clip((pixels - low) / span, 0, 1).astype(np.float32)
    return stretched
