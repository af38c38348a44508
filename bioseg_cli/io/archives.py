"""Zip archives from elsewhere: whatever is wrong with one is an error that names it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bioseg_cli.errors import BiosegError, DataError, OutputError
from bioseg_cli.io.files import write_failure
from bioseg_cli.io.limits import check_declared


@contextmanager
def opened_zip(path: Path, fix: str) -> Iterator[zipfile.ZipFile]:
    """An archive that is open within the context; `fix` is what to do about a damaged one.

    Raises:
        DataError: it is damaged, encrypted, compressed in a way that is not read, or declares more than it can hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # No entry yields more bytes than it declares.
            total = sum(entry.file_size for entry in archive.infolist())
            check_declared(path, "The content of the archive", total, path.stat().st_size)
            yield archive
    except (BiosegError, MemoryError):
        raise
    except Exception as error:  # the library raises whatever damaged entries make it meet
        if isinstance(error, OSError) and isinstance(write_failure(error, path), OutputError):
            raise  # the disk, and not the archive
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise DataError(f"The archive cannot be read ({reason})", where=path, fix=fix) from error
