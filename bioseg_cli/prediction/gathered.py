"""A frame whose rows go by, as far as more than rows of it are needed: for its picture, and for its objects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.overlay import draw_overlay

LARGEST_PICTURE = 4096
"""Pixels a side of the largest picture; see `GatheredFrame`."""


class GatheredFrame:
    """A frame's pixels and labels, gathered from rows as they go by.

    Pictures of frames with more than `LARGEST_PICTURE` pixels a side are reduced: of every so many rows and columns one
    is shown, the smallest whole number that does. The others are held only of a frame that is gathered whole.

    Args:
        shape: (C, H, W) of the frame.
        pixel_dtype: of its pixels.
        label_dtype: of its labels.
        whole: hold every row and column.

    Attributes:
        factor: 1 row and column of so many is shown.
        pixels: (C, h, w) that are held.
        labels: (h, w) that are held.
        borders: (h, w) where the network sees borders of objects; None where it was not asked.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        pixel_dtype: np.dtype[Any],
        label_dtype: np.dtype[Any],
        *,
        whole: bool = False,
    ) -> None:
        channels, height, width = shape
        self.factor = max(1, math.ceil(max(height, width) / LARGEST_PICTURE))
        self._held = 1 if whole else self.factor
        held = math.ceil(height / self._held), math.ceil(width / self._held)
        self.pixels = np.zeros((channels, *held), pixel_dtype)
        self.labels = np.zeros(held, label_dtype)
        self.borders: NDArray[np.bool_] | None = None

    def take_pixels(self, top: int, rows: NDArray[Any]) -> None:
        """Keep what is needed of pixels (C, h, W), the first of them in row `top` of the frame."""
        self._keep(self.pixels, top, rows)

    def take_labels(self, top: int, rows: NDArray[Any]) -> None:
        """Keep what is needed of labels (h, W)."""
        self._keep(self.labels, top, rows)

    def take_borders(self, top: int, rows: NDArray[np.bool_]) -> None:
        """Keep what is needed of borders (h, W)."""
        if self.borders is None:
            self.borders = np.zeros(self.labels.shape, dtype=bool)
        self._keep(self.borders, top, rows)

    def _keep(self, kept: NDArray[Any], top: int, rows: NDArray[Any]) -> None:
        first = math.ceil(top / self._held)
        held = rows[..., first * self._held - top :: self._held, :: self._held]
        kept[..., first : first + held.shape[-2], :] = held

    def draw(self, decoder: HeadDecoder) -> NDArray[np.uint8]:
        """The picture (h, w, 3)."""
        step = slice(None, None, self.factor // self._held)
        return draw_overlay(self.pixels[:, step, step], self.labels[step, step], decoder)
