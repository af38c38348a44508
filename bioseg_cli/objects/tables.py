"""Tables of objects as CSV, of one image and of many, and as Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bioseg_cli.errors import DataError, UsageError
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

    Raises:
        DataError: a table is damaged.
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


def _columns(path: Path) -> Sequence[str]:
    with _damage_refused(path), path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with _damage_refused(path), path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            if None in row:
                raise ValueError(f"line {rows.line_num} has more cells than there are columns")
            yield row


@contextmanager
def _damage_refused(path: Path) -> Iterator[None]:
    fix = "Remove it together with its mask, and predict the image again."
    try:
        yield
    except FileNotFoundError:
        raise DataError("The table of objects is gone", where=path, fix=fix) from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"The table of objects is damaged ({error})", where=path, fix=fix) from None
