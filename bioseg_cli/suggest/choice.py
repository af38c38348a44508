"""Which images to choose, given where they lie, which are covered by a mask, and what a network makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.suggest.features import Values

NEIGHBOURS = 20
"""Nearest images of its kind that an image is compared with, to say how typical it is."""
IMAGES_A_KIND = 4
"""Images of a kind on average at least: with many masks there would else be a kind an image."""
SHORTLIST = 3
"""Times the number wanted: so many of the most disputed images are chosen among."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """One image.

    Attributes:
        place: its number among the images.
        alike: images of its kind, with it, among those that kinds were made of; 0 where it was not among them.
        covered: of these, those that have a mask already.
        typical: from 0 to 1, where 1 is an image with a kind that is all equal to it.
    """

    place: int
    alike: int = 0
    covered: int = 0
    typical: float | None = None


def typical_images(points: Values, covered: Flags, passed_over: Flags, count: int, seed: int) -> list[Chosen]:
    """The most typical image of each kind, kinds without a mask first and of these the largest (TypiClust).

    Args:
        points: (N, F), see `features.vectors`.
        covered: (N,) images that have a mask: they are not chosen, and their kinds come later.
        passed_over: (N,) images that are chosen only when no other is left.
        count: images to choose, if there are as many.
        seed: of the clustering.
    """
    usable = np.flatnonzero(~passed_over)
    open_ = int((~covered[usable]).sum())
    kinds = _kinds(points[usable], _number_of_kinds(len(usable), int(covered[usable].sum()), min(count, open_)), seed)
    members = [usable[kinds == kind] for kind in np.unique(kinds).tolist()]
    waiting = [_most_typical_first(points, group, covered) for group in members]
    masks = [int(covered[group].sum()) for group in members]
    found: list[Chosen] = []
    while len(found) < min(count, open_):
        # As in the paper: the fewest masks, then the most images.
        kind = min(
            (kind for kind, images in enumerate(waiting) if images),
            key=lambda kind: (masks[kind], -len(members[kind]), int(members[kind][0])),
        )
        place, typical = waiting[kind].pop(0)
        found.append(Chosen(place, len(members[kind]), int(covered[members[kind]].sum()), typical))
        masks[kind] += 1
    rest = np.flatnonzero(passed_over & ~covered)[: max(0, count - len(found))]
    return found + [Chosen(place) for place in rest.tolist()]


def disputed_images(points: Values, disagreement: Values, count: int, seed: int) -> list[Chosen]:
    """The most disputed image of each kind among the most disputed images, the most disputed first.

    Args:
        points: (N, F) of the images to choose among.
        disagreement: (N,) how much the predictions of each differ.
        count: images to choose, if there are as many.
        seed: of the clustering.
    """
    order = np.argsort(-disagreement, kind="stable")
    shortlist = order[: SHORTLIST * count]
    kinds = _kinds(points[shortlist], min(count, len(shortlist)), seed)
    _, firsts, kinds, sizes = np.unique(kinds, return_index=True, return_inverse=True, return_counts=True)
    # Where images are equal there may be fewer kinds than wanted.
    rest = np.setdiff1d(np.arange(len(shortlist)), firsts)[: max(0, count - len(firsts))]
    return [
        Chosen(int(shortlist[place]), int(sizes[kinds[place]])) for place in sorted([*firsts.tolist(), *rest.tolist()])
    ]


def _number_of_kinds(images: int, covered: int, wanted: int) -> int:
    return max(1, wanted, min(covered + wanted, images // IMAGES_A_KIND))


def _kinds(points: Values, number: int, seed: int) -> IntArray:
    """The kind of each of the points; there are fewer than `number` where not as many points differ."""
    number = min(number, len(np.unique(points, axis=0)))
    if number < 2:
        return np.zeros(len(points), dtype=np.int64)
    labels: IntArray = KMeans(number, n_init=10, random_state=seed).fit(points).labels_.astype(np.int64)
    return labels


def _most_typical_first(points: Values, members: IntArray, covered: Flags) -> list[tuple[int, float]]:
    """The images of a kind without a mask, and how typical each is."""
    neighbours = min(NEIGHBOURS + 1, len(members))  # the first of them is the image itself
    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(points[members]).kneighbors(points[members])
    typical = 1 / (1 + (distances[:, 1:].mean(axis=1) if neighbours > 1 else np.zeros(len(members))))
    order = np.argsort(-typical, kind="stable")
    return [(int(members[place]), float(typical[place])) for place in order.tolist() if not covered[members[place]]]
