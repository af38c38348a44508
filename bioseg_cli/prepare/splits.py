"""Which images train, validate and test.

A group (a sequence, a well, a file) stays on one side: frames of one video show the same cells, and a network tested
on the neighbours of its training frames looks better than it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from bioseg_cli.config import SplitName
from bioseg_cli.errors import DataError

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
FEWEST_TO_TEST = 10
FEWEST_TO_VALIDATE = 5
"""With fewer labelled images than these, none is held back for the test, or for validation: each is worth more in the
training, and a score on one or two images says next to nothing."""

GAP: Literal["gap"] = "gap"
"""What `split_blocks` calls an image that is in no split."""


def affordable_shares(labelled: int, *, val_share: float, test_share: float) -> tuple[float, float]:
    """The shares for validation and test that so many labelled images can bear: 0 where there are too few.

    Where no image is labelled, nothing is lost by holding some back.
    """
    if labelled == 0:
        return val_share, test_share
    return (
        val_share if labelled >= FEWEST_TO_VALIDATE else 0.0,
        test_share if labelled >= FEWEST_TO_TEST else 0.0,
    )


def split_groups(
    groups: Sequence[str], labelled: Sequence[bool], *, val_share: float, test_share: float, seed: int
) -> list[SplitName]:
    """Give every group to one split, so that the labelled images come as near to the shares as whole groups allow.

    Groups without any labelled image train: nothing could be scored on them. Where no image at all has a label,
    the images are divided between training and validation alone.

    Args:
        groups: (N,) the group of each image.
        labelled: (N,) whether it has a mask.
        val_share: share of the labelled images wanted for validation, at least one image; 0 leaves it empty.
        test_share: the same for the test; 0 leaves it empty.
        seed: of the drawing.

    Returns:
        (N,) the split of each image.

    Raises:
        DataError: fewer than two groups with labelled images, so that nothing would be left to train or validate on.
    """
    if not any(labelled):
        labelled, test_share = [True] * len(groups), 0.0
    sizes = Counter(group for group, has_mask in zip(groups, labelled, strict=True) if has_mask)
    if val_share == test_share == 0:
        return ["train"] * len(groups)
    if len(sizes) < 2:
        kept_whole = len(groups) > len(set(groups))
        raise DataError(
            f"There {'is one group' if len(sizes) == 1 else 'are no groups'} with labelled images, and training and "
            "validation need one each",
            fix="Label images of a second group, or draw single images with --split-by random."
            if kept_whole
            else "Label at least two images.",
        )
    total = sum(sizes.values())
    validated = max(1, round(val_share * total)) if val_share else 0
    tested = round(test_share * total)
    wanted: dict[SplitName, int] = {"train": total - validated - tested, "val": validated, "test": tested}
    missing = wanted.copy()
    # Largest groups first, equal ones in random order: small ones then fill what is left of each share.
    names = sorted(sizes)
    order = sorted(np.random.default_rng(seed).permutation(len(names)), key=lambda i: -sizes[names[i]])
    chosen: dict[str, SplitName] = {}
    empty: list[SplitName] = ["train", "val"] if validated else ["train"]
    for position, index in enumerate(order):
        must_fill = len(order) - position <= len(empty)
        split = max(
            empty if must_fill else SPLITS, key=lambda name: missing[name] / wanted[name] if wanted[name] > 0 else -1
        )
        if split in empty:
            empty.remove(split)
        chosen[names[index]] = split
        missing[split] -= sizes[names[index]]
    return [chosen.get(group, "train") for group in groups]


def split_images(labelled: Sequence[bool], *, val_share: float, test_share: float, seed: int) -> list[SplitName]:
    """Draw each image on its own, whatever group it belongs to; otherwise as `split_groups`."""
    each = [str(i) for i in range(len(labelled))]
    return split_groups(each, labelled, val_share=val_share, test_share=test_share, seed=seed)


def split_blocks(
    labelled: Sequence[bool], *, val_share: float, test_share: float, gap: int
) -> list[SplitName | Literal["gap"]]:
    """Cut a sequence into a block that trains, one that validates and one that tests, in this order.

    The cuts are placed by the labelled images, of which the shares are taken. The `gap` images before each cut belong
    to no block: they show what the first images after it show.

    Args:
        labelled: (N,) whether each image of the sequence has a mask.
        val_share: share of the labelled images, at least one; 0 leaves it empty.
        test_share: the same for the test; 0 leaves it empty.
        gap: images.
    """
    places = [i for i, has_mask in enumerate(labelled) if has_mask] or list(range(len(labelled)))
    tested = round(test_share * len(places))
    validated = min(len(places) - tested, max(1, round(val_share * len(places)))) if val_share else 0
    starts: list[tuple[SplitName, int]] = []
    if validated:
        starts.append(("val", places[len(places) - tested - validated]))
    if tested:
        starts.append(("test", places[len(places) - tested]))
    splits: list[SplitName | Literal["gap"]] = ["train"] * len(labelled)
    for name, start in starts:
        splits[start:] = [name] * (len(labelled) - start)
        before = max(0, start - gap)
        splits[before:start] = [GAP] * (start - before)
    return splits


def straddling_groups(groups: Sequence[str], splits: Sequence[SplitName]) -> list[str]:
    """The groups with images in more than one split, in order of appearance."""
    sides: dict[str, set[SplitName]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return [group for group, found in sides.items() if len(found) > 1]
