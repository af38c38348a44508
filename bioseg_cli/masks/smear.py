"""Masks whose values are not those that were drawn: scaled, smoothed or saved as JPEG; and the cut that undoes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.masks.values import Counts, Look, ValueCounts, hexadecimal, pack, pooled, unpack, written

REPAIR = "Export the masks again as PNG or TIFF, without smoothing, and scaled by nearest neighbour if at all"
MOST_CLASSES = 32
"""More values than this are not taken for classes unless the user says so."""
FEW_DRAWN = 8
"""Beside more values that fill areas, single pixels of some others are specks: the smallest of many objects."""
AREAS = 0.2
"""Share of the pixels in areas of one value below which nothing was drawn: JPEG leaves a third around small objects."""
CUT_LEVELS = 4
"""Up to so many greys can be cut above the lowest; more are numbered objects, some as dark as what was left over."""
NEAR = 1 / 16
"""Values closer than this part of their range are one level: so far JPEG moves a flat area."""
WIDE = 32
"""Between values this far apart lies a ramp; closer ones may be class numbers in a row."""
HANDFUL = 0.01
"""Share of the pixels other than the background below which loose pixels are no class."""
SMALLEST_LEVEL = 2e-3
"""Share of the pixels other than the background below which an area is an accident of smoothing."""
LARGEST_OFFSET = 0.05
"""Share of the pixels other than the background up to which an area near a level is that level, moved by JPEG."""
MODE = 0.25
"""Share of the pixels apart from the background that are like their most frequent value, where it was drawn."""
LINES = 0.1
"""Share of these pixels from which on what lies beyond two levels is a level as well."""
SMOOTHED_BORDERS = 0.1
"""Share of the borders that run through values which lie between: few where masks are clean, a third where smoothed."""
MOST_NEIGHBOURS = 64
"""So many values that fill areas are no two or three levels with noise around them."""


@dataclass(frozen=True)
class Cut:
    """Halfway between two levels, greys (1,) or colours (3,): from there up a pixel is foreground."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    def foreground(self, mask: Pixels) -> Pixels:
        """(H, W) bool of a mask (H, W) or (H, W, 3). A mask of 0 and one other value is clean: all but 0."""
        value = pack(mask) if mask.ndim == 3 else mask
        if ((value == 0) | (value == value.max(initial=0))).all():
            drawn: Pixels = value != 0
            return drawn
        if len(self.low) == 1:
            grey: Pixels = mask >= self.at
            return grey
        low, step = np.array(self.low), np.array(self.high) - self.low
        colours = np.repeat(mask[..., None], 3, axis=-1) if mask.ndim == 2 else mask
        nearer: Pixels = 2 * ((colours.astype(np.int64) - low) * step).sum(axis=-1) >= (step**2).sum()
        return nearer

    @property
    def at(self) -> int:
        """The first grey of the foreground."""
        return -(-(self.low[0] + self.high[0]) // 2)

    def __str__(self) -> str:
        """The foreground in words."""
        if len(self.low) == 1:
            return f"values from {self.at} up"
        low, high = (hexadecimal(int(pack(np.array(level)))) for level in (self.low, self.high))
        return f"colours nearer to {high} than to {low}"


@dataclass(frozen=True)
class Smear:
    """Why masks are not clean.

    Attributes:
        count: how many values they hold.
        levels: values that fill areas, the darkest first, one of each group of near ones.
        coloured: the levels are packed colours.
        numbered: as many levels as numbered objects have.
        lossy: a file with such values is a JPEG.
    """

    count: int
    levels: tuple[int, ...]
    coloured: bool
    numbered: bool
    lossy: bool

    @property
    def cut(self) -> Cut | None:
        """Halfway between the two lowest levels; None where there are too many, or several colours."""
        if len(self.levels) < 2 or len(self.levels) > (2 if self.coloured else CUT_LEVELS):
            return None
        if len(self.levels) > 2 and self.levels[1] - self.levels[0] < WIDE:
            return None
        low, high = ((*_channels(np.array([level]), coloured=self.coloured)[0].tolist(),) for level in self.levels[:2])
        return Cut(low, high)

    def refusal(self) -> DataError:
        """What is wrong with the masks, and what can be done, in the options of the command line."""
        if len(self.levels) == 1:
            return scattered(self.count)
        levels = written(self.levels, coloured=self.coloured)
        if len(self.levels) < self.count:
            what = f"{self.count} values, but {levels} alone fill areas: JPEG, smoothing or scaling left the rest"
        else:
            what = f"{levels}, and many borders run through the values between: smoothing or scaling left them there"
        fixes = []
        if self.cut is not None:
            fixes.append(f"--masks-are binary takes {self.cut} as foreground")
        if not self.lossy and self.count <= MOST_CLASSES:
            fixes.append(f"--masks-are {'colours' if self.coloured else 'classes'} takes every value as a class")
        if not self.lossy and self.count <= MOST_CLASSES and self.cut is None and not self.coloured:
            fixes.append("--masks-are instances takes all but 0 as foreground")
        fixes.append("or export the masks again as PNG or TIFF, without smoothing" if fixes else REPAIR)
        return DataError(f"The masks hold {what}", fix="; ".join(fixes) + ".")


def refuse_pictures(looks: Sequence[Look]) -> None:
    """Raise `DataError` where a mask has many values and hardly an area of one."""
    for look in looks:
        counts = look.counts
        if len(counts.values) > MOST_CLASSES and not _has_areas(counts):
            raise scattered(len(counts.values), look.where)


def scattered(count: int, where: Path | None = None) -> DataError:
    """The error of a mask that is a picture, or probabilities."""
    return DataError(
        f"The masks hold {count} values scattered like a picture's, not like labels",
        where=where,
        fix="Give masks of labels: apply a threshold to a picture or to probabilities first.",
    )


def find_smears(looks: Sequence[Look]) -> dict[int, Smear]:
    """Find out whether masks have values that nobody drew.

    Args:
        looks: masks of greys alone, or of packed colours alone.

    Returns:
        What was found, by bytes a channel: scaling fills the range of the type. Empty where every value may be meant.
    """
    sizes = {look.itemsize for look in looks}
    found = {size: _find_smear([look for look in looks if look.itemsize == size]) for size in sizes}
    return {size: smear for size, smear in found.items() if smear is not None}


def cuts_of(smears: Mapping[int, Smear]) -> dict[int, Cut]:
    """Where the foreground begins in masks that are not clean, by bytes a channel.

    Raises:
        DataError: it cannot be told.
    """
    for smear in smears.values():
        if smear.cut is None and (smear.lossy or not smear.numbered):
            raise smear.refusal()
    return {size: smear.cut for size, smear in smears.items() if smear.cut is not None}


def _find_smear(looks: Sequence[Look]) -> Smear | None:
    # A mask of two values is clean by itself, and its levels may be others.
    looks = [look for look in looks if len(look.counts.values) > 2]
    if not looks:
        return None
    coloured = looks[0].coloured
    counts = pooled([look.counts for look in looks])
    drawn = counts.drawn
    if not drawn.any() or not _has_areas(counts):
        return None
    channels = _channels(counts.values, coloured=coloured)
    spread = int((channels.max(axis=0) - channels.min(axis=0)).max())
    foreground = int(counts.pixels.sum() - counts.pixels[0])
    stray = ~drawn & (counts.filling == 0) & (counts.pixels < HANDFUL * foreground)
    if spread >= WIDE:
        stray |= ~drawn & (2 * counts.between >= counts.pixels)
        stray |= ~drawn & _beside(channels, counts, spread * NEAR)
    lossy = any(look.traits.lossy and not look.counts.drawn.all() for look in looks)
    few = drawn.sum() <= FEW_DRAWN
    through = counts.between[drawn].sum() > SMOOTHED_BORDERS * counts.borders
    if not (lossy or through or (few and stray.any()) or stray.sum() > drawn.sum()):
        return None
    levels = _levels(counts, channels, spread * NEAR, foreground)
    return Smear(len(counts.values), levels, coloured, len(levels) > FEW_DRAWN, lossy)


def _has_areas(counts: ValueCounts) -> bool:
    """Whether areas of one value take up enough of the masks; they hardly do in pictures and in noise."""
    return bool(counts.filling.sum() >= AREAS * counts.pixels.sum())


def _channels(values: Counts, *, coloured: bool) -> Counts:
    """(n, 1) greys or (n, 3) colours."""
    return unpack(values) if coloured else values[:, None]


def _beside(channels: Counts, counts: ValueCounts, near: float) -> Counts:
    """(n,) whether a value is near one that fills areas and is ten times as frequent."""
    found = np.zeros(len(channels), dtype=bool)
    if counts.drawn.sum() > MOST_NEIGHBOURS:
        return found
    for place in np.flatnonzero(counts.drawn):
        close = np.abs(channels - channels[place]).max(axis=1) <= near
        found |= close & (10 * counts.pixels < counts.pixels[place])
    return found


def _levels(counts: ValueCounts, channels: Counts, near: float, foreground: int) -> tuple[int, ...]:
    """The values that fill areas, of each group of near ones the most frequent, the darkest first."""
    found: list[int] = []
    largest_first = np.argsort(-counts.pixels, kind="stable")
    for place in largest_first[counts.drawn[largest_first]]:
        apart = all(np.abs(channels[place] - channels[other]).max() > near for other in found)
        if not found or counts.pixels[place] >= (SMALLEST_LEVEL if apart else LARGEST_OFFSET) * foreground:
            found.append(int(place))
    apart = np.abs(channels - channels[found[0]]).max(axis=1)
    others = counts.pixels[apart > near].sum()
    if len(found) == 1:
        # What is thin, or of the colours of a JPEG, hardly fills areas: a value with the like of which many pixels are.
        mode = int((counts.pixels * (apart * NEAR * 2 >= near)).argmax())
        if counts.pixels[np.abs(channels - channels[mode]).max(axis=1) <= near].sum() >= MODE * others:
            found.append(mode)
    if len(found) == 2 and channels.shape[1] == 1:
        # Lines between two rows of pixels have half of their value: what they reach elsewhere was drawn.
        if counts.pixels[apart > apart[found[1]] + near].sum() > LINES * others:
            found[1] = int(apart.argmax())
    elif len(found) == 2:
        off = counts.pixels * (_from_line(channels, *channels[found]) > near / NEAR / 4)
        if off.sum() > LINES * others:
            found.append(int(off.argmax()))
    return tuple(int(counts.values[place]) for place in sorted(found, key=lambda place: int(channels[place].sum())))


def _from_line(channels: Counts, low: Counts, high: Counts) -> npt.NDArray[np.float64]:
    """(n,) distance of colours (n, 3) from what lies between two of them."""
    step = high - low
    along = ((channels - low) @ step / (step @ step)).clip(0, 1)
    distance: npt.NDArray[np.float64] = np.linalg.norm(channels - low - along[:, None] * step, axis=1)
    return distance
