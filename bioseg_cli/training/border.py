"""The borders of objects, which a second head learns, so that objects that touch are told apart (Caicedo et al. 2019).

The head has a channel for the border and one for all else. Border pixels keep their class, so nothing but objects has
to know of borders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import UsageError
from bioseg_cli.objects.instances import EIGHT_NEIGHBOURS

_BORDER, _UNKNOWN = 2**17, 2**18
"""Added to class codes until a step tells both apart: above all codes and ignored labels of masks."""


def marking(dataset: Dataset, images: IntArray, width: int) -> Callable[[int], Pixels | None]:
    """What gives the mask (H, W) of an image with the borders of its objects marked, see `apart`; None of other images.

    Args:
        dataset: whose masks number objects.
        images: indices of labelled images.
        width: of a border in pixels, inside its object.

    Raises:
        UsageError: the masks number no objects.
    """
    if not dataset.numbers_objects:
        raise UsageError(
            "The masks of the data set tell classes and not single objects, so nothing says where borders are",
            where=dataset.path,
            fix="Prepare it from masks or annotations that number objects, or leave out --border.",
        )
    bordered = frozenset(images.tolist())

    def marked(index: int) -> Pixels | None:
        if index not in bordered:
            return None
        codes, numbers = dataset.labels(index), dataset.objects(index)
        undrawn = codes == dataset.ignore
        objects = (numbers > 0) & (codes != 0) & ~undrawn
        # What nobody drew may be of the same object.
        unknown = ndimage.binary_dilation(undrawn, EIGHT_NEIGHBOURS, iterations=width) & objects
        marks = np.where(unknown, _UNKNOWN, np.where(border_of(numbers, width) & objects, _BORDER, 0))
        return codes.astype(np.int32) + marks.astype(np.int32)

    return marked


def border_of(numbers: NDArray[np.integer[Any]], width: int) -> NDArray[np.bool_]:
    """Pixels (H, W) of numbered objects that are next to a pixel of none or of another object, or `width` deep.

    The frame of the image is no border: an object that it cuts goes on.
    """
    highest = ndimage.grey_dilation(numbers, footprint=EIGHT_NEIGHBOURS)
    lowest = ndimage.grey_erosion(numbers, footprint=EIGHT_NEIGHBOURS)
    inner = (highest == numbers) & (lowest == numbers)
    if width > 1:
        inner = ndimage.binary_erosion(inner, EIGHT_NEIGHBOURS, iterations=width - 1, border_value=1)
    border: NDArray[np.bool_] = (numbers > 0) & ~inner
    return border


def apart(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Class codes (B, H, W), and whether a pixel is of a border: 1, 0, or `IGNORE` where nobody knows."""
    unknown, border = labels >= _UNKNOWN, labels >= _BORDER
    codes = torch.where(border, labels % _BORDER, labels)
    return codes, torch.where(unknown | (labels == IGNORE), IGNORE, border.to(labels.dtype))
