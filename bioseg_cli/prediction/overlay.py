"""Pictures to judge a prediction by: the image with every class outlined, or every cluster tinted, in its colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.figures.display_range import display_range, stretched
from bioseg_cli.figures.palette import in_class_colours
from bioseg_cli.figures.pictures import as_rgb, draw_outlines
from bioseg_cli.prediction.head_decoder import HeadDecoder

BLOCK_ROWS = 256
"""Rows that are stretched at once, in double precision."""
TINT = 0.5
"""Share of a cluster's colour in the picture; the rest is the image."""


def draw_overlay(pixels: NDArray[Any], labels: NDArray[np.integer[Any]], decoder: HeadDecoder) -> NDArray[np.uint8]:
    """An 8-bit colour picture (H, W, 3) of an image (C, H, W) and its labels (H, W).

    The image is stretched between its percentiles, for display only. Classes are outlined but for class 0, the
    background; of clusters none is a background, and each is tinted.
    """
    # Colours share one stretch, which keeps their hue; other channels have nothing in common, so each has its own.
    limits = [display_range(pixels)] * 3 if len(pixels) == 3 else [display_range(channel) for channel in pixels]
    picture = np.empty((*labels.shape, 3), np.uint8)
    for top in range(0, len(labels), BLOCK_ROWS):
        rows = slice(top, top + BLOCK_ROWS)
        shown = [stretched(channel[rows], *ends) for channel, ends in zip(pixels, limits, strict=True)]
        picture[rows] = as_rgb(np.stack(shown))
        if decoder.raw_clusters:
            tints = in_class_colours(labels[rows], decoder.values, ignore=len(decoder.values))
            picture[rows] = np.rint((1 - TINT) * picture[rows] + TINT * tints)
    if not decoder.raw_clusters:
        draw_outlines(picture, labels, decoder.values)
    return picture
