"""Which mask belongs to which image, by the names of the files.

Two names belong together where nothing but words such as `mask` and `image` tells them apart. What is left of the names
decides, all of it: a number alone pairs `mask_07` with `image_7`, and never `mask_b_7` with `a_7`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from bioseg_cli.io.names import as_seen, on_any_disk, stem_of, without_second_suffix

_MASK_WORDS = (
    r"(?:cp[-_. ])?masks?|man_seg|seg|(?:simple )?segmentations?|labels?|gt|ground[-_. ]?truth|annotations?"
    r"|predictions?|pred"
)
_IMAGE_WORDS = r"images?|imgs?|raw|frames?"
_SEPARATOR = r"[-_. ]+"
# A word stands alone, beside a separator, or beside a digit.
_MASK_SUFFIX = re.compile(rf"(?:^|{_SEPARATOR}|(?<=[0-9]))(?:{_MASK_WORDS})$", re.IGNORECASE)
_MASK_PREFIX = re.compile(rf"^(?:{_MASK_WORDS})(?:{_SEPARATOR}|(?=[0-9])|$)", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(rf"(?:^|{_SEPARATOR}|(?<=[0-9]))(?:{_IMAGE_WORDS})$", re.IGNORECASE)
_IMAGE_PREFIX = re.compile(rf"^(?:(?:{_IMAGE_WORDS})(?:{_SEPARATOR}|(?=[0-9])|$)|t(?=[0-9]+$))", re.IGNORECASE)
# Zeros after a decimal point (0.05, 0,05, 0p05) are no padding.
_PADDING = re.compile(r"(?<![0-9])(?<![0-9][.,p])0+(?=[0-9])")

WantedT = TypeVar("WantedT")
OfferedT = TypeVar("OfferedT")


def has_mask_suffix(path: Path) -> bool:
    """Whether the name ends as that of a mask does: `a_mask.png`."""
    return _MASK_SUFFIX.search(stem_of(path)) is not None


def is_mask_name(path: Path) -> bool:
    """Whether the name ends or begins as that of a mask does: `a_mask.png`, `man_seg000.tif`."""
    return has_mask_suffix(path) or _MASK_PREFIX.match(stem_of(path)) is not None


@dataclass(frozen=True)
class Doubt(Generic[WantedT, OfferedT]):
    """Names that belong together and are too many on one side, or on both."""

    wanted: tuple[WantedT, ...]
    offered: tuple[OfferedT, ...]


@dataclass
class Pairing(Generic[WantedT, OfferedT]):
    """Which of those offered belongs to which of those wanted.

    Attributes:
        found: one offered for each wanted that has one; no offered is there twice.
        loose: those of `found` whose names differ in case, separators or leading zeros too.
        doubts: names that could go together in several ways; none of them is in `found` unless one fits better.
    """

    found: dict[WantedT, OfferedT] = field(default_factory=dict)
    loose: list[tuple[WantedT, OfferedT]] = field(default_factory=list)
    doubts: list[Doubt[WantedT, OfferedT]] = field(default_factory=list)

    def remarks(self, show: Callable[[WantedT], str], partner: Callable[[OfferedT], str]) -> tuple[str, ...]:
        """What a reader must know of pairs whose names are not alike."""
        if not self.loose:
            return ()
        wanted, offered = self.loose[0]
        return (
            f"{len(self.loose)} of {len(self.found)} names were paired though case, separators or leading zeros "
            f"differ, such as {show(wanted)} with {partner(offered)}.",
        )


def pair(masks: Mapping[WantedT, str], others: Mapping[OfferedT, str], *, images: bool) -> Pairing[WantedT, OfferedT]:
    """Find for each mask the image, or the other mask, that is named like it.

    The closest names are paired first, and what is paired is no candidate any more: with `a1` and `a01` on both sides
    each finds its own.

    Args:
        masks: names of masks, without suffix.
        others: names of images, or of other masks.
        images: which of them the others are.
    """
    pairing: Pairing[WantedT, OfferedT] = Pairing()
    masks_left = {path: _spellings(name, image=False) for path, name in masks.items()}
    others_left = {path: _spellings(name, image=images) for path, name in others.items()}
    every_mask, every_other = dict(masks_left), dict(others_left)
    for loose in (False, True):
        for levels in _levels():
            _pair_at(levels, masks_left, others_left, pairing, loose=loose)
    _find_rivals(pairing, every_mask, every_other)
    return pairing


def pair_in_subfolders(
    masks: Mapping[WantedT, PurePath], others: Mapping[OfferedT, PurePath], *, images: bool
) -> Pairing[WantedT, OfferedT]:
    """Find for each mask the image, or the other mask, of its name in the same subfolder; see `pair`.

    Args:
        masks: paths of masks within their folder, without suffix.
        others: paths of images, or of other masks, within theirs.
        images: which of them the others are.
    """
    whole: Pairing[WantedT, OfferedT] = Pairing()
    offered = _by_subfolder(others)
    for subfolder, names in _by_subfolder(masks).items():
        pairing = pair(names, offered.get(subfolder, {}), images=images)
        whole.found.update(pairing.found)
        whole.loose += pairing.loose
        whole.doubts += pairing.doubts
    return whole


def _by_subfolder(paths: Mapping[WantedT, PurePath]) -> dict[PurePath, dict[WantedT, str]]:
    """The names by the subfolder that they are in."""
    found: dict[PurePath, dict[WantedT, str]] = {}
    for key, path in paths.items():
        found.setdefault(path.parent, {})[key] = path.name
    return found


def _spellings(name: str, *, image: bool) -> tuple[str, ...]:
    """A name, and what is left of it without the words for a mask and then without those for an image."""
    seen = as_seen(without_second_suffix(name))
    # Of a suffix and a prefix one says that it is a mask: `gt_1_mask` is the mask of `gt_1`.
    bare = seen if image else (_MASK_SUFFIX.sub("", seen) if _MASK_SUFFIX.search(seen) else _MASK_PREFIX.sub("", seen))
    barest = _IMAGE_PREFIX.sub("", _IMAGE_SUFFIX.sub("", bare))
    return tuple(dict.fromkeys((seen, bare, barest)))


def _levels() -> Iterator[list[tuple[int, int]]]:
    """Which spellings of the two sides are compared: first those that lost the fewest words, on both sides together."""
    for lost in range(5):
        yield [(i, j) for i, j in product(range(3), repeat=2) if i + j == lost]


def _pair_at(
    levels: Sequence[tuple[int, int]],
    masks: dict[WantedT, tuple[str, ...]],
    others: dict[OfferedT, tuple[str, ...]],
    pairing: Pairing[WantedT, OfferedT],
    *,
    loose: bool,
) -> None:
    """Pair what is alike at a level, and take it out of `masks` and `others`."""
    form = _loose if loose else str
    partners: dict[WantedT, list[OfferedT]] = {}
    owners: dict[OfferedT, list[WantedT]] = {}
    for of_mask, of_other in levels:
        by_name: dict[str, list[OfferedT]] = {}
        for other, spellings in others.items():
            if of_other < len(spellings):
                by_name.setdefault(form(spellings[of_other]), []).append(other)
        for mask, spellings in masks.items():
            if of_mask < len(spellings):
                for other in by_name.get(form(spellings[of_mask]), ()):
                    if other not in partners.setdefault(mask, []):
                        partners[mask].append(other)
                        owners.setdefault(other, []).append(mask)
    for mask, candidates in partners.items():
        if len(candidates) == 1 and owners[candidates[0]] == [mask]:
            pairing.found[mask] = candidates[0]
            if loose:
                pairing.loose.append((mask, candidates[0]))
        elif mask in masks:
            rivals = dict.fromkeys(owner for candidate in candidates for owner in owners[candidate])
            pairing.doubts.append(Doubt(tuple(rivals), tuple(candidates)))
            for rival in rivals:
                masks.pop(rival, None)
        masks.pop(mask, None)
    for other in owners:
        others.pop(other, None)


def _find_rivals(
    pairing: Pairing[WantedT, OfferedT],
    masks: Mapping[WantedT, tuple[str, ...]],
    others: Mapping[OfferedT, tuple[str, ...]],
) -> None:
    """Add to the doubts what nothing but words tells from one of a pair: `a_mask` beside the pair of `a` and `a`."""
    settled_masks = {*pairing.found, *(mask for doubt in pairing.doubts for mask in doubt.wanted)}
    settled_others = {*pairing.found.values(), *(other for doubt in pairing.doubts for other in doubt.offered)}
    owner_of_name = {name: mask for mask, other in pairing.found.items() for name in others[other]}
    for mask, spellings in masks.items():
        owner = next((owner_of_name[name] for name in spellings if name in owner_of_name), None)
        if mask not in settled_masks and owner is not None:
            pairing.doubts.append(Doubt((owner, mask), (pairing.found[owner],)))
    mask_of_name = {name: mask for mask in pairing.found for name in masks[mask]}
    for other, spellings in others.items():
        mask_of_it = next((mask_of_name[name] for name in spellings if name in mask_of_name), None)
        if other not in settled_others and mask_of_it is not None:
            pairing.doubts.append(Doubt((mask_of_it,), (pairing.found[mask_of_it], other)))


def _loose(name: str) -> str:
    """A name without what people and tools change unawares: case, the kind of separators, leading zeros."""
    return re.sub(_SEPARATOR, "_", _PADDING.sub("", on_any_disk(name)))
