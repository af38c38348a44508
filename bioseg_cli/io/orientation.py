"""Which way up an image lies: the orientation of EXIF and TIFF (tag 274), 1 to 8, as a viewer applies it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
TURNED = "the file says that its image does not lie upright, it is turned as a viewer shows it"
"""The note about an image with another orientation."""
ORIENTATION_TAG = 274

# Whether rows and columns change places, and which of the two are then reversed.
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),
    2: (False, (-1,)),
    3: (False, (-2, -1)),
    4: (False, (-2,)),
    5: (True, ()),
    6: (True, (-1,)),
    7: (True, (-2, -1)),
    8: (True, (-2,)),
}


def orientation_of(value: object) -> int:
    """The orientation a tag holds; a value that does not exist, or no tag, means upright, as viewers take it."""
    return value if isinstance(value, int) and value in _TURNS else UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Whether height and width change places: it is a quarter turn."""
    return _TURNS[orientation][0]


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (..., H, W) as they are stored, turned the way a viewer shows them."""
    swapped, reversed_axes = _TURNS[orientation]
    return np.flip(pixels.swapaxes(-1, -2) if swapped else pixels, reversed_axes)
