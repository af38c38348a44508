"""What the values of a class volume become: the kept or merged classes, or brain against background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo
from bioseg_cli.dataset.schema import Pixels, label_dtype
from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.masks.reading import map_values
from bioseg_cli.prepare.recipes.bigbrain_settings import LARGEST_VALUE, BigBrainConfig
from bioseg_cli.prepare.slicing.sweep import Survey
from bioseg_cli.printable import listing

BIGBRAIN_NAMES = ("background", "cortical grey matter", "white matter", "layer 1")
"""Of the values that are kept by default; those of the volume are 1 outside and cerebrospinal fluid, 2 cortical grey
matter, 3 white matter, 4 cerebellum, 5 layer 1 of the cortex, 6 sub-cortical grey matter, 7 pineal gland, 8 and 9 grey
and white matter of cerebellum and brainstem."""


@dataclass(frozen=True)
class LabelMapping:
    """How label values become classes.

    Attributes:
        classes: names and colours by code, the background first.
        codes: (65536,) code by value.
        outside: code of what lies outside image and labels: background, or ignore where the labels show a kept class
            up to their faces.
        sentence: the reading in one line, for the user.
    """

    classes: tuple[ClassInfo, ...]
    codes: Pixels
    outside: int
    sentence: str


def label_mapping(config: BigBrainConfig, survey: Survey, path: Path) -> LabelMapping:
    """Decide what the values of a class volume mean.

    Raises:
        DataError: the volume has none of the asked values, or one value only.
    """
    present = sorted(survey.counts)
    outside = int(survey.outside)
    if config.binary:
        groups: tuple[tuple[int, ...], ...] = (tuple(value for value in present if value not in (0, outside)),)
    else:
        groups = config.values_by_class
    asked = [value for group in groups for value in group]
    found = listing([str(value) for value in present], most=12)
    if not set(asked) & set(present):
        wanted = "anything but the outside" if config.binary else f"any of {', '.join(map(str, asked))}"
        raise DataError(
            f"The class volume does not hold {wanted}: its values are {found}",
            where=path,
            fix="Name the values to keep with --classes or --merge.",
        )
    absent = sorted(set(asked) - set(present))
    if absent and not config.chose_classes:
        raise DataError(
            f"These are not the classes of BigBrain: {', '.join(map(str, absent))} "
            f"{'are' if len(absent) > 1 else 'is'} missing, the values are {found}",
            where=path,
            fix="Say what to keep with --classes, --merge or --binary.",
        )
    codes = {value: code for code, group in enumerate(groups, start=1) for value in group}
    table = map_values(np.arange(LARGEST_VALUE + 1), codes, other=0).astype(label_dtype(len(groups) + 1))
    classes = _classes(config, groups)
    parts = [
        f"{'+'.join(map(str, group))} is {class_info.name!r}"
        for group, class_info in zip(groups, classes[1:], strict=True)
    ]
    sentence = f"{', '.join(parts)}, all else {classes[0].name!r}; the volume holds {found}"
    if absent:
        sentence += f" ({', '.join(map(str, absent))} is not among them)"
    ignore = IGNORE_BY_DTYPE[str(table.dtype)]
    return LabelMapping(classes, table, ignore if table[outside] else 0, sentence)


def _classes(config: BigBrainConfig, groups: tuple[tuple[int, ...], ...]) -> tuple[ClassInfo, ...]:
    if config.names:
        names: tuple[str, ...] = config.names
    elif config.binary:
        names = ("background", "brain")
    elif not config.chose_classes:
        names = BIGBRAIN_NAMES
    else:
        of_value = ("class " + "+".join(map(str, group)) for group in groups)
        names = ("background", *of_value)
    colours = [_rgb(colour) for colour in config.colours] or [
        BACKGROUND.colour,
        *(PALETTE[code % len(PALETTE)] for code in range(len(groups))),
    ]
    return tuple(ClassInfo(name=name, colour=colour) for name, colour in zip(names, colours, strict=True))


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
