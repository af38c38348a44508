"""Tables of objects as CSV, of one image and of many, and as Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from bioseg_cli.errors import UsageError
from bioseg_cli.io.csv_cells import restored, write_csv
from bioseg_cli.io.files import replacing
from bioseg_cli.objects.measurements import Row

NAMES = ("image", "class")
"""Columns that are text, whatever they look like."""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of the same columns as CSV; without any the file is empty."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        if rows:
            write_csv(file, list(rows[0]), rows)


def join_tables(paths: Sequence[Path], joined: Path) -> None:
    """Write the rows of several tables as one, each cell as it is.

    A row has nothing in the columns that its own table lacks.
    """
    columns = list(dict.fromkeys(name for path in paths for name in _columns(path)))
    with replacing(joined) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if columns:
            writer.writeheader()
        for path in paths:
            writer.writerows(_rows(path))


def write_parquet(table: Path, path: Path) -> None:
    """Write a table of `join_tables` as Parquet, where `check_parquet` found what that needs."""
    import pandas as pd

    if table.stat().st_size == 0:
        frame = pd.DataFrame({name: [] for name in NAMES}, dtype=str)
    else:
        types = dict.fromkeys(NAMES, str)
        frame = pd.read_csv(table, dtype=types, keep_default_na=False, na_values=[""])
        for name in NAMES:
            frame[name] = frame[name].map(restored, na_action="ignore")
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def check_parquet() -> None:
    """Raise `UsageError` where pandas or pyarrow, which write Parquet, are not installed."""
    try:
        import pandas  # noqa: F401 - whether it is there is the question
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError.not_installed("Parquet needs", error, "tables") from None


def _columns(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _rows(path: Path) -> Iterable[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
