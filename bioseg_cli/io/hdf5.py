"""Opening HDF5 files for reading, and what it means when that fails.

HDF5 locks the files it opens. Many network file systems have no locks; a file is then read without: bioseg writes its
own files under another name and renames them when they are whole, so a lock protects nothing. A lock that another
program holds is another matter: that program is writing the file.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import h5py

from bioseg_cli.errors import DataError

LOCKING = "HDF5_USE_FILE_LOCKING"
"""Environment variable of the HDF5 library; it has the last word, over what a program asks for."""
_HELD = (errno.EAGAIN, errno.EACCES)


def open_hdf5(path: Path, *, called: str, again: str, **options: Any) -> h5py.File:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        called: what the file is to the user, with its article: "The data set".
        again: what to do where it is damaged.
        options: of `h5py.File`.

    Raises:
        DataError: it cannot be read, another program is writing it, it is truncated, damaged or not HDF5.
    """
    try:
        try:
            return h5py.File(path, "r", **options)
        except OSError as error:
            if not _no_locks(error):
                raise
            return h5py.File(path, "r", locking=False, **options)
    except OSError as error:
        raise _refusal(error, path, called, again) from None


def _is_about_locks(error: OSError) -> bool:
    return "lock file" in str(error) or "locking" in str(error)


def _no_locks(error: OSError) -> bool:
    """Whether the file system could not lock the file; or it is open in this process already, without a lock."""
    return _is_about_locks(error) and error.errno not in _HELD


def _refusal(error: OSError, path: Path, called: str, again: str) -> DataError:
    what = f"{called} cannot be opened"
    reason = " ".join(str(error).split())
    if _no_locks(error):
        return DataError(
            f"{what}: its file system has no file locks, and {LOCKING}={os.environ.get(LOCKING)} asks for them",
            where=path,
            fix=f"Unset {LOCKING}, or set it to FALSE.",
        )
    if _is_about_locks(error):
        return DataError(
            f"{what}: another program is writing it",
            where=path,
            fix=f"Wait until that is done. If none is, the locks of the file system do not work: set {LOCKING}=FALSE.",
        )
    if isinstance(error, PermissionError):
        return DataError(f"{what}: you may not read it", where=path, fix="Check its permissions.")
    if error.errno is not None:
        return DataError(f"{what} ({os.strerror(error.errno)})", where=path, fix="Check the disk and run again.")
    if "truncated" in reason:
        return DataError(f"{what}: truncated", where=path, fix=again)
    return DataError(f"{what}: not an HDF5 file, or damaged", where=path, fix=again)
