"""Boxes of one image pasted into another, the targets with them.

`cutmix` (French et al. 2020, arXiv:1906.01916): half of the unlabelled strong views get a box of the next one in the
batch. `labelled` (Bai et al. 2023, arXiv:2305.00673): every unlabelled strong view gets a box of a labelled image with
its mask, and that labelled image the unlabelled view's box at the same place with its pseudo-labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.dataset.batches import IGNORE

MixName = Literal["cutmix", "labelled"]

CUTMIX_PROBABILITY = 0.5
CUTMIX_AREA = (0.02, 0.4)
"""Share of the image that a box of `cutmix` covers."""
CUTMIX_ASPECT = 10 / 3
"""A box is up to this much higher or wider, measured in heights and widths of the image."""

LABELLED_SIDE = 2 / 3
"""Height and width of a box of `labelled`, in those of the image."""
PSEUDO_WEIGHT = 0.5
"""What a pixel with a pseudo-label counts beside one with a true label, in `labelled`."""

CERTAIN = 200.0
"""A logit whose softmax is 1, and 0 for the other classes, in float32."""


@dataclass(frozen=True)
class Example:
    """Images with what they should be predicted as."""

    images: Tensor
    """(B, C, H, W)."""
    target: Tensor
    """(B, K, H, W) logits."""
    weight: Tensor
    """(B, 1, H, W), how much each pixel counts; 0 where there is no target."""

    @classmethod
    def of_labels(cls, images: Tensor, labels: Tensor, classes: int) -> Example:
        """Images with their (B, H, W) labels as the target; `IGNORE` counts nowhere."""
        target = images.new_zeros(len(images), classes, *images.shape[2:])
        target.scatter_(1, labels.clamp(min=0)[:, None], CERTAIN)
        return cls(images, target, (labels != IGNORE)[:, None].to(images.dtype))

    def pasted(self, other: Example, boxes: Tensor) -> Example:
        """These with the pixels of `other` where `boxes` (B, 1, H, W) is true."""
        return Example(
            torch.where(boxes, other.images, self.images),
            torch.where(boxes, other.target, self.target),
            torch.where(boxes, other.weight, self.weight),
        )

    def beside(self, other: Example) -> Example:
        """These, and those of `other` behind them in the batch."""
        return Example(
            torch.cat([self.images, other.images]),
            torch.cat([self.target, other.target]),
            torch.cat([self.weight, other.weight]),
        )

    def following(self) -> Example:
        """For each of these the next one of the batch, and for the last the first."""
        return Example(self.images.roll(-1, 0), self.target.roll(-1, 0), self.weight.roll(-1, 0))


@dataclass(frozen=True)
class Mixing:
    """What is pasted into B views."""

    kind: MixName
    boxes: Tensor
    """(B, 1, H, W) bool: the box of each view; empty for those that `cutmix` leaves whole."""

    def of(self, unlabelled: Example, labelled: Example) -> Example:
        """What the network is trained on: B views for `cutmix`, and 2 B for `labelled`, the unlabelled ones first."""
        boxes = self.boxes.to(unlabelled.images.device)
        if self.kind == "cutmix":
            return unlabelled.pasted(unlabelled.following(), boxes)
        pseudo = replace(unlabelled, weight=PSEUDO_WEIGHT * unlabelled.weight)
        return pseudo.pasted(labelled, boxes).beside(labelled.pasted(pseudo, boxes))


def draw_mixing(kind: MixName, batch: int, height: int, width: int, random: np.random.Generator) -> Mixing:
    """Draw the box of each of `batch` views."""
    boxes = torch.zeros(batch, 1, height, width, dtype=torch.bool)
    for box in boxes:
        if kind == "labelled":
            high, wide = LABELLED_SIDE, LABELLED_SIDE
        else:
            high, wide = _cutmix_sides(random)
        rows, columns = max(1, round(high * height)), max(1, round(wide * width))
        top = int(random.integers(height - rows, endpoint=True))
        left = int(random.integers(width - columns, endpoint=True))
        if kind == "labelled" or random.random() < CUTMIX_PROBABILITY:
            box[:, top : top + rows, left : left + columns] = True
    return Mixing(kind, boxes)


def _cutmix_sides(random: np.random.Generator) -> tuple[float, float]:
    """Height and width of a box in those of the image, each at most 1: its area is as drawn, whatever the aspect."""
    area = random.uniform(*CUTMIX_AREA)
    most = np.log(min(CUTMIX_ASPECT, 1 / area))
    aspect = np.exp(random.uniform(-most, most))
    return float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
