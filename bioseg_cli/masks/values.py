"""The values of masks with how they lie: how often each occurs, how much of it fills areas, how much runs along edges.

A value that somebody drew fills areas. What scaling, smoothing or JPEG leave are single pixels between two areas, or
beside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.masks.drawing import Drawing, drawing_of
from bioseg_cli.masks.mask_file import NO_TRAITS, MaskTraits

CHANNEL_SHIFTS = (32, 16, 0)
"""Bits that red, green and blue are moved by to stand side by side in one integer."""
TABLE_ENTRIES = 1 << 22
"""Values are counted in a table of up to so many entries, and by sorting beyond."""
TINT = 4
"""Channels of a grey that differ by so much were rounded, as JPEG does."""
BRIGHT = 64
"""Channels of a mask that stays below this may be numbers."""
SHOWN_VALUES = 8
"""Values that a message lists."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ValueCounts:
    """The values of one mask, or of several together.

    Attributes:
        values: (n,) ascending; colours packed as by `pack`.
        pixels: (n,) how many hold the value.
        filling: (n,) how many of them lie in a 2 x 2 square of that value.
        between: (n,) how many lie in no square of one value, with smaller and larger neighbours in one channel.
        borders: pixels with a neighbour of another value.
    """

    values: Counts
    pixels: Counts
    filling: Counts
    between: Counts
    borders: int

    @property
    def drawn(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a value fills areas with half of its pixels or more."""
        return self.filling * 2 >= self.pixels


@dataclass(frozen=True)
class Look:
    """What one mask holds.

    Attributes:
        where: the file; None: none.
        traits: what the file says of its values.
        coloured: the values are packed colours.
        itemsize: bytes a channel.
        counts: of each value.
        regions: (n,) connected regions of each value; None: not counted.
        drawing: how these regions lie; None: not looked at.
    """

    where: Path | None
    traits: MaskTraits
    coloured: bool
    itemsize: int
    counts: ValueCounts
    regions: Counts | None
    drawing: Drawing | None = None

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return "a mask" if self.where is None else self.where.name

    @property
    def drawn_values(self) -> frozenset[int]:
        """The values other than 0 that fill areas, or all where no value does."""
        counts = self.counts
        kept = counts.values[counts.drawn & (counts.values != 0)]
        return frozenset((kept if len(kept) else counts.values[counts.values != 0]).tolist())

    def in_colour(self) -> Look:
        """The same mask by the colours of its palette; a mask without palette as it is."""
        if self.traits.palette is None:
            return self
        colours = self.traits.colours(self.counts.values)
        coloured = bool((colours != colours[:, :1]).any())
        values = pack(colours) if coloured else colours[:, 0].astype(np.int64)
        counts = pooled([replace(self.counts, values=values)])
        regions = None
        if self.regions is not None:
            regions = np.zeros_like(counts.values)
            np.add.at(regions, np.searchsorted(counts.values, values), self.regions)
            regions[counts.values == 0] = 0
        return replace(self, traits=MaskTraits(full=255), coloured=coloured, itemsize=1, counts=counts, regions=regions)

    def packed(self) -> Look:
        """The same mask with its greys as colours."""
        if self.coloured:
            return self
        return replace(self, coloured=True, counts=replace(self.counts, values=pack(self.counts.values[:, None])))


def look_at(mask: Pixels, *, where: Path | None, traits: MaskTraits = NO_TRAITS, regions: bool = True) -> Look:
    """Count the values of a mask (H, W) or (H, W, 3); without `regions`, not the connected regions of each."""
    coloured = mask.ndim == 3
    keys, held, values = _numbered(mask)
    order = np.argsort(values)
    pixels = np.bincount(keys.reshape(-1), minlength=held[-1] + 1)[held]
    filling, between, borders = pixels, np.zeros_like(pixels), 0
    if len(held) > 2:
        fills = _in_squares(keys)
        inner, edge = _between(mask)
        inner &= ~fills
        filling = np.bincount(keys[fills], minlength=held[-1] + 1)[held]
        between = np.bincount(keys[inner], minlength=held[-1] + 1)[held]
        borders = int(edge.sum())
    counts = ValueCounts(values[order], pixels[order], filling[order], between[order], borders)
    if not regions:
        return Look(where, traits, coloured, mask.dtype.itemsize, counts, None)
    found, drawing = _regions(keys, held, values)
    return Look(where, traits, coloured, mask.dtype.itemsize, counts, found[order], drawing)


def pooled(parts: Sequence[ValueCounts]) -> ValueCounts:
    """The counts of several masks together."""
    values, places = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)

    def summed(columns: Sequence[Counts]) -> Counts:
        total = np.zeros(len(values), dtype=np.int64)
        np.add.at(total, places, np.concatenate(columns))
        return total

    return ValueCounts(
        values,
        summed([part.pixels for part in parts]),
        summed([part.filling for part in parts]),
        summed([part.between for part in parts]),
        sum(part.borders for part in parts),
    )


def without_tint(mask: Pixels) -> Pixels:
    """Grey (H, W) of a mask (H, W, 3) of 8 bits whose channels differ by rounding alone; any other as it is."""
    if mask.ndim == 2 or mask.dtype != np.uint8 or mask.max(initial=0) < BRIGHT:
        return mask
    low, high = mask.min(axis=-1), mask.max(axis=-1)
    return np.median(mask, axis=-1).astype(np.uint8) if (high - low <= TINT).all() else mask


def pack(colours: Pixels) -> Counts:
    """Colours (..., 3), or greys (..., 1), as one integer each: red, green and blue side by side."""
    packed: Counts = (colours.astype(np.int64) << np.array(CHANNEL_SHIFTS)).sum(axis=-1)
    return packed


def unpack(packed: Counts) -> Counts:
    """Colours (..., 3) of integers (...); the inverse of `pack`."""
    colours: Counts = packed[..., None] >> np.array(CHANNEL_SHIFTS) & 0xFFFF
    return colours


def rgb(packed: int) -> tuple[int, int, int]:
    """A packed colour as red, green and blue of a byte each."""
    channels = unpack(np.array(packed)).tolist()
    if max(channels) > 255:
        channels = [value >> 8 for value in channels]
    return channels[0], channels[1], channels[2]


def hexadecimal(packed: int) -> str:
    """A packed colour as people write it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb(packed))


