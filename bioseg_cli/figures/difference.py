"""Where a prediction differs from the truth, and the colours that show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.figures.palette import IGNORED_COLOUR

RIGHT, MISSED, ADDED, CONFUSED, IGNORED = range(1, 6)
DIFFERENCE_COLOURS = np.array(
    # right background, right, missed, added, wrong class, not counted: none is the colour of a class, and blue and
    # red are told apart with any colour vision
    [(0, 0, 0), (205, 205, 205), (60, 120, 255), (255, 70, 70), (255, 255, 90), IGNORED_COLOUR],
    dtype=np.uint8,
)
DIFFERENCE_NAMES = ("right", "missed", "added", "wrong class", "not counted")


def difference_map(labels: Pixels, predictions: Pixels, ignore: int) -> NDArray[np.int64]:
    """(H, W) index into `DIFFERENCE_COLOURS`: right, missed, added, of the wrong class, or not counted."""
    result = np.where(labels == predictions, np.where(labels == 0, 0, RIGHT), CONFUSED)
    result[(labels != 0) & (predictions == 0)] = MISSED
    result[(labels == 0) & (predictions != 0)] = ADDED
    result[labels == ignore] = IGNORED
    return result
