"""Masks that are drawn in part: which pixels nobody drew, and the doubt where nothing but the values says so.

A mask of classes on a background, 0, and scribbles around which nobody drew, 0, hold the same values, and either would
train without complaint if it were taken for the other. So 0 is what nobody drew where the user or the file says it, and
it is asked about where masks look like scribbles or boxes, or are named as ilastik names labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bioseg_cli.config import ALL_DRAWN
from bioseg_cli.errors import DataError
from bioseg_cli.masks.values import Look, pack, written

FEW_DRAWN = 0.1
"""Share of the pixels up to which strokes are scribbles. More of them are a drawing of the whole image."""
HARDLY_DRAWN = 0.02
"""Share of the pixels up to which regions of any form may be samples of what the image shows."""
_OF_ILASTIK = re.compile(r"_Labels$")
"""How ilastik names an image of its labels, `NAME_Labels`, unless told otherwise."""

ASKED = f"Say which: --unlabelled-value 0 if nobody drew there, --unlabelled-value {ALL_DRAWN} if 0 is the background."


def without(look: Look, value: int) -> Look | None:
    """What a mask holds beside the pixels of a value that nobody drew; None where that is nothing."""
    counts = look.counts
    kept = counts.values != (pack(np.full(3, value)) if look.coloured else value)
    if not kept.any():
        return None
    columns = {name: getattr(counts, name)[kept] for name in ("values", "pixels", "filling", "between")}
    regions = None if look.regions is None else look.regions[kept]
    return replace(look, counts=replace(counts, **columns), regions=regions)


def drawn_alone(looks: Sequence[Look], value: int) -> list[Look]:
    """What the masks hold beside the pixels that nobody drew; masks in which nothing is drawn are left out.

    Raises:
        DataError: no mask holds the value, or none holds another, or a palette says what the values are.
    """
    if indexed := [look for look in looks if look.traits.palette is not None and look.coloured]:
        raise DataError(
            f"{indexed[0].name} shows the colours of a palette, and --unlabelled-value is a number",
            fix="Give --masks-are classes to go by the numbers, or save the masks without a palette.",
        )
    kept = [look for look in (without(look, value) for look in looks) if look is not None]
    every = sorted({held for look in looks for held in look.counts.values.tolist()})
    coloured = any(look.coloured for look in looks)
    if not kept:
        raise DataError(
            f"Nothing is drawn in any mask: all pixels have the value {value} of --unlabelled-value",
            fix="Check that this is the folder of the masks, and that they were saved after drawing.",
        )
    if len(looks) == len(kept) and all(map(_hold_as_many, looks, kept)):
        raise DataError(
            f"No mask holds the value {value} of --unlabelled-value: they hold {written(every, coloured=coloured)}",
            fix="Give the value of the pixels that nobody drew, or --unlabelled-value none if there are none.",
        )
    return kept


def _hold_as_many(look: Look, other: Look) -> bool:
    return len(look.counts.values) == len(other.counts.values)


def refuse_unclear(looks: Sequence[Look], values: Sequence[int], *, coloured: bool, samples: bool) -> None:
    """Raise `DataError` where masks of 0 and classes may be drawn in part, and nobody said whether they are.

    Args:
        looks: what the masks hold.
        values: all of them, ascending.
        coloured: they are packed colours.
        samples: so little that is drawn in any form is a doubt too.
    """
    if not values or values[0] != 0 or len(values) < 2:
        return
    of_ilastik = [look for look in looks if look.where is not None and _OF_ILASTIK.search(look.where.stem)]
    if of_ilastik:
        raise DataError(
            f"{of_ilastik[0].name} is named as ilastik names labels, in which 0 is not drawn; elsewhere 0 is the "
            "background",
            fix=ASKED,
        )
    drawings = [look.drawing for look in looks if look.drawing is not None]
    drawn = sum(drawing.drawn for drawing in drawings)
    if len(values) < 3 or not drawn:
        return
    share = drawn / sum(drawing.pixels for drawing in drawings)
    strokes, regions = sum(drawing.strokes for drawing in drawings), sum(drawing.regions for drawing in drawings)
    seen = f"The masks hold {written(values, coloured=coloured)}, and "
    scribbled = 2 * strokes >= regions
    if (share <= FEW_DRAWN and scribbled) or (share <= HARDLY_DRAWN and samples):
        like = "scribbles" if scribbled else "samples"
        raise DataError(
            f"{seen}{share:.2%} of the pixels are not 0, like {like}: 0 may be background, or what nobody drew",
            fix=ASKED,
        )
    if all(drawing.boxes for drawing in drawings if drawing.drawn):
        raise DataError(f"{seen}fill boxes: 0 around them may be background, or what nobody drew", fix=ASKED)
