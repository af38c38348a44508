"""What the values of mask files mean: recognised over all masks of a folder together, never mask by mask.

One mask alone misleads: the first of a folder of instance masks may hold a single cell, and look binary. Where the
values fit two readings the user is asked, since a wrong guess would train without complaint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.mask_traits import NO_TRAITS, MaskTraits
from bioseg_cli.prepare.agreement import (
    LARGEST_CODE,
    full_scale,
    refuse_contradiction,
    use_of_palettes,
)
from bioseg_cli.prepare.mask_values import (
    Look,
    hexadecimal,
    look_at,
    pack,
    pooled,
    rgb,
    without_tint,
    written,
)
from bioseg_cli.prepare.recipe import BACKGROUND, label_dtype
from bioseg_cli.prepare.settings import MaskKind
from bioseg_cli.prepare.smear import MOST_CLASSES, Cut, cuts_of, find_smears, refuse_pictures, scattered

PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Display colours of the classes after the background, told apart with any colour vision (Okabe and Ito 2008)."""

FEW_VALUES = 8
"""Up to so many values could be classes even where each is one region a mask."""


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
    """

    kind: MaskKind
    classes: tuple[ClassInfo, ...]
    codes: Mapping[int, int] | None
    sentence: str
    cuts: Mapping[int, Cut] = field(default_factory=dict)
    by_colour: bool = False
    shown: Mapping[int, int] = field(default_factory=dict)

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


class MaskSurvey:
    """Looks at every mask once (`add`), then says what they mean (`reading`).

    Attributes:
        looks: what each mask holds.
    """

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def add(
        self, mask: Pixels, *, where: Path | None = None, traits: MaskTraits = NO_TRAITS, regions: bool = True
    ) -> None:
        """See one mask (H, W) or (H, W, 3), read from the file `where` with such traits.

        Without `regions` no connected regions: enough where the user says what the values mean, or beside 0 there is
        only one.

        Raises:
            DataError: negative values, or an index that the palette lacks.
        """
        if mask.min(initial=0) < 0:
            raise DataError(
                f"The mask holds negative values, down to {mask.min()}", where=where, fix="Labels count from 0."
            )
        mask = without_tint(mask)
        self.looks.append(look_at(mask, where=where, traits=traits, regions=regions))

    @property
    def several(self) -> bool:
        """Whether there are more than two values over all masks."""
        return len({value for look in self.looks for value in look.counts.values.tolist()}) > 2

    def reading(self, kind: MaskKind | None, names: Sequence[str]) -> MaskReading:
        """Decide what the masks mean.

        Args:
            kind: what the user says they are; None = recognise it.
            names: of the classes, background first; none = made up.

        Raises:
            DataError: all masks are empty, or the values fit no reading or two.
            UsageError: the number of names does not fit.
        """
        use = use_of_palettes(self.looks, kind)
        masks = _Masks(
            [look.in_colour() for look in self.looks] if use.by_colour else self.looks,
            coloured=use.by_colour and kind == "colours",
        )
        if masks.values in ([], [0]):
            raise DataError(
                "All masks are empty: they hold 0 and nothing else", fix="Check that this is the folder of masks."
            )
        guessed = kind is None
        kind = kind or masks.recognise()
        reading = masks.read_as(kind, names)
        if guessed:
            others = "|".join(one for one in ("binary", "instances", "classes", "colours") if one != kind)
            said = f" (recognised as {kind}; --masks-are {others} reads them otherwise)"
            reading = replace(reading, sentence=reading.sentence + said)
        if use.said:
            reading = replace(reading, sentence=f"{reading.sentence}; {use.said}")
        shown = {reading.codes.get(index): colour for index, colour in use.colours.items()} if reading.codes else {}
        if reading.kind == "classes" and len(shown) == len(reading.classes) == len(set(shown.values())):
            coloured = (one.model_copy(update={"colour": rgb(shown[code])}) for code, one in enumerate(reading.classes))
            reading = replace(reading, classes=tuple(coloured))
        return replace(reading, by_colour=use.by_colour, shown=use.colours)


class _Masks:
    """All masks of a folder, those with palettes as they are to be read; `coloured`: the greys too are colours."""

    def __init__(self, looks: Sequence[Look], *, coloured: bool) -> None:
        self._looks = looks
        self._coloured = coloured or any(look.coloured for look in looks)
        alike = [look.packed() for look in looks] if self._coloured else looks
        self.values: list[int] = pooled([look.counts for look in alike]).values.tolist() if alike else []
        self._smears = find_smears(alike)

    def recognise(self) -> MaskKind:
        """What the values mean where only one reading fits; otherwise raises `DataError`."""
        values = self.values
        objects = len(values) - (values[0] == 0)
        by_class: MaskKind = "colours" if self._coloured else "classes"
        refuse_pictures(self._looks)
        for smear in self._smears.values():
            raise smear.refusal()
        if objects == 1 or full_scale(self._looks):
            return "binary"
        if values[0] != 0 and objects <= MOST_CLASSES:
            return by_class
        regions = np.concatenate([look.regions for look in self._looks if look.regions is not None])
        single = (regions == 1).sum() / (regions > 0).sum()
        if (objects > FEW_VALUES and single >= 0.9) or (objects > MOST_CLASSES and single >= 0.5):
            return "instances"
        if objects > MOST_CLASSES:
            raise scattered(objects)
        refuse_contradiction(self._looks)
        if single < 0.5:
            return by_class
        raise DataError(
            f"The masks hold {self._written(values)}: numbered objects, or classes",
            fix=f"Say which: --masks-are instances or --masks-are {by_class}.",
        )

    def read_as(self, kind: MaskKind, names: Sequence[str]) -> MaskReading:
        """Read the values as the user says, or as was recognised; raises `DataError` where that cannot be."""
        if kind == "binary":
            refuse_pictures(self._looks)
            return self._foreground(kind, names, cuts_of(self._smears))
        for smear in self._smears.values():
            if smear.lossy:
                raise smear.refusal()
        if kind == "instances":
            return self._foreground(kind, names, {})
        return self._by_colour(names) if kind == "colours" else self._by_value(names)

    def _foreground(self, kind: MaskKind, names: Sequence[str], cuts: Mapping[int, Cut]) -> MaskReading:
        classes = _named(["background", "foreground"], names, found="two classes, 0 and all else")
        background, foreground = (repr(one.name) for one in classes)
        if cuts:
            sides = (
                str(cut) + (f" in masks of {8 * size} bits" if len(cuts) > 1 else "")
                for size, cut in sorted(cuts.items())
            )
            sentence = f"{', '.join(sides)} are {foreground}, the others {background}"
        else:
            objects = "every numbered object" if kind == "instances" else self._written([v for v in self.values if v])
            sentence = f"{objects} is {foreground}, 0 is {background}"
        return MaskReading(kind, classes, None, sentence, cuts)

    def _by_value(self, names: Sequence[str]) -> MaskReading:
        if self._coloured:
            raise DataError("The masks are coloured", fix="Give --masks-are colours.")
        values = self.values
        largest = 255 if max(look.itemsize for look in self._looks) == 1 else 65535
        ignored = values[-1] in (255, largest) and len(values) > 2 and values[-2] <= LARGEST_CODE
        ignore_value = values.pop() if ignored else None
        if names and values[-1] < len(names):
            values = list(range(len(names)))
        default = ["background" if value == 0 else f"class {value}" for value in values]
        classes = _named(default, names, found=self._written(values))
        codes = {value: code for code, value in enumerate(values)}
        sentence = ", ".join(f"{value} is {classes[code].name!r}" for value, code in codes.items())
        if ignore_value is not None:
            codes[ignore_value] = IGNORE_BY_DTYPE[label_dtype(len(classes))]
            sentence += f", {ignore_value} is ignored"
        return MaskReading("classes", classes, codes, sentence)

    def _by_colour(self, names: Sequence[str]) -> MaskReading:
        colours = self.values
        if not self._coloured:
            raise DataError("The masks have no colours, only greys", fix="Give --masks-are classes or instances.")
        default = ["background" if colour == 0 else hexadecimal(colour) for colour in colours]
        found = f"{len(colours)} colours, {', '.join(map(hexadecimal, colours[:MOST_CLASSES]))}"
        classes = tuple(
            ClassInfo(name=one.name, colour=rgb(colour))
            for one, colour in zip(_named(default, names, found=found), colours, strict=True)
        )
        sentence = ", ".join(
            f"{hexadecimal(colour)} is {one.name!r}" for colour, one in zip(colours, classes, strict=True)
        )
        return MaskReading("colours", classes, {colour: code for code, colour in enumerate(colours)}, sentence)

    def _written(self, values: Sequence[int]) -> str:
        return written(values, coloured=self._coloured)


def _named(default: Sequence[str], names: Sequence[str], *, found: str) -> tuple[ClassInfo, ...]:
    if names and len(names) != len(default):
        raise UsageError(
            f"--classes gives {len(names)} names, the masks hold {found}",
            fix=f"Give {len(default)} names, the background first, or say what the masks are with --masks-are.",
        )
    return tuple(
        ClassInfo(name=name, colour=BACKGROUND.colour if code == 0 else PALETTE[(code - 1) % len(PALETTE)])
        for code, name in enumerate(names or default)
    )
