"""What the values of mask files mean: recognised over all masks of a folder together, never mask by mask.

One mask alone misleads: the first of a folder of instance masks may hold a single cell, and look binary. Where the
values fit two readings the user is asked, since a wrong guess would train without complaint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo, MaskKind
from bioseg_cli.dataset.schema import Pixels, label_dtype
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.masks.agreement import LARGEST_CODE, full_scale, refuse_contradiction, use_of_palettes
from bioseg_cli.masks.classes import named_classes
from bioseg_cli.masks.mask_file import NO_TRAITS, MaskTraits
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.smear import MOST_CLASSES, REPAIR, Cut, Smear, cuts_of, find_smears, refuse_pictures, scattered
from bioseg_cli.masks.undrawn import drawn_alone, refuse_unclear
from bioseg_cli.masks.values import Look, hexadecimal, look_at, pack, pooled, rgb, without_tint, written

FEW_VALUES = 8
"""Up to so many values could be classes even where each is one region a mask."""


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

    def reading(
        self, kind: MaskKind | None, names: Sequence[str], undrawn: int | None = None, *, clear: bool = True
    ) -> MaskReading:
        """Decide what the masks mean.

        Args:
            kind: what the user says they are; None = recognise it.
            names: of the classes, background first; none = made up.
            undrawn: value of the pixels that nobody drew; None: all were drawn.
            clear: that is beyond doubt; otherwise masks that may be drawn in part are asked about.

        Raises:
            DataError: all masks are empty, or the values fit no reading or two.
            UsageError: the number of names does not fit.
        """
        use = use_of_palettes(self.looks, kind)
        masks = _Masks(
            [look.in_colour() for look in self.looks] if use.by_colour else self.looks,
            coloured=use.by_colour and kind == "colours",
            undrawn=undrawn,
        )
        if not names:
            masks.refuse_single(masks.values)
        if masks.values in ([], [0]):
            raise DataError(
                "All masks are empty: they hold 0 and nothing else", fix="Check that this is the folder of masks."
            )
        guessed = kind is None
        kind = kind or masks.recognise(clear=clear)
        if not clear and kind != "instances" and (guessed or kind != "binary"):
            masks.refuse_unclear()
        reading = masks.read_as(kind, names)
        if guessed and undrawn != 0:
            others = "|".join(other for other in ("binary", "instances", "classes", "colours") if other != kind)
            said = f" (recognised as {kind}; --masks-are {others} reads them otherwise)"
            reading = replace(reading, sentence=reading.sentence + said)
        if use.said:
            reading = replace(reading, sentence=f"{reading.sentence}; {use.said}")
        shown = {
            reading.codes.get(index): colour
            for index, colour in use.colours.items()
            if reading.codes and index != undrawn
        }
        if reading.kind == "classes" and len(shown) == len(reading.classes) == len(set(shown.values())):
            coloured = (
                class_info.model_copy(update={"colour": rgb(shown[code])})
                for code, class_info in enumerate(reading.classes)
            )
            reading = replace(reading, classes=tuple(coloured))
        return replace(reading, by_colour=use.by_colour, shown=use.colours, undrawn=undrawn)


class _Masks:
    """All masks of a folder, those with palettes as they are to be read; `coloured`: the greys too are colours.

    What follows is of the pixels that were drawn, those of another value than `undrawn`.
    """

    def __init__(self, looks: Sequence[Look], *, coloured: bool, undrawn: int | None) -> None:
        self._undrawn = undrawn
        self._looks = looks if undrawn is None else drawn_alone(looks, undrawn)
        self._coloured = coloured or any(look.coloured for look in looks)
        alike = self._alike(self._looks)
        self.values: list[int] = pooled([look.counts for look in alike]).values.tolist() if alike else []
        # Between 0 and what was drawn smoothing shows; a value that is no level would look like one.
        self._smears = find_smears(self._alike(looks) if undrawn == 0 else alike)

    def _alike(self, looks: Sequence[Look]) -> Sequence[Look]:
        return [look.packed() for look in looks] if self._coloured else looks

    def recognise(self, *, clear: bool) -> MaskKind:
        """What the values mean where only one reading fits; otherwise raises `DataError`. `clear` as in `reading`."""
        values = self.values
        objects = len(values) - (values[0] == 0)
        by_class: MaskKind = "colours" if self._coloured else "classes"
        refuse_pictures(self._looks)
        for smear in self._smears.values():
            raise self._refusal(smear)
        if (self._undrawn is None or values[0] == 0) and (objects == 1 or full_scale(self._looks)):
            return "binary"
        if values[0] != 0 and objects <= (MOST_CLASSES if self._undrawn is None else 2):
            return by_class
        regions = np.concatenate([look.regions for look in self._looks if look.regions is not None])
        single = (regions == 1).sum() / (regions > 0).sum()
        if self._undrawn is not None and values[0] != 0:
            return self._recognise_drawn(by_class, single)
        if (objects > FEW_VALUES and single >= 0.9) or (objects > MOST_CLASSES and single >= 0.5):
            return "instances"
        if objects > MOST_CLASSES:
            raise scattered(objects)
        refuse_contradiction(self._looks)
        if single < 0.5:
            return by_class
        if not clear:
            self.refuse_unclear(samples=False)
        raise DataError(
            f"The masks hold {self._written(values)}: numbered objects, or classes",
            fix=f"Say which: --masks-are instances or --masks-are {by_class}.",
        )

    def _recognise_drawn(self, by_class: MaskKind, single: float) -> MaskKind:
        """What values other than 0 mean beside what nobody drew; `single`: share of them that are one region a mask."""
        values = self._written(self.values)
        if single >= 0.5:
            raise DataError(
                f"Beside what nobody drew, the masks hold {values}: classes, or numbered objects without a background",
                fix=f"--masks-are {by_class} takes each value as a class. Numbered objects need a background, 0.",
            )
        if len(self.values) > MOST_CLASSES:
            raise scattered(len(self.values))
        refuse_contradiction(self._looks)
        return by_class

    def refuse_single(self, values: Sequence[int]) -> None:
        """Raise `DataError` where one class is all that was drawn."""
        if self._undrawn is not None and len(values) == 1:
            raise DataError(
                f"Beside what nobody drew ({self._undrawn}), the masks hold {self._written(values)} alone: a network "
                "learns nothing from a single class",
                fix="Draw some of the background too, with a value of its own; or check --unlabelled-value.",
            )

    def refuse_unclear(self, *, samples: bool = True) -> None:
        """Raise `DataError` where the background may be what nobody drew; see `undrawn.refuse_unclear`."""
        refuse_unclear(self._looks, self.values, coloured=self._coloured, samples=samples)

    def read_as(self, kind: MaskKind, names: Sequence[str]) -> MaskReading:
        """Read the values as the user says, or as was recognised; raises `DataError` where that cannot be."""
        if self._undrawn == 0 and kind in ("binary", "instances"):
            raise UsageError(
                f"--masks-are {kind} takes 0 as the background, --unlabelled-value 0 as what nobody drew",
                fix="Give --masks-are classes, or another --unlabelled-value.",
            )
        if kind == "binary":
            refuse_pictures(self._looks)
            if self._undrawn is not None:
                for smear in self._smears.values():
                    raise self._refusal(smear)
            return self._foreground(kind, names, cuts_of(self._smears))
        for smear in self._smears.values():
            if smear.lossy:
                raise self._refusal(smear)
        if kind == "instances":
            return self._foreground(kind, names, {})
        return self._by_colour(names) if kind == "colours" else self._by_value(names)

    def _refusal(self, smear: Smear) -> DataError:
        """The error of unclean masks. What was not drawn has no level that a cut could keep."""
        error = smear.refusal()
        return error if self._undrawn is None else DataError(error.what, fix=f"{REPAIR}.")

    def _foreground(self, kind: MaskKind, names: Sequence[str], cuts: Mapping[int, Cut]) -> MaskReading:
        classes = named_classes(["background", "foreground"], names, found="two classes, 0 and all else")
        background, foreground = (repr(class_info.name) for class_info in classes)
        if cuts:
            sides = (
                str(cut) + (f" in masks of {8 * size} bits" if len(cuts) > 1 else "")
                for size, cut in sorted(cuts.items())
            )
            sentence = f"{', '.join(sides)} are {foreground}, the others {background}"
        else:
            objects = "every numbered object" if kind == "instances" else self._written([v for v in self.values if v])
            sentence = f"{objects} is {foreground}, 0 is {background}{self._of_undrawn}"
        return MaskReading(kind, classes, None, sentence, cuts)

    def _by_value(self, names: Sequence[str]) -> MaskReading:
        if self._coloured:
            raise DataError("The masks are coloured", fix="Give --masks-are colours.")
        values = self.values
        largest = 255 if max(look.itemsize for look in self._looks) == 1 else 65535
        enough = len(values) > (2 if self._undrawn is None else 1)
        ignored = values[-1] in (255, largest) and enough and values[-2] <= LARGEST_CODE
        ignore_value = values.pop() if ignored else None
        if not names:
            self.refuse_single(values)
        first = 1 if self._undrawn == 0 else 0
        if names and values[-1] < first + len(names):
            values = list(range(first, first + len(names)))
        lowest = 0 if self._undrawn is None else values[0]
        default = ["background" if value == lowest else f"class {value}" for value in values]
        if self._undrawn is not None and len(values) == 2:
            default = ["background", "foreground"]
        classes = named_classes(default, names, found=self._written(values))
        codes = {value: code for code, value in enumerate(values)}
        sentence = ", ".join(f"{value} is {classes[code].name!r}" for value, code in codes.items()) + self._of_undrawn
        ignore = IGNORE_BY_DTYPE[label_dtype(len(classes))]
        if ignore_value is not None:
            codes[ignore_value] = ignore
            sentence += f", {ignore_value} is ignored"
        if self._undrawn is not None:
            codes[self._undrawn] = ignore
        return MaskReading("classes", classes, codes, sentence)

    def _by_colour(self, names: Sequence[str]) -> MaskReading:
        colours = self.values
        if not self._coloured:
            raise DataError("The masks have no colours, only greys", fix="Give --masks-are classes or instances.")
        lowest = 0 if self._undrawn is None else colours[0]
        default = ["background" if colour == lowest else hexadecimal(colour) for colour in colours]
        found = f"{len(colours)} colours, {', '.join(map(hexadecimal, colours[:MOST_CLASSES]))}"
        classes = tuple(
            ClassInfo(name=class_info.name, colour=rgb(colour))
            for class_info, colour in zip(named_classes(default, names, found=found), colours, strict=True)
        )
        sentence = ", ".join(
            f"{hexadecimal(colour)} is {class_info.name!r}" for colour, class_info in zip(colours, classes, strict=True)
        )
        codes = {colour: code for code, colour in enumerate(colours)}
        if self._undrawn is not None:
            codes[int(pack(np.array([self._undrawn])))] = IGNORE_BY_DTYPE[label_dtype(len(classes))]
        return MaskReading("colours", classes, codes, sentence + self._of_undrawn)

    @property
    def _of_undrawn(self) -> str:
        return "" if self._undrawn is None else f", {self._undrawn} is not drawn"

    def _written(self, values: Sequence[int]) -> str:
        return written(values, coloured=self._coloured)
