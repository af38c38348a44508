"""How what is drawn in a mask lies: in strokes as scribbles do, in boxes, or as objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bioseg_cli.dataset.schema import Pixels

STROKE = 0.35
"""A region that fills less of the circle around it is a stroke: a straight one is four times as long as wide."""
MOST_BOXES = 50
"""More regions than this are looked at as no boxes."""


@dataclass(frozen=True)
class Drawing:
    """How the pixels of a mask that are not 0 lie.

    Attributes:
        pixels: how many the mask has.
        drawn: how many are not 0.
        regions: connected regions of one value other than 0.
        strokes: how many of them are long and thin.
        boxes: all that is drawn are rectangles of several values each, and there is more around them.
    """

    pixels: int
    drawn: int = 0
    regions: int = 0
    strokes: int = 0
    boxes: bool = False


def drawing_of(numbered: Pixels) -> Drawing:
    """Look at the regions of a mask: (H, W) number of the region of one value from 1, or 0 where the mask is 0."""
    from scipy.ndimage import find_objects  # slow to import, and not always needed

    areas = np.bincount(numbered.reshape(-1))[1:]
    sides = [max(part.stop - part.start for part in place) for place in find_objects(numbered)]
    strokes = int((areas < STROKE * np.pi / 4 * np.square(sides)).sum())
    return Drawing(numbered.size, int(areas.sum()), len(areas), strokes, _are_boxes(numbered))


def _are_boxes(numbered: Pixels) -> bool:
    from scipy.ndimage import find_objects, label

    drawn = numbered != 0
    if drawn.all():
        return False
    together, count = label(drawn, structure=np.ones((3, 3)))
    if count > MOST_BOXES:
        return False
    inside = [numbered[place] for place in find_objects(together)]
    return all(bool(part.all()) and bool((part != part[0, 0]).any()) for part in inside)
