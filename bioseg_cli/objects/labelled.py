"""Objects of masks as they are: by the numbers that masks hold, or by connected components. None is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.objects.instances import EIGHT_NEIGHBOURS, Objects

REUSED = 1.5
"""Numbers are colours that several objects share where the components of equal numbers are so many times as many."""


def connected_objects(codes: NDArray[Any], count: int) -> Objects:
    """The connected components of each class in class codes (H, W).

    Args:
        codes: 0 is the background, and codes from `count` on have no objects.
        count: of the classes, the background included.
    """
    from scipy import ndimage

    numbers = np.zeros(codes.shape, dtype=np.int32)
    classes: list[int] = []
    for code in range(1, count):
        components, found = ndimage.label(codes == code, EIGHT_NEIGHBOURS)
        inside = components > 0
        numbers[inside] = components[inside] + len(classes)
        classes += [code] * found
    return Objects(numbers, np.array(classes, dtype=np.int64))


def objects_of_classes(numbers: NDArray[np.integer[Any]], codes: NDArray[Any], count: int) -> Objects:
    """Numbered objects, each of the class that most of its pixels have.

    Args:
        numbers: (H, W) number of the object that a pixel belongs to, 0 = none.
        codes: (H, W) class codes. Pixels of the background and with codes from `count` on belong to no object.
        count: of the classes, the background included.
    """
    kept = np.where((codes > 0) & (codes < count), numbers, 0)
    found, renumbered = np.unique(np.append(kept, 0), return_inverse=True)
    of_pixels: NDArray[np.int32] = renumbered[:-1].reshape(kept.shape).astype(np.int32)
    cells = np.bincount(of_pixels.ravel() * count + codes.ravel().clip(max=count - 1), minlength=len(found) * count)
    return Objects(of_pixels, cells.reshape(len(found), count)[1:].argmax(axis=1))


def numbered_objects(mask: NDArray[np.integer[Any]]) -> Objects:
    """The objects of a mask (H, W) with one number per object, 0 = none; all are of class 1.

    An object may lie in several pieces, which are one by their number. But some masks, such as those of BBBC039, have a
    few numbers that only differ where objects touch: then every connected piece of one number is an object.
    """
    from skimage.measure import label

    pieces: NDArray[np.int32] = label(mask, connectivity=2).astype(np.int32)  # type: ignore[no-untyped-call]
    values, by_value = np.unique(mask, return_inverse=True)
    named = by_value.reshape(mask.shape).astype(np.int32) + (0 if 0 in values else 1)
    numbers = pieces if pieces.max() > REUSED * named.max() else named
    return Objects(numbers, np.ones(int(numbers.max()), dtype=np.int64))
