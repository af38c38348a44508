"""Images that come twice, in one collection or in two, and images that a run has seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bioseg_cli.checking.images import CheckedImage, Collection
from bioseg_cli.checking.result import Finding
from bioseg_cli.dataset.copies import near_duplicates
from bioseg_cli.dataset.identity import KnownImages
from bioseg_cli.printable import listing
from bioseg_cli.runs.seen import SeenImage

HELD_OUT = ("val", "test")
SCORED = "Otherwise a network is scored on what it was trained on."


@dataclass(frozen=True)
class _Placed:
    """An image and the collection that it is in."""

    image: CheckedImage
    where: str

    @property
    def place(self) -> tuple[str, str | None]:
        return self.where, self.image.split


Pair = tuple[_Placed, _Placed]


def copy_findings(collections: Sequence[Collection]) -> Iterator[Finding]:
    """Pairs of images with equal pixels, with a common part of a file, or that look alike, by the places they are in.

    Where one of a pair trains and the other is for validation or test, the pair does harm.
    """
    images = [_Placed(image, collection.where) for collection in collections for image in collection.images]
    same: dict[tuple[int, int], Pair] = {}
    known = KnownImages[int]()
    for number, placed in enumerate(images):
        identity = placed.image.identity
        for partner in {*known.overlapping(identity), *(() if placed.image.blank else known.equal(identity))}:
            other = images[partner]
            # Tiles of one image may overlap.
            if other.place != placed.place or other.image.identity.pixels == identity.pixels:
                same[partner, number] = other, placed
        known.add(identity, number)
    yield from _by_place(list(same.values()), alike=False)
    signatures = [placed.image.signature for placed in images]
    pairs = {(first, second) for first, second, _ in near_duplicates(signatures, signatures) if first < second}
    alike = [(images[first], images[second]) for first, second in sorted(pairs - same.keys())]
    yield from _by_place([pair for pair in alike if not _of_one_frame(*pair)], alike=True)


def _of_one_frame(first: _Placed, second: _Placed) -> bool:
    ours, theirs = first.image.identity, second.image.identity
    return (ours.sha256, ours.frame, first.place) == (theirs.sha256, theirs.frame, second.place)


def _by_place(pairs: Sequence[Pair], *, alike: bool) -> Iterator[Finding]:
    by_place: defaultdict[tuple[tuple[str, str | None], ...], list[Pair]] = defaultdict(list)
    for first, second in pairs:
        if first.where == second.where and first.image.split != "train" == second.image.split:
            first, second = second, first
        by_place[first.place, second.place].append((first, second))
    keep = f"Keep both on one side of the split{' where they show the same cells' if alike else ''}. {SCORED}"
    for (ours, theirs), found in by_place.items():
        splits = {ours[1], theirs[1]}
        harm = "train" in splits and not splits.isdisjoint(HELD_OUT)
        shown = listing([f"{first.image.name} = {second.image.name}" for first, second in found], 3)
        what = f"{_count(len(found), 'pair')} of {'images that look alike' if alike else 'copies'}"
        yield Finding(
            harm,
            "look-alikes" if alike else "copies",
            ours[0],
            f"{what}, {_between(ours, theirs)}: {shown}",
            keep if harm else None,
            tuple(name for first, second in found for name in (first.image.name, second.image.name)),
        )


def _between(ours: tuple[str, str | None], theirs: tuple[str, str | None]) -> str:
    if ours == theirs:
        return f"within {_split(ours[1])}"
    if ours[0] == theirs[0]:
        return f"between {_split(ours[1])} and {_split(theirs[1])}"
    return f"between {_split(ours[1])} and {_split(theirs[1])} of {theirs[0]}"


def _split(split: str | None) -> str:
    return "the folder" if split is None else f"the {split} split"


def seen_findings(run: str, seen: Sequence[SeenImage], collection: Collection) -> Iterator[Finding]:
    """Images of a data set for validation or test that a run was trained on, and images of a folder that it was.

    Args:
        run: its directory.
        seen: by it.
        collection: that is not the run's own data set.
    """
    known = KnownImages[SeenImage]()
    for image in seen:
        if image.use != "validation":
            known.add(image.identity, image)
    names = [
        image.name
        for image in collection.images
        if image.split != "train"
        and (any(known.overlapping(image.identity)) or (not image.blank and any(known.equal(image.identity))))
    ]
    if names:
        held = any(image.split in HELD_OUT for image in collection.images)
        what = f"{run} learnt from {_count(len(names), 'image')}{' for validation or test' if held else ''}: "
        fix = "Score the run on other images." if held else None
        yield Finding(held, "seen", collection.where, f"{what}{listing(names, 3)}", fix, tuple(names))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