def written(values: Sequence[int], *, coloured: bool) -> str:
    """The first values, and how many there are; colours as people write them."""
    shown = [hexadecimal(value) if coloured else str(value) for value in values]
    text = ", ".join(shown[:SHOWN_VALUES])
    if len(shown) > SHOWN_VALUES:
        text += f" ... {shown[-1]} ({len(shown)} values)"
    return ("value " if len(shown) == 1 else "values ") + text


def _numbered(mask: Pixels) -> tuple[Pixels, Counts, Counts]:
    """A small integer (H, W) for each pixel, those that occur (n,), and the value that each stands for (n,)."""
    small = mask.dtype.kind == "u" and mask.itemsize <= 2
    if mask.ndim == 2 and small:
        held = np.flatnonzero(np.bincount(mask.reshape(-1)))
        return mask, held, held
    if mask.ndim == 3 and small:
        channels = [np.flatnonzero(np.bincount(mask[..., channel].reshape(-1))) for channel in range(3)]
        if np.prod([len(values) for values in channels]) <= TABLE_ENTRIES:
            keys: Pixels = np.zeros(mask.shape[:2], dtype=np.int32)
            for channel, values in enumerate(channels):
                if len(values) > 1:
                    ranks = np.zeros(values[-1] + 1, dtype=np.int32)
                    ranks[values] = np.arange(len(values))
                    keys = keys * len(values) + ranks[mask[..., channel]]
            held = np.flatnonzero(np.bincount(keys.reshape(-1)))
            ranked = np.unravel_index(held, [len(values) for values in channels])
            colours = np.stack([values[rank] for values, rank in zip(channels, ranked, strict=True)], axis=-1)
            return keys, held, pack(colours)
    values, places = np.unique(mask if mask.ndim == 2 else pack(mask), return_inverse=True)
    return places.reshape(mask.shape[:2]), np.arange(len(values)), values.astype(np.int64)


def _in_squares(keys: Pixels) -> npt.NDArray[np.bool_]:
    """(H, W) whether a pixel lies in a 2 x 2 square of one value."""
    rows, columns = keys[1:] == keys[:-1], keys[:, 1:] == keys[:, :-1]
    squares = rows[:, 1:] & rows[:, :-1] & columns[1:]
    inside = np.zeros(keys.shape, dtype=bool)
    for down in (0, 1):
        for right in (0, 1):
            inside[down : down + squares.shape[0], right : right + squares.shape[1]] |= squares
    return inside


def _between(mask: Pixels) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(H, W) whether a pixel lies between its neighbours in one channel, and whether it has any of another value."""
    between = np.zeros(mask.shape[:2], dtype=bool)
    other = between.copy()
    for channel in np.moveaxis(np.atleast_3d(mask), -1, 0):
        if (channel == channel[0, 0]).all():
            continue
        low = _of_neighbours(channel, np.minimum)
        high = _of_neighbours(channel, np.maximum)
        between |= (low < channel) & (channel < high)
        other |= low != high
    return between, other


def _of_neighbours(channel: Pixels, choose: np.ufunc) -> Pixels:
    """Minimum or maximum of each pixel and its eight neighbours."""
    rows = channel.copy()
    choose(rows[1:], channel[:-1], out=rows[1:])
    choose(rows[:-1], channel[1:], out=rows[:-1])
    found = rows.copy()
    choose(found[:, 1:], rows[:, :-1], out=found[:, 1:])
    choose(found[:, :-1], rows[:, 1:], out=found[:, :-1])
    return found


def _regions(keys: Pixels, held: Counts, values: Counts) -> tuple[Counts, Drawing]:
    """(n,) connected regions of each value, 0 has none; and how they lie."""
    counts = np.zeros(len(held), dtype=np.int64)
    if not values.any():
        return counts, Drawing(keys.size)
    from skimage.measure import label  # slow to import, and not always needed

    nothing = held[values == 0][0] if 0 in values else -1
    numbered, regions = label(keys, background=nothing, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
    key_of = np.zeros(regions + 1, dtype=np.int64)
    key_of[numbered.reshape(-1)] = keys.reshape(-1)
    found: Counts = np.bincount(key_of[1:], minlength=held[-1] + 1)[held]
    return found, drawing_of(numbered)
