"""What the values of mask files mean: recognised over all masks of a folder together, never mask by mask.

One mask alone misleads: the first of a folder of instance masks may hold a single cell, and look binary. Where the
values fit two readings the user is asked, since a wrong guess would train without complaint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.prepare.recipe import BACKGROUND, label_dtype
from bioseg_cli.prepare.settings import MaskKind

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
MOST_CLASSES = 32
"""More values than this are not taken for classes unless the user says so."""
CHANNEL_SHIFTS = (32, 16, 0)
"""Bits that red, green and blue are moved by to stand side by side in one integer."""
LARGEST_CLASS_BESIDE_IGNORE = 63
"""255 and 65535 mean "ignore" beside classes numbered up to this; beside greys such as 128 they are a class."""


@dataclass(frozen=True)
class MaskReading:
    """How mask values become class codes.

    Attributes:
        kind: binary, instances, classes or colours.
        classes: name and colour by code.
        codes: code by mask value; None: everything but 0 is the second class.
        sentence: the reading in one line, for the user.
    """

    kind: MaskKind
    classes: tuple[ClassInfo, ...]
    codes: Mapping[int, int] | None
    sentence: str

    def labels(self, mask: Pixels) -> Pixels:
        """Class codes (H, W) of a mask (H, W) or (H, W, 3)."""
        if self.codes is None:
            drawn = mask != 0
            codes: Pixels = (drawn.any(axis=-1) if mask.ndim == 3 else drawn).astype(np.uint8)
            return codes
        values = _pack(mask if mask.ndim == 3 else mask[..., None]) if self.kind == "colours" else mask
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
    """Looks at every mask once (`add`), then says what they mean (`reading`)."""

    def __init__(self) -> None:
        self._greys: set[int] = set()
        self._colours: set[int] = set()
        self._bytes = 1
        self._pairs = 0
        self._single_regions = 0

    def add(self, mask: Pixels, *, where: Path | None = None, regions: bool = True) -> None:
        """See one mask (H, W) or (H, W, 3), read from the file `where`.

        Without `regions` the values alone: enough where the user says what they mean, or beside 0 there is only one.

        Raises:
            DataError: negative values.
        """
        if mask.min(initial=0) < 0:
            raise DataError(
                f"The mask holds negative values, down to {mask.min()}", where=where, fix="Labels count from 0."
            )
        self._bytes = max(self._bytes, mask.dtype.itemsize)
        packed = mask if mask.ndim == 2 else _pack(mask)
        values = np.unique(packed)
        (self._greys if mask.ndim == 2 else self._colours).update(values.tolist())
        if not regions:
            return
        from skimage.measure import label  # slow to import, and not always needed

        # Regions of equal value: an instance is one region, a class is usually many. 0 is no region.
        numbered, count = label(packed, background=0, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
        if count:
            value_of = np.zeros(count + 1, dtype=packed.dtype)
            value_of[numbered.reshape(-1)] = packed.reshape(-1)
            regions_by_value = np.unique(value_of[1:], return_counts=True)[1]
            self._pairs += len(regions_by_value)
            self._single_regions += int((regions_by_value == 1).sum())

    @property
    def _values(self) -> list[int]:
        """All mask values, ascending; packed colours where any mask has colours."""
        if self._colours:
            greys = np.array(sorted(self._greys), dtype=np.int64)
            return sorted(self._colours | set(_pack(greys[:, None]).tolist()))
        return sorted(self._greys)

    def reading(self, kind: MaskKind | None, names: Sequence[str]) -> MaskReading:
        """Decide what the masks mean.

        Args:
            kind: what the user says they are; None = recognise it.
            names: of the classes, background first; none = made up.

        Raises:
            DataError: all masks are empty, or the values fit no reading or two.
            UsageError: the number of names does not fit.
        """
        if self._values in ([], [0]):
            raise DataError(
                "All masks are empty: they hold 0 and nothing else", fix="Check that this is the folder of masks."
            )
        guessed = kind is None
        kind = kind or self._recognise()
        if kind in ("binary", "instances"):
            reading = self._foreground(kind, names)
        elif kind == "colours":
            reading = self._by_colour(names)
        else:
            reading = self._by_value(names)
        if guessed:
            others = "|".join(one for one in ("binary", "instances", "classes", "colours") if one != kind)
            sentence = f"{reading.sentence} (recognised as {kind}; --masks-are {others} reads them otherwise)"
            reading = MaskReading(reading.kind, reading.classes, reading.codes, sentence)
        return reading

    def _recognise(self) -> MaskKind:
        values = self._values
        objects = len(values) - (values[0] == 0)
        by_class: MaskKind = "colours" if self._colours else "classes"
        if objects == 1:
            return "binary"
        if values[0] != 0 and objects <= MOST_CLASSES:
            return by_class
        single = self._single_regions / self._pairs
        if (objects > FEW_VALUES and single >= 0.9) or (objects > MOST_CLASSES and single >= 0.5):
            return "instances"
        if objects > MOST_CLASSES:
            raise DataError(
                f"The masks hold {objects} values scattered like a picture's, not like labels",
                fix="Export masks without smoothing or JPEG compression, or give --masks-are binary to take all but 0.",
            )
        if single < 0.5:
            return by_class
        raise DataError(
            f"The masks hold {self._listing(values)}: numbered objects, or classes",
            fix=f"Say which: --masks-are instances or --masks-are {by_class}.",
        )

    def _foreground(self, kind: MaskKind, names: Sequence[str]) -> MaskReading:
        classes = _named(["background", "foreground"], names, found="two classes, 0 and all else")
        objects = "every numbered object" if kind == "instances" else self._listing([v for v in self._values if v])
        return MaskReading(kind, classes, None, f"{objects} is {classes[1].name!r}, 0 is {classes[0].name!r}")

    def _by_value(self, names: Sequence[str]) -> MaskReading:
        if self._colours:
            raise DataError("The masks are coloured", fix="Give --masks-are colours.")
        values = self._values
        largest = 255 if self._bytes == 1 else 65535
        ignored = values[-1] in (255, largest) and len(values) > 2 and values[-2] <= LARGEST_CLASS_BESIDE_IGNORE
        ignore_value = values.pop() if ignored else None
        if names and values[-1] < len(names):
            values = list(range(len(names)))
        default = ["background" if value == 0 else f"class {value}" for value in values]
        classes = _named(default, names, found=self._listing(values))
        codes = {value: code for code, value in enumerate(values)}
        sentence = ", ".join(f"{value} is {classes[code].name!r}" for value, code in codes.items())
        if ignore_value is not None:
            codes[ignore_value] = IGNORE_BY_DTYPE[label_dtype(len(classes))]
            sentence += f", {ignore_value} is ignored"
        return MaskReading("classes", classes, codes, sentence)

    def _by_colour(self, names: Sequence[str]) -> MaskReading:
        colours = self._values
        if not self._colours:
            raise DataError("The masks have no colours, only greys", fix="Give --masks-are classes or instances.")
        default = ["background" if colour == 0 else _hexadecimal(colour) for colour in colours]
        found = f"{len(colours)} colours, {', '.join(map(_hexadecimal, colours[:MOST_CLASSES]))}"
        classes = tuple(
            ClassInfo(name=one.name, colour=_rgb(colour))
            for one, colour in zip(_named(default, names, found=found), colours, strict=True)
        )
        sentence = ", ".join(
            f"{_hexadecimal(colour)} is {one.name!r}" for colour, one in zip(colours, classes, strict=True)
        )
        return MaskReading("colours", classes, {colour: code for code, colour in enumerate(colours)}, sentence)

    def _listing(self, values: Sequence[int]) -> str:
        shown = [_hexadecimal(value) if self._colours else str(value) for value in values]
        text = ", ".join(shown[:FEW_VALUES])
        if len(shown) > FEW_VALUES:
            text += f" ... {shown[-1]} ({len(shown)} values)"
        return ("value " if len(shown) == 1 else "values ") + text


def _pack(colours: Pixels) -> npt.NDArray[np.int64]:
    """Colours (..., 3), or greys (..., 1), as one integer each: red, green and blue side by side."""
    packed: npt.NDArray[np.int64] = (colours.astype(np.int64) << np.array(CHANNEL_SHIFTS)).sum(axis=-1)
    return packed


def _rgb(packed: int) -> tuple[int, int, int]:
    channels = [packed >> shift & 0xFFFF for shift in CHANNEL_SHIFTS]
    if max(channels) > 255:
        channels = [value >> 8 for value in channels]
    return channels[0], channels[1], channels[2]


def _hexadecimal(packed: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_rgb(packed))


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
