"""Opening HDF5 files for reading, and what it means when that fails.

HDF5 locks the files it opens. Many network file systems have no locks; a file is then read without: bioseg writes its
own files under another name and renames them when they are whole, so a lock protects nothing. A lock that another
program holds is another matter: that program is writing the file.

What a file holds is in the file. Links to other places and arrays whose values lie in other files are refused: they
would have any file of this machine read, and a link may lead round in a circle.
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
MOST_OBJECTS = 10_000
"""Groups and arrays of a file; data sets and volumes have a few dozen."""
DAMAGE = (OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError)
"""What h5py meets in a damaged file, whatever is read of it."""
_HELD = (errno.EAGAIN, errno.EACCES)


def open_hdf5(path: Path, *, called: str, again: str, **options: Any) -> h5py.File:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        called: what the file is to the user, with its article: "The data set".
        again: what to do where it is damaged.
        options: of `h5py.File`.

    Raises:
        DataError: it cannot be read, another program is writing it, it is truncated, damaged or not HDF5, or what it
            holds lies elsewhere.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{called} is no ordinary file", where=path, fix="Give a file on a disk.")
    try:
        file = _opened(path, options)
    except OSError as error:
        raise _refusal(error, path, called, again) from None
    try:
        problem = _elsewhere(file)
    except DAMAGE as error:
        problem = f"is damaged ({' '.join(str(error).split())})"
    if problem is not None:
        file.close()
        raise DataError(f"{called} {problem}", where=path, fix=again)
    return file


def _opened(path: Path, options: dict[str, Any]) -> h5py.File:
    try:
        return h5py.File(path, "r", **options)
    except OSError as error:
        if not _no_locks(error):
            raise
        return h5py.File(path, "r", locking=False, **options)


def _elsewhere(file: h5py.File) -> str | None:
    """What of a file is not in the file, in words that follow its name; None where all is."""
    groups, count = [file["/"]], 0
    known = {_address(file["/"])}
    while groups:
        group = groups.pop()
        for name in group:
            if (count := count + 1) > MOST_OBJECTS:
                return f"holds more than {MOST_OBJECTS} groups and arrays"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                return f"holds {name!r}, a link to another place"
            found = group[name]
            if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
                return f"has the values of {name!r} in other files"
            # A group may be a member of itself.
            if isinstance(found, h5py.Group) and (address := _address(found)) not in known:
                known.add(address)
                groups.append(found)
    return None


def _address(group: h5py.Group) -> int:
    return int(h5py.h5o.get_info(group.id).addr)


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
