"""Whether a file may be as large as its header says: asked before memory is taken, so that a small file takes little.

What is decoded at once may take `LARGEST` of memory, or a few times what the file takes on the disk. What is read piece
by piece may be of any size that the file can hold: the decompressors in use make at most about a thousand bytes of one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from bioseg_cli.errors import DataError, UsageError

LARGEST = "BIOSEG_LARGEST_GIB"
"""Environment variable with the most memory, in GiB, that one piece of a file may take."""
DEFAULT_GIB = 1.0
GIB = 2**30
MOST_IN_MEMORY = 4
"""Bytes that a byte of a file may become in memory, where these are more than `LARGEST`."""
MOST_DECLARED = 1000
"""Bytes that a byte of a compressed file may become, piece by piece."""


def largest_bytes() -> int:
    """The most memory that one piece of a file may take; raises `UsageError` where `LARGEST` is no number."""
    given = os.environ.get(LARGEST, "")
    try:
        limit = float(given or DEFAULT_GIB)
        if not 0 < limit < math.inf:
            raise ValueError
    except ValueError:
        raise UsageError(f"{LARGEST} is {given!r}, and no number of GiB", fix=f"Unset {LARGEST}, or set 8.") from None
    return int(limit * GIB)


def check_memory(path: Path, what: str, size: int) -> None:
    """Raise `DataError` where a piece of a file would take more memory than is allowed.

    Args:
        path: the file.
        what: the piece with its article, such as "The image of 9 x 9 pixels".
        size: that it would have in memory, in bytes.
    """
    if size > (limit := largest_bytes()) and size > MOST_IN_MEMORY * path.stat().st_size:
        raise DataError(
            f"{what} takes {_gib(size)} GiB of memory, and the limit is {_gib(limit)}",
            where=path,
            fix=f"Where the file is what it should be, set {LARGEST}={math.ceil(size / GIB)} and repeat. A damaged or "
            "hostile file declares such sizes too.",
        )


def check_declared(path: Path, what: str, size: int, stored: int) -> None:
    """Raise `DataError` where a file that is read piece by piece declares more than it can hold.

    Args:
        path: the file.
        what: its content with its article, such as "The volume of 9 x 9 x 9 voxels".
        size: of the content, decompressed, in bytes.
        stored: size of the file, in bytes.
    """
    if size > max(largest_bytes(), MOST_DECLARED * stored):
        raise DataError(
            f"{what} has {_gib(size)} GiB, and its file {_gib(stored)}: so much cannot be in it",
            where=path,
            fix=f"Copy or export it again. Where nearly all of it is empty, set {LARGEST}={math.ceil(size / GIB)}.",
        )


def _gib(size: int) -> str:
    return f"{size / GIB:.2g}" if size < 10 * GIB else f"{size / GIB:,.0f}"
