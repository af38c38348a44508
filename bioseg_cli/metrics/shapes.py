"""Size and solidity of the objects of a class: what a mask looks like, beside how much of it there is.

An object is a connected component, of pixels that touch by a side or a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_HULL = 25
"""Pixels of the smallest object with a solidity: on a grid a disc of 13 pixels fills its convex hull, and so does a
diagonal line; one of 29 does not."""


@dataclass(frozen=True)
class ObjectShapes:
    """Objects of one class in several maps.

    Attributes:
        per_map: objects per map.
        whole: objects that no edge of a map cuts.
        whole_share: share of the class's pixels that lie in whole objects; 0 where there is none.
        size: median area in pixels, each object weighted by its area: half of the class's pixels lie in objects at
            least as large. Specks decide once they hold half of the pixels; the plain median, once they are half of
            the objects, which they are in most predictions. 0 where there is no object.
        solidity: area over the area of the convex hull, in the mean over objects weighted by their area; None where
            every object is too small for a hull.
    """

    per_map: float
    whole: int
    whole_share: float
    size: float
    solidity: float | None


def object_shapes(maps: Sequence[NDArray[Any]], value: int) -> ObjectShapes:
    """Shapes of the objects of one class.

    Args:
        maps: (H, W) class codes each, of any sizes.
        value: code of the class.
    """
    from skimage.measure import label, regionprops  # slow to import, and not always needed

    areas, whole, hulled, solidities = [], [], [], []
    for codes in maps:
        components: NDArray[Any] = label(codes == value, connectivity=2)  # type: ignore[no-untyped-call]
        pixels = np.bincount(components.ravel())
        pixels[0] = 0  # what is not of the class
        cut = np.unique(np.concatenate([components[[0, -1]].ravel(), components[:, [0, -1]].ravel()]))
        areas.append(pixels[1:])
        whole.append(~np.isin(np.arange(1, len(pixels)), cut))
        # Of thousands of specks the rest would take most of the time.
        large = np.where((pixels >= SMALLEST_HULL)[components], components, 0)
        for region in regionprops(large):  # type: ignore[no-untyped-call]
            hulled.append(region.area)
            solidities.append(region.solidity)
    if not any(map(len, areas)):
        return ObjectShapes(0.0, 0, 0.0, 0.0, None)
    area, uncut = np.concatenate(areas), np.concatenate(whole)
    falling = np.sort(area)[::-1]
    return ObjectShapes(
        per_map=len(area) / len(maps),
        whole=int(uncut.sum()),
        whole_share=float(area[uncut].sum() / area.sum()),
        size=float(falling[np.searchsorted(falling.cumsum(), area.sum() / 2)]),
        solidity=float(np.average(solidities, weights=hulled)) if hulled else None,
    )
