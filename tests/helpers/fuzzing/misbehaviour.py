"""A reader that does what a file says: to see that the process around it notices."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from bioseg_cli.errors import DataError


def misbehave(_: str, path: Path) -> None:
    """Do what a file says."""
    what = path.read_text()
    if what == "hang":
        time.sleep(60)
    elif what == "die":
        ctypes.string_at(0)
    elif what == "fill":
        bytearray(2**31)
    elif what == "slip":
        raise ZeroDivisionError
    elif what == "refuse":
        raise DataError("The file is refused", where=path)
