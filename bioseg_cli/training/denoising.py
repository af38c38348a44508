"""A further head that says what hidden pixels were, from their surroundings (Noise2Void, Krull et al. 2019).

Trained together with the segmentation, as in DenoiSeg (Buchholz et al. 2020), it teaches the trunk what images look
like, also those that have no mask. Noise of single pixels cannot be told from the surroundings: the head learns what is
left without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.dataset.schema import IntArray

HEAD = "denoise"

HIDDEN_SHARE = 0.015
"""Share of the pixels of an image that are hidden in a step."""
NEIGHBOURS = 5
"""A hidden pixel shows another one instead that is up to so many rows and columns away."""


@dataclass(frozen=True)
class HiddenPixels:
    """Which N pixels of each of B images are hidden, and which others they show instead. Each (B, N) int64."""

    rows: Tensor
    columns: Tensor
    shown_rows: Tensor
    shown_columns: Tensor

    def hide(self, images: Tensor) -> Tensor:
        """The images (B, C, H, W) with the hidden pixels replaced, in all channels."""
        hidden = images.clone()
        hidden[self._place(self.rows, self.columns)] = images[self._place(self.shown_rows, self.shown_columns)]
        return hidden

    def loss(self, predicted: Tensor, images: Tensor, valid: Tensor, spread: float) -> Tensor:
        """Mean squared error of the hidden pixels, in variances of the training images.

        Args:
            predicted: (B, C, H, W) by the head: grey levels about the mean of the image and channel, in `spread`.
            images: (B, C, H, W) before they were hidden.
            valid: (B, 1, H, W), 0 where a pixel shows nothing of its image and does not count.
            spread: standard deviation of the training images, in grey levels of [0, 1].
        """
        # Where all images are flat there is nothing to predict but 0, and nothing to divide by.
        truth = (images - images.mean(dim=(2, 3), keepdim=True)) / max(spread, 1e-6)
        places = self._place(self.rows, self.columns)
        counted = valid[places]
        errors = (predicted[places] - truth[places]).square().mean(dim=2, keepdim=True)
        return (errors * counted).sum() / counted.sum().clamp(min=1)

    @staticmethod
    def _place(rows: Tensor, columns: Tensor) -> tuple[Tensor, slice, Tensor, Tensor]:
        """An index that takes (B, N, C) out of (B, C, H, W)."""
        return torch.arange(len(rows))[:, None], slice(None), rows, columns


def draw_hidden(batch: int, height: int, width: int, random: np.random.Generator) -> HiddenPixels:
    """Draw the hidden pixels of each image, none twice, and a neighbour for each, which is never itself."""
    count = max(1, round(HIDDEN_SHARE * height * width))
    places = np.stack([random.choice(height * width, count, replace=False) for _ in range(batch)])
    rows, columns = np.divmod(places, width)
    # Number 0 would be the pixel itself.
    side = 2 * NEIGHBOURS + 1
    down, right = np.divmod(random.integers(1, side * side, (batch, count)), side)
    shown_rows = _neighbour(rows, (down + NEIGHBOURS) % side - NEIGHBOURS, height)
    shown_columns = _neighbour(columns, (right + NEIGHBOURS) % side - NEIGHBOURS, width)
    return HiddenPixels(*map(torch.from_numpy, (rows, columns, shown_rows, shown_columns)))


def _neighbour(place: IntArray, away: IntArray, length: int) -> IntArray:
    """The place that is `away` along an axis, on the other side where that would leave the image."""
    inside = (place + away >= 0) & (place + away < length)
    return np.clip(np.where(inside, place + away, place - away), 0, length - 1)
