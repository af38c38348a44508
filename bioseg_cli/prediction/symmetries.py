"""The symmetries of a square: views of an image for test-time augmentation, and the way back from them."""

from __future__ import annotations

import torch
from torch import Tensor

SYMMETRIES = tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True))
"""Quarter turns and reflections that bring a square onto itself: an image is reflected first, then turned."""


def view_of(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    """Images (..., H, W) after a reflection and so many quarter turns."""
    view = images.flip(-1) if mirrored else images
    return torch.rot90(view, turns, (-2, -1)) if turns else view


def brought_back(maps: Tensor, turns: int, mirrored: bool) -> Tensor:
    """What was found in a view (..., h, w), in the place of the images (..., H, W)."""
    back = torch.rot90(maps, -turns, (-2, -1)) if turns else maps
    return back.flip(-1) if mirrored else back
