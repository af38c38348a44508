"""Maps of numbered objects as they come: touching, with holes, of one pixel, cut by the edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label


def random_objects(seed: int, height: int = 40, width: int = 50) -> NDArray[np.int32]:
    """Objects 1, 2, ..., n (H, W) of random blobs: each grew into its neighbours."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=(height, width)), random.uniform(0.5, 3))
    owner = ndimage.gaussian_filter(random.normal(size=(6, height, width)), (0, 3, 3)).argmax(axis=0) + 1
    numbers = np.where(field > np.quantile(field, 0.4), owner, 0)
    numbers[random.integers(height), random.integers(width)] = 7  # one pixel
    pieces: NDArray[np.int32] = label(numbers, connectivity=2).astype(np.int32)
    return pieces


def disc(height: int, width: int, row: float, column: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside
