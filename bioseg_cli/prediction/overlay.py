"""Pictures to judge a prediction by: the image with the outline of every class in its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bioseg_cli.config import ClassInfo

STRETCH_PERCENTILES = (0.5, 99.5)


def draw_overlay(
    pixels: NDArray[Any], labels: NDArray[np.integer[Any]], classes: Sequence[ClassInfo]
) -> NDArray[np.uint8]:
    """An 8-bit colour picture (H, W, 3) of an image (C, H, W) and its labels (H, W).

    The image is stretched between its percentiles, for display only. Outlines are two pixels wide, one on either side
    of the border; class 0, the background, has none.
    """
    picture = _displayable(pixels)
    for code, one in enumerate(classes[1:], start=1):
        inside = labels == code
        # A border value of 1 in the erosion keeps the frame of the picture free of outlines.
        outline = ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside, border_value=1)
        picture[outline] = one.colour
    return picture


def _displayable(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    # Colours share one stretch, which keeps their hue; other channels have nothing in common, so each has its own.
    if len(pixels) == 3:
        shown = _stretched(pixels)
    else:
        shown = np.repeat(np.mean([_stretched(channel) for channel in pixels], axis=0)[None], 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(np.rint(255 * shown), 0, -1)).astype(np.uint8)


def _stretched(pixels: NDArray[Any]) -> NDArray[np.float32]:
    low, high = np.percentile(pixels, STRETCH_PERCENTILES)
    span = high - low if high > low else 1.0
    stretched: NDArray[np.float32] = np.clip((pixels - low) / span, 0, 1).astype(np.float32)
    return stretched
