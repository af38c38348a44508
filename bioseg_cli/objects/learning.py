"""How objects are told apart, learnt from labelled ones: single objects stay whole, and touching ones are cut.

Of every smoothing and seed height on a grid, the pair that tells labelled objects apart best is taken. Where masks
number the objects, that is seen on the labelled images themselves. Masks of classes do not say where objects touch, so
touching objects are made: two labelled objects are pushed together until they overlap a little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.metrics.matching import average_precision, object_counts
from bioseg_cli.objects.instances import EIGHT_NEIGHBOURS, Mask, ObjectRule, find_objects, seeds, with_margin

Sampled = TypeVar("Sampled")

SMOOTHINGS = (4.0, 2.0, 1.0)
"""Tried first to last; of equally good ones the first is taken."""
SEED_HEIGHTS = (8.0, 4.0, 2.0, 1.0, 0.5)
"""Less than half a pixel is the roughness of outlines on a grid."""
LEAST_OBJECTS = 5
"""With fewer labelled objects the default stands."""
MOST_OBJECTS = 60
"""Objects that seeds are tried on, evenly drawn from all."""
MOST_CLUMPS = 120
"""Components of numbered objects that rules are tried on, evenly drawn from all."""
SINGLES_PER_PAIR = 2
"""Weight of a single object that is cut against a touching pair that is not: most objects touch none."""
OVERLAP = 0.5
"""How far the objects of a pair are pushed into each other, in radii of the smaller one."""
SMALL_QUANTILE, SMALL_SHARE = 0.05, 0.125
"""The smallest area of an object is this share of this quantile of the areas of labelled objects: a few specks do not
decide, and what the edge of an image leaves of an object counts."""
SOLID = 0.9
"""Share of its convex hull from which an object is surely one: class masks show touching objects as one object."""


def whole_objects(codes: NDArray[Any], code: int, ignore: int) -> list[Mask]:
    """The components of one class in a map (H, W) that neither the edge nor an ignored pixel cuts.

    Returns:
        A mask of each (h, w), with a margin of one pixel.
    """
    return [mask for _, mask in _whole_components(codes, code, ignore)]


def whole_clumps(codes: NDArray[Any], code: int, ignore: int, numbers: NDArray[Any]) -> list[NDArray[Any]]:
    """The numbers (h, w) of the objects in each of the components that `whole_objects` finds, 0 outside of it.

    Args:
        codes: (H, W) class codes.
        code: of the class.
        ignore: the label of pixels that are not known.
        numbers: (H, W) number of the object that a pixel belongs to.
    """
    return [np.where(mask, numbers[window], 0) for window, mask in _whole_components(codes, code, ignore)]


def _whole_components(codes: NDArray[Any], code: int, ignore: int) -> list[tuple[tuple[slice, ...], Mask]]:
    """The window and the mask of each whole component."""
    from scipy import ndimage

    components, _ = ndimage.label(codes == code, EIGHT_NEIGHBOURS)
    unknown = np.pad(codes == ignore, 1, constant_values=True)
    beside_unknown = ndimage.binary_dilation(unknown, EIGHT_NEIGHBOURS)[1:-1, 1:-1]
    cut = np.isin(np.arange(components.max() + 1), components[beside_unknown])
    windows = [(number, with_margin(window)) for number, window in enumerate(ndimage.find_objects(components), 1)]
    return [(window, components[window] == number) for number, window in windows if not cut[number]]


def rule_of_numbered(clumps: Sequence[NDArray[Any]]) -> ObjectRule:
    """The rule that cuts clumps of numbered objects best, by AP over all thresholds; the default for too few objects.

    Args:
        clumps: of one class, as `whole_clumps` gives them.
    """
    areas = [int(area) for clump in clumps for area in np.unique(clump[clump > 0], return_counts=True)[1]]
    if len(areas) < LEAST_OBJECTS:
        return ObjectRule()
    tried = _evenly_drawn(clumps, MOST_CLUMPS)

    def precision(rule: ObjectRule) -> float:
        counts = sum(object_counts(clump, _found(clump > 0, rule)) for clump in tried)
        return float(average_precision(np.asarray(counts)).mean())

    return max(_grid(areas), key=precision)


def _found(component: Mask, rule: ObjectRule) -> NDArray[np.int32]:
    """What the rule makes of a component (h, w)."""
    return find_objects(component, [rule]).numbers


def learnt_rule(objects: Sequence[Mask]) -> ObjectRule:
    """The rule that fits labelled objects of one class, as `whole_objects` gives them; the default for too few."""
    if len(objects) < LEAST_OBJECTS:
        return ObjectRule()
    rules = _grid([int(np.count_nonzero(mask)) for mask in objects])
    large = [mask for mask in objects if np.count_nonzero(mask) >= rules[0].smallest]
    tried = _evenly_drawn(surely_single(large), MOST_OBJECTS)
    pairs = [pushed_together(first, second) for first, second in zip(tried, tried[1:] + tried[:1], strict=True)]
    return min(rules, key=lambda rule: _errors(rule, tried, pairs))


def _grid(areas: Sequence[int]) -> list[ObjectRule]:
    """All rules that are tried on objects of such areas."""
    smallest = max(1, round(float(np.quantile(areas, SMALL_QUANTILE)) * SMALL_SHARE))
    return [
        ObjectRule(smoothing=smoothing, seed_height=height, smallest=smallest, learnt_from=len(areas))
        for smoothing, height in product(SMOOTHINGS, SEED_HEIGHTS)
    ]


def _evenly_drawn(some: Sequence[Sampled], most: int) -> list[Sampled]:
    return [some[place] for place in np.linspace(0, len(some) - 1, min(len(some), most)).astype(int).tolist()]


def surely_single(objects: Sequence[Mask]) -> list[Mask]:
    """Those objects that are not several touching ones, by their solidity; all of them where most are not solid."""
    from skimage.morphology import convex_hull_image

    hulls = [np.count_nonzero(convex_hull_image(mask)) for mask in objects]  # type: ignore[no-untyped-call]
    solid = [mask for mask, hull in zip(objects, hulls, strict=True) if np.count_nonzero(mask) >= SOLID * hull]
    return solid if 2 * len(solid) >= len(objects) else list(objects)


def _errors(rule: ObjectRule, singles: Iterable[Mask], pairs: Iterable[tuple[Mask, Mask]]) -> int:
    cut = sum(int(seeds(mask, rule)[0].max()) > 1 for mask in singles)
    return SINGLES_PER_PAIR * cut + sum(not _is_told_apart(pair, rule) for pair in pairs)


def _is_told_apart(pair: tuple[Mask, Mask], rule: ObjectRule) -> bool:
    """Whether each of two touching objects has one seed."""
    first, second = pair
    tops, _ = seeds(first | second, rule)
    return int(tops.max()) == 2 and all(len(np.unique(tops[mask & (tops > 0)])) == 1 for mask in (first, second))


def pushed_together(first: Mask, second: Mask) -> tuple[Mask, Mask]:
    """Two objects side by side in one frame (H, W), their centres level, so close that they overlap a little."""
    height = max(len(first), len(second))
    overlap = round(OVERLAP * np.sqrt(min(np.count_nonzero(first), np.count_nonzero(second)) / np.pi))
    width = first.shape[1] + second.shape[1]
    left, right = (np.zeros((height, width), dtype=bool) for _ in range(2))
    top, top_of_second = (height - len(first)) // 2, (height - len(second)) // 2
    left[top : top + len(first), : first.shape[1]] = first
    right[top_of_second : top_of_second + len(second), first.shape[1] :] = second
    rows = np.flatnonzero(left.any(axis=1) & right.any(axis=1))
    gap = (right[rows].argmax(axis=1) - (width - left[rows, ::-1].argmax(axis=1))).min()
    room = int(np.flatnonzero(right.any(axis=0))[0])  # one object may reach around the other
    return left, np.roll(right, -min(int(gap) + overlap, room), axis=1)
