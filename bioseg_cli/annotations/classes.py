"""From the names that people gave to shapes to the classes of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo
from bioseg_cli.dataset.schema import label_dtype
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.masks.classes import named_classes

UNCLASSIFIED = "object"
"""The class of shapes that have none."""
_BACKGROUND = ("background", "_background_")
_IGNORED = ("ignore*", "__ignore__")
"""How QuPath and LabelMe call areas that count nowhere."""


@dataclass(frozen=True)
class ShapeClasses:
    """The classes of a folder of annotations.

    Attributes:
        classes: the background first.
        codes: class code, or the ignore label, by the name of a shape's class; None stands for shapes without one.
        sentence: how many shapes are of which class, for the user.
    """

    classes: tuple[ClassInfo, ...]
    codes: Mapping[str | None, int]
    sentence: str


def shape_classes(drawn: Iterable[str | None], names: Sequence[str]) -> ShapeClasses:
    """The classes of shapes with such class names: sorted by name, or in the order of `names`, the background first.

    Raises:
        DataError: no shape is of a class beside the background.
        UsageError: `names` leaves out a class that was drawn.
    """
    count = Counter(drawn)
    special = {name: _special(name) for name in count}
    found = sorted({name or UNCLASSIFIED for name in count if special[name] is None})
    if not found:
        raise DataError(
            "No shape is drawn in any annotation beside the background",
            fix="Check that this is the folder of the annotations, and that they were saved after drawing.",
        )
    order = found
    if names and found == [UNCLASSIFIED] and len(names) == 2:
        order = [UNCLASSIFIED]
    elif names:
        if missing := [name for name in found if name not in names[1:]]:
            raise UsageError(
                f"--classes does not name {', '.join(map(repr, missing))}, which annotations hold",
                fix=f"Name the background and all classes in any order: --classes {','.join(['background', *found])}.",
            )
        order = list(names[1:])
    classes = named_classes(["background", *order], names, found="")
    ignore = IGNORE_BY_DTYPE[label_dtype(len(classes))]
    by_role = {"background": 0, "ignored": ignore}
    codes = {
        name: order.index(name or UNCLASSIFIED) + 1 if (role := special[name]) is None else by_role[role]
        for name in count
    }
    shown = {**dict(enumerate(class_info.name for class_info in classes)), ignore: "ignored"}
    of_code: Counter[int] = Counter()
    for name, shapes in count.items():
        of_code[codes[name]] += shapes
    parts = [f"{of_code[code]} {shown[code]!r}" for code in sorted(of_code)]
    return ShapeClasses(classes, codes, f"{', '.join(parts)}; where nothing is drawn is {classes[0].name!r}")


def _special(name: str | None) -> str | None:
    """Whether a class name stands for the background, or for what is ignored."""
    folded = (name or "").casefold()
    return "background" if folded in _BACKGROUND else "ignored" if folded in _IGNORED else None
