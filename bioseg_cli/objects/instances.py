"""From class codes to numbered objects: connected components, cut where objects touch.

A component is cut by the watershed of its distance transform. The seeds are the h-maxima of the smoothed distance to
the next pixel that is not of the component (Soille, Morphological Image Analysis, 2nd ed., 2003): two tops are two
objects where every way from the lower one to the higher one leads down by at least h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bioseg_cli.config import Config

Mask = NDArray[np.bool_]
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
"""Pixels that touch by a side or a corner are connected."""


class ObjectRule(Config):
    """How the objects of one class are told apart; lengths in pixels.

    Attributes:
        smoothing: standard deviation of the Gaussian that smooths the distances.
        seed_height: the h of the h-maxima.
        smallest: pixels of the smallest object. Components below are no objects, and no cut leaves less.
        learnt_from: labelled objects that decided it; 0: it is the default.
    """

    smoothing: float = Field(default=1.0, ge=0)
    seed_height: float = Field(default=1.0, gt=0)
    smallest: int = Field(default=16, ge=1)
    learnt_from: int = Field(default=0, ge=0)


class ObjectRules(Config):
    """The rules of a model's classes.

    Attributes:
        learnt: of the classes 1, 2, ...; the default holds for classes beyond.
    """

    learnt: tuple[ObjectRule, ...] = ()

    def of_classes(self, count: int) -> list[ObjectRule]:
        """The rules of the classes 1, 2, ... of so many, which the background is one of."""
        return [*self.learnt, *[ObjectRule()] * (count - 1 - len(self.learnt))][: count - 1]


@dataclass(frozen=True)
class Objects:
    """The objects of one image.

    Attributes:
        numbers: (H, W) number of the object from 1 on, 0 where none is.
        classes: (n,) class code of the objects 1, 2, ..., n.
    """

    numbers: NDArray[np.int32]
    classes: NDArray[np.int64]


def find_objects(codes: NDArray[Any], rules: Sequence[ObjectRule], borders: Mask | None = None) -> Objects:
    """Number the objects of class codes (H, W), class by class and from the top.

    Args:
        codes: class codes; 0 is the background, and codes without a rule have no objects.
        rules: of the classes 1, 2, ...
        borders: (H, W) where objects have their borders, as a network sees them. The objects are then what lies inside
            borders, each with the border pixels that are nearest to it.
    """
    from scipy import ndimage  # slow to import, and not always needed

    numbers = np.zeros(codes.shape, dtype=np.int32)
    classes: list[int] = []
    for code, rule in enumerate(rules, 1):
        components, _ = ndimage.label(codes == code, EIGHT_NEIGHBOURS)
        areas = np.bincount(components.ravel())
        for component, tight in enumerate(ndimage.find_objects(components), 1):
            if areas[component] < rule.smallest:
                continue
            window = with_margin(tight)
            whole = components[window] == component
            parts = split(whole, rule) if borders is None else _inside_borders(whole, borders[window], rule)
            inside = parts > 0
            numbers[window][inside] = parts[inside] + len(classes)
            classes += [code] * int(parts.max())
    return Objects(numbers, np.array(classes, dtype=np.int64))


def _inside_borders(component: Mask, borders: Mask, rule: ObjectRule) -> NDArray[np.int32]:
    """Number the parts (H, W) of a component (H, W) that borders leave, cut by the rule and grown to all of it."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    inner = find_objects((component & ~borders).astype(np.uint8), [rule]).numbers
    if not inner.any():  # it is no wider than its border
        return component.astype(np.int32)
    distances = ndimage.distance_transform_edt(inner == 0)
    grown: NDArray[np.int32] = watershed(distances, inner, mask=component, connectivity=2)  # type: ignore[no-untyped-call]
    return grown


def with_margin(window: tuple[slice, ...]) -> tuple[slice, ...]:
    """A window with a pixel more on every side, as far as the image has one."""
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in window)


def split(component: Mask, rule: ObjectRule) -> NDArray[np.int32]:
    """Number the parts (H, W) of a component (H, W) from 1 on.

    The frame of the array is no border of the component: an object that the image cuts is not narrower there.
    """
    from skimage.segmentation import watershed

    tops, heights = seeds(component, rule)
    whole: NDArray[np.int32] = component.astype(np.int32)
    while (count := int(tops.max())) > 1:
        parts: NDArray[np.int32] = watershed(-heights, tops, mask=component, connectivity=2)  # type: ignore[no-untyped-call]
        areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        if areas.min() >= rule.smallest:
            return parts
        # The least part is given to its neighbours.
        tops[tops == 1 + areas.argmin()] = 0
        tops[tops > 1 + areas.argmin()] -= 1
    return whole


def seeds(component: Mask, rule: ObjectRule) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The numbered seeds (H, W) of a component (H, W), none where nothing stands out, and the smoothed distances."""
    from scipy import ndimage
    from skimage.morphology import local_maxima, reconstruction

    if component.all():  # there is no pixel to be distant from
        return np.zeros(component.shape, np.int32), np.ones(component.shape)
    heights = np.where(component, ndimage.gaussian_filter(ndimage.distance_transform_edt(component), rule.smoothing), 0)
    if heights.max() <= rule.seed_height:
        return np.zeros(component.shape, np.int32), heights
    # Not by skimage's h_maxima: of two equally high tops it keeps both, whatever lies between them.
    lowered = reconstruction(heights - rule.seed_height, heights)  # type: ignore[no-untyped-call]
    tops, _ = ndimage.label(local_maxima(lowered, connectivity=2), EIGHT_NEIGHBOURS)  # type: ignore[no-untyped-call]
    return tops.astype(np.int32), heights
