"""Pictures to judge a prediction by: the image with every class outlined, or every cluster tinted, in its colour."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.figures.display_range import display_range, stretched
from bioseg_cli.figures.palette import in_class_colours
from bioseg_cli.figures.pictures import as_rgb, draw_outlines
from bioseg_cli.prediction.head_decoder import HeadDecoder

LARGEST_PICTURE = 4096
"""Pixels a side of the largest picture; see `Preview`."""
BLOCK_ROWS = 256
"""Rows that are stretched at once, in double precision."""
TINT = 0.5
"""Share of a cluster's colour in the picture; the rest is the image."""


class Preview:
    """A frame's pixels and labels for a picture, gathered from rows as they go by.

    Frames with more than `LARGEST_PICTURE` pixels a side are reduced: of every so many rows and columns one is kept,
    the smallest whole number that does. The others are never held.

    Args:
        shape: (C, H, W) of the frame.
        pixel_dtype: of its pixels.
        label_dtype: of its labels.

    Attributes:
        factor: 1 row and column of so many is kept.
    """

    def __init__(self, shape: tuple[int, int, int], pixel_dtype: np.dtype[Any], label_dtype: np.dtype[Any]) -> None:
        channels, height, width = shape
        self.factor = max(1, math.ceil(max(height, width) / LARGEST_PICTURE))
        reduced = math.ceil(height / self.factor), math.ceil(width / self.factor)
        self._pixels = np.zeros((channels, *reduced), pixel_dtype)
        self._labels = np.zeros(reduced, label_dtype)

    def take_pixels(self, top: int, rows: NDArray[Any]) -> None:
        """Keep what is shown of pixels (C, h, W), the first of them in row `top` of the frame."""
        self._keep(self._pixels, top, rows)

    def take_labels(self, top: int, rows: NDArray[Any]) -> None:
        """Keep what is shown of labels (h, W)."""
        self._keep(self._labels, top, rows)

    def _keep(self, kept: NDArray[Any], top: int, rows: NDArray[Any]) -> None:
        first = math.ceil(top / self.factor)
        shown = rows[..., first * self.factor - top :: self.factor, :: self.factor]
        kept[..., first : first + shown.shape[-2], :] = shown

    def draw(self, decoder: HeadDecoder) -> NDArray[np.uint8]:
        """The picture (h, w, 3)."""
        return draw_overlay(self._pixels, self._labels, decoder)


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
