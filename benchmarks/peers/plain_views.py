"""Rotated views with scipy, and predictions turned back with `grid_sample`, as most would write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor


def rotate(image: np.ndarray, degrees: float, order: int) -> np.ndarray:
    """A (H, W) image rotated about its centre; zeros come in."""
    return scipy.ndimage.rotate(image, degrees, reshape=False, order=order, mode="constant")


def rotate_back(maps: Tensor, degrees: Sequence[float]) -> Tensor:
    """Square maps (B, K, H, H) of images that were rotated by `degrees`, brought back."""
    angles = np.deg2rad(degrees)
    turns = np.array([[[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0]] for a in angles])
    grid = F.affine_grid(torch.tensor(turns, dtype=maps.dtype, device=maps.device), maps.shape, align_corners=False)
    return F.grid_sample(maps, grid, align_corners=False)


def tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """Images (B, H, W) as (B, 1, H, W) float32, contiguous."""
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None].to(device)
