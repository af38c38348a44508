"""Tables as CSV in which a spreadsheet finds no formula: names of files and classes may begin like one."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_HIDDEN = re.compile(r"'+[=+\-@\t\r]")


def write_csv(stream: IO[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a header and rows; a row has nothing in the columns that it lacks.

    Args:
        stream: opened with `newline=""`, or in memory.
        columns: their names, in order.
        rows: cells by column; numbers stay as they are, and texts are `defused`.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([defused(name) for name in columns])
    for row in rows:
        writer.writerow([defused(row.get(name, "")) for name in columns])


def defused(cell: Any) -> Any:
    """The cell as it may stand in a table: before a text that a spreadsheet would compute there is an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell) else cell


def restored(cell: str) -> str:
    """The text that `defused` made the cell of."""
    return cell[1:] if _HIDDEN.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
