"""Labels that LabKit (Fiji) saved as TIFF: numbers, whose names are in a file `NAME.tif.labels` beside each.

A number stands for a set of labels: 0 for none, each other for one, or for several that lie over each other. Each file
is numbered by itself, so masks are brought to one numbering by the names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import write_text
from bioseg_cli.io.folders import natural_key
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.masks.undrawn import ASKED
from bioseg_cli.printable import listing

SUFFIX = ".labels"
BACKGROUND = "background"
"""A label of this name, LabKit's own default, says that 0 is something else than the background."""
OVERLAP = -1
"""Stands for several labels at one pixel."""


@dataclass(frozen=True)
class LabkitLabels:
    """The labels of a folder of masks.

    Attributes:
        names: of all labels, the background first where there is one. Label number i is the value i + 1.
        tables: by file, the value for each number in it.
    """

    names: tuple[str, ...]
    tables: Mapping[Path, NDArray[np.int64]]

    def values(self, path: Path, mask: Pixels) -> Pixels:
        """The mask (H, W) of a file in the numbering of all; masks of other files as they are.

        Raises:
            DataError: a number without a label, or labels over each other.
        """
        table = self.tables.get(path)
        if table is None:
            return mask
        # A negative number would count from the end of the table.
        if mask.ndim != 2 or int(mask.min(initial=0)) < 0 or int(mask.max(initial=0)) >= len(table):
            raise DataError(
                f"The mask holds numbers that its labels, in {path.name}{SUFFIX}, do not name",
                where=path,
                fix="Save the labeling again in LabKit, as TIFF.",
            )
        values = table[mask]
        if (values == OVERLAP).any():
            raise DataError(
                "Labels lie over each other in the mask, and a pixel is of one class",
                where=path,
                fix="Erase one of them in LabKit, with overlapping labels turned off.",
            )
        return values.astype(np.uint16)

    @property
    def names_background(self) -> bool:
        """Whether a label is called background, so that 0 is what nobody drew."""
        return self.names[0].casefold() == BACKGROUND

    def refuse_background(self) -> None:
        """Raise `DataError` where a label is called background, though the user says that 0 is the background."""
        if self.names_background:
            raise DataError(
                "A label of LabKit is called background, so that 0 is not drawn, and --unlabelled-value says that all "
                "was drawn",
                where=min(self.tables),
                fix="Leave out --unlabelled-value, or give the label another name in LabKit.",
            )

    def refuse_unclear(self) -> None:
        """Raise `DataError` where no label is called background: 0 may be it, or what nobody drew."""
        if not self.names_background:
            raise DataError(
                f"No label of LabKit is called background ({listing(self.names)}): 0 may be it, or what nobody drew",
                where=min(self.tables),
                fix=ASKED,
            )


def labkit_labels(paths: Sequence[Path]) -> LabkitLabels | None:
    """The labels of masks that LabKit saved; None where no mask has a file of labels beside it.

    Raises:
        DataError: some masks have one and others not, or it is damaged, or names no label.
    """
    beside = {path: path.with_name(path.name + SUFFIX) for path in paths}
    # Of a name as long as names may be there is no longer one: Path.is_file raises, os.path says that there is none.
    without = [path.name for path, file in beside.items() if not os.path.isfile(file)]  # noqa: PTH113
    if len(without) == len(beside):
        return None
    if without:
        raise DataError(
            f"{len(without)} of {len(beside)} masks have no labels of LabKit beside them: {listing(without)}",
            where=paths[0].parent,
            fix=f"Put their {SUFFIX} files beside them, or move the masks of other programs to a folder of their own.",
        )
    sets = {path: _read(file) for path, file in beside.items()}
    found = {name for members in sets.values() for names in members for name in names}
    if not found:
        raise DataError("The labels of LabKit are empty", where=paths[0].parent, fix="Draw something, and save again.")
    names = tuple(sorted(found, key=lambda name: (name.casefold() != BACKGROUND, natural_key(Path(name)), name)))
    return LabkitLabels(names, {path: _table(labels, names) for path, labels in sets.items()})


def write_labkit_labels(mask: Path, names: Sequence[str]) -> None:
    """Write beside a mask what its values 1, 2, ... are called, as LabKit does; 0 is what nobody drew.

    Raises:
        DataError: the file cannot be written.
    """
    sets = [[], *([name] for name in names)]
    write_text(mask.with_name(mask.name + SUFFIX), json.dumps({"labelSets": sets}) + "\n")


def _read(file: Path) -> list[list[str]]:
    try:
        sets = parse_json(file.read_text(encoding="utf-8"))["labelSets"]
        if not (isinstance(sets, list) and all(isinstance(names, list) for names in sets)):
            raise ValueError("labelSets is no list of lists")
        if not sets or sets[0] or not all(isinstance(name, str) for names in sets for name in names):
            raise ValueError("0 has a label")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The labels of LabKit cannot be read ({error})", where=file, fix="Save the labeling again in LabKit."
        ) from None
    return [list(names) for names in sets]


def _table(sets: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.int64]:
    single = [0 if not members else names.index(members[0]) + 1 if len(members) == 1 else OVERLAP for members in sets]
    return np.array(single, dtype=np.int64)
