"""From the values of a mask to class codes, once it is decided what the values mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo, MaskKind
from bioseg_cli.dataset.schema import IntArray, Pixels, label_dtype
from bioseg_cli.errors import DataError
from bioseg_cli.masks.mask_file import NO_TRAITS, MaskTraits
from bioseg_cli.masks.smear import Cut
from bioseg_cli.masks.undrawn import without
from bioseg_cli.masks.values import Look, pack, without_tint
from bioseg_cli.objects.instances import Objects
from bioseg_cli.objects.labelled import numbered_objects


@dataclass(frozen=True)
class MaskReading:
    """How mask values become class codes.

    Attributes:
        kind: binary, instances, classes or colours.
        classes: name and colour by code.
        codes: code by mask value; None: everything but 0 is the second class, or what a cut leaves.
        sentence: the reading in one line, for the user.
        cuts: by bytes a value, where the foreground begins in masks that are not clean; without, it is all but 0.
        by_colour: masks with a palette are read by its colours; otherwise by their indices.
        shown: packed colour of each index, where masks have palettes that agree.
        undrawn: value of the pixels that nobody drew, as the masks hold it; None: there are none.
    """

    kind: MaskKind
    classes: tuple[ClassInfo, ...]
    codes: Mapping[int, int] | None
    sentence: str
    cuts: Mapping[int, Cut] = field(default_factory=dict)
    by_colour: bool = False
    shown: Mapping[int, int] = field(default_factory=dict)
    undrawn: int | None = None

    @property
    def drawn_values(self) -> frozenset[int]:
        """The values that have a code, without that of the pixels that nobody drew."""
        return frozenset(self.codes or ()) - {self.undrawn}

    @property
    def numbers_objects(self) -> bool:
        """Whether the values are numbers of single objects, all of which were drawn."""
        return self.kind == "instances" and self.undrawn is None

    def objects(self, mask: Pixels) -> Objects:
        """The objects of a mask (H, W) or (H, W, 3) whose values number them."""
        return numbered_objects(pack(mask) if mask.ndim == 3 else mask)

    def draws_in(self, look: Look) -> bool:
        """Whether somebody drew in a mask, as far as its values tell."""
        return self.undrawn is None or without(look, self.undrawn) is not None

    def labels(self, mask: Pixels, traits: MaskTraits = NO_TRAITS) -> Pixels:
        """Class codes (H, W) of a mask (H, W) or (H, W, 3) whose file has such traits."""
        if self.by_colour and traits.palette is not None:
            mask = traits.shown(mask)
        mask = without_tint(mask)
        if self.codes is None:
            cut = self.cuts.get(mask.dtype.itemsize)
            if cut is not None:
                return cut.foreground(mask).astype(np.uint8)
            codes: Pixels = ((mask != 0).any(axis=-1) if mask.ndim == 3 else mask != 0).astype(np.uint8)
            if self.undrawn is not None:
                unlike = mask != self.undrawn
                codes[~(unlike.any(axis=-1) if mask.ndim == 3 else unlike)] = IGNORE_BY_DTYPE["uint8"]
            return codes
        values = pack(mask if mask.ndim == 3 else mask[..., None]) if self.kind == "colours" else mask
        dtype = np.dtype(label_dtype(len(self.classes)))
        if values.dtype.kind != "u" or values.itemsize > 2:
            return map_values(values, self.codes).astype(dtype)
        listed, held = np.array(sorted(self.codes)), np.flatnonzero(np.bincount(values.reshape(-1)))
        if not np.isin(held, listed).all():
            return map_values(values, self.codes).astype(dtype)
        table = np.zeros(int(listed[-1]) + 1, dtype=dtype)
        table[listed] = [self.codes[int(value)] for value in listed]
        return np.take(table, values)


def map_values(values: Pixels, codes: Mapping[int, int], *, other: int | None = None) -> IntArray:
    """Replace each value by its code.

    Args:
        values: integers of any shape.
        codes: code by value.
        other: code of the values that are not listed; None refuses them.

    Raises:
        DataError: an unlisted value while `other` is None.
    """
    listed = np.array(sorted(codes))
    places = np.searchsorted(listed, values).clip(max=len(listed) - 1)
    known = listed[places] == values
    if other is None and not known.all():
        raise DataError(f"The mask holds the value {int(values[~known][0])}, which is none of {listed.tolist()}")
    targets = np.array([codes[int(value)] for value in listed], dtype=np.int64)
    return np.where(known, targets[places], 0 if other is None else other)
