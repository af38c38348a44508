"""Whether the masks of a folder speak one language: palettes of one order, one set of numbers, colours or greys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bioseg_cli.config import MaskKind
from bioseg_cli.errors import DataError
from bioseg_cli.masks.values import Look, hexadecimal, pack, unpack
from bioseg_cli.printable import listing

LARGEST_CODE = 63
"""Numbers of classes are up to this; greys that show a class are larger."""


@dataclass(frozen=True)
class PaletteUse:
    """What the palettes of masks are good for.

    Attributes:
        by_colour: a pixel counts by its colour; otherwise by its index.
        colours: packed colour of each index that is used, where the palettes agree.
        said: why, for the user; empty where nothing needs to be said.
    """

    by_colour: bool
    colours: dict[int, int]
    said: str = ""


def use_of_palettes(looks: Sequence[Look], kind: MaskKind | None) -> PaletteUse:
    """Decide whether index or colour says what a pixel of a palette mask is.

    Raises:
        DataError: the palettes contradict each other, and neither reading is plain.
    """
    indexed = [look for look in looks if look.traits.palette is not None]
    if not indexed or kind == "colours":
        return PaletteUse(bool(indexed), {})
    shown: dict[int, dict[int, str]] = {}
    for look in indexed:
        indices = look.counts.values
        for index, colour in zip(indices.tolist(), pack(look.traits.colours(indices)).tolist(), strict=True):
            shown.setdefault(index, {}).setdefault(colour, look.name)
    torn = {index: files for index, files in shown.items() if len(files) > 1}
    colours = {index: next(iter(files)) for index, files in shown.items() if not torn}
    if kind == "classes":
        return PaletteUse(False, colours)
    others = [look for look in looks if look.traits.palette is None]
    if any(look.coloured for look in others):
        return PaletteUse(True, {}, "palettes are read by colour, since other masks are coloured")
    if torn:
        return _use_of_torn(indexed, torn, shown, kind)
    ordered = [colours[index] for index in sorted(colours)]
    grey = all(len(set(channels)) == 1 for channels in unpack(np.array(ordered)).tolist())
    if grey and others and ordered == sorted(ordered):
        return PaletteUse(True, {})
    if grey and kind is None and len(ordered) == 2 and ordered[0] > ordered[1]:
        raise DataError(
            f"The palette of {indexed[0].name} shows index {max(colours)} darker than index {min(colours)}",
            fix="--masks-are binary takes all indices but 0 as foreground, --masks-are colours goes by what is shown.",
        )
    return PaletteUse(False, colours)


def _use_of_torn(
    indexed: Sequence[Look], torn: dict[int, dict[int, str]], shown: dict[int, dict[int, str]], kind: MaskKind | None
) -> PaletteUse:
    """What the user is told where an index has several colours."""
    colours = [colour for files in shown.values() for colour in files]
    moves = len(set(colours)) < len(colours)
    everywhere = all(0 in pack(look.traits.colours(look.counts.values)) for look in indexed)
    if moves if kind is None else everywhere:
        return PaletteUse(True, {}, "the palettes differ from file to file, so the colours decide and not the indices")
    index, files = min(torn.items())
    (colour, first), (other_colour, second) = list(files.items())[:2]
    raise DataError(
        f"The palettes differ: index {index} is {hexadecimal(colour)} in {first} "
        f"and {hexadecimal(other_colour)} in {second}",
        fix="--masks-are colours goes by the colours, --masks-are classes by the indices.",
    )


def full_scale(looks: Sequence[Look]) -> bool:
    """Whether every mask holds 0 and the largest value of its file's type alone, as in 8-bit beside 16-bit masks."""
    for look in looks:
        objects = set(look.counts.values.tolist()) - {0}
        one_bit = look.traits.full == 1 and len(objects) == 1
        if look.coloured or not (objects <= {look.traits.full} or one_bit):
            return False
    return True


def refuse_contradiction(looks: Sequence[Look]) -> None:
    """Raise `DataError` where some masks hold numbers and others greys, or some colours and others numbers."""
    coloured = [look for look in looks if look.coloured]
    plain = [look for look in looks if not look.coloured and look.drawn_values]
    if coloured:
        known = {value for look in coloured for value in look.counts.values.tolist()}
        strange = [
            look for look in plain if not known.issuperset(pack(np.array(sorted(look.drawn_values))[:, None]).tolist())
        ]
        if strange:
            raise DataError(
                f"{_some(coloured)} coloured, {_some(strange)} grey of values that no coloured mask shows",
                fix="Say what they are: --masks-are binary (all but 0 is foreground) or --masks-are colours.",
            )
        return
    low = [look for look in plain if max(look.drawn_values) <= LARGEST_CODE]
    high = [look for look in plain if min(look.drawn_values) > LARGEST_CODE]
    one_each = all(len(look.drawn_values) == 1 for look in plain)
    if low and high and len(low) + len(high) == len(plain):
        groups = low, high
    elif one_each and not low and len({look.drawn_values for look in high}) > 1:
        first = high[0].drawn_values
        groups = (
            [look for look in high if look.drawn_values == first],
            [look for look in high if look.drawn_values != first],
        )
    else:
        return
    these, those = (f"{_values(group)} in {_some(group, verb=False)}" for group in groups)
    raise DataError(
        f"The masks contradict each other: {these}, {those}",
        fix="Say what they are: --masks-are binary (all but 0 is foreground) or --masks-are classes.",
    )


def _values(looks: Sequence[Look]) -> str:
    values = sorted({value for look in looks for value in look.drawn_values} | {0})
    return listing([str(value) for value in values], 6)


def _some(looks: Sequence[Look], *, verb: bool = True) -> str:
    """How many masks, and the name of one."""
    number = f"{len(looks)} mask{'s' if len(looks) > 1 else ''}"
    are = (" are" if len(looks) > 1 else " is") if verb else ""
    return f"{number} (such as {looks[0].name}){are}"
