"""Colours of classes, of clusters and of what counts nowhere, and labels shown in them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo

PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Display colours of the classes after the background, told apart with any colour vision (Okabe and Ito 2008)."""
IGNORED_COLOUR = (80, 80, 80)
"""Of pixels that count nowhere."""
GOLDEN_TURN = 0.618034
"""Share of the colour circle between one cluster and the next: however many there are, they lie far apart."""
SHADES = ((0.85, 0.95), (0.5, 0.95), (0.95, 0.6))
"""Saturation and value, taken in turn."""


def in_class_colours(labels: NDArray[np.integer[Any]], classes: Sequence[ClassInfo], ignore: int) -> NDArray[np.uint8]:
    """An 8-bit picture (H, W, 3) of labels (H, W)."""
    palette = np.array([class_info.colour for class_info in classes], dtype=np.uint8)
    ignored = labels == ignore
    picture = palette[np.where(ignored, 0, labels)]
    picture[ignored] = IGNORED_COLOUR
    return picture


def cluster_colours(count: int) -> tuple[ClassInfo, ...]:
    """Clusters by number, in colours that neighbours in number do not share; none is black."""
    colours = []
    for number in range(count):
        saturation, value = SHADES[number % len(SHADES)]
        red, green, blue = (
            round(255 * part) for part in colorsys.hsv_to_rgb(number * GOLDEN_TURN % 1, saturation, value)
        )
        colours.append(ClassInfo(name=f"cluster {number}", colour=(red, green, blue)))
    return tuple(colours)
