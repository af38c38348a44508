"""Writing files so that nothing is ever half-written, replaced by accident, or lost.

A file is written under a temporary name beside its final one, synced, and renamed. Whatever stood there
before stays until the rename, and an error or a kill leaves no file under the final name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from bioseg_cli.errors import DataError, OutputError, UsageError

HASH_BLOCK_BYTES = 1 << 20
PARTIAL = ".partial"
OWNER, CLAIMING = ".owner", ".claiming"
"""What the names of the hidden files end in by which processes keep out of each other's way; see `ownership`."""
FOLDER = "bioseg"
"""The name of the owner of a folder; that of a part of its files has the part behind it."""
LONGEST_NAME = 255
"""Bytes that most file systems allow a name."""
TEMPORARY = re.compile(rf"\.(?P<stem>.*)\.\d+{re.escape(PARTIAL)}(?P<suffix>.*)", re.DOTALL)
"""Names that `replacing` gives, with the stem and the suffix of the file that is written."""
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOENT)
"""What is wrong with the name of a file, or with what stands there, and not with the disk."""


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` where `path` exists (a folder: exists and is not empty) and may not be replaced."""
    if is_occupied(path) and not overwrite:
        raise UsageError("The output exists already", where=path, fix="Choose another --out, or give --overwrite.")


def is_occupied(path: Path) -> bool:
    """Whether there is a file, or a folder that holds more than its owner, or one that was killed, has left."""
    if not path.is_dir():
        return path.exists()
    return any(not (_is_of_owner(place.name) or TEMPORARY.fullmatch(place.name)) for place in path.iterdir())


def _is_of_owner(name: str) -> bool:
    return name.startswith(".") and name.endswith((OWNER, CLAIMING))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`, on any error remove it.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
        DataError: this file cannot be written; another may.
    """
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs no file that is opened to be read
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_failure(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_path(path: Path) -> Path:
    """Where this process writes what becomes `path`: a hidden name beside it."""
    # The suffix stays last because writers of images choose the format by it.
    return path.with_name(hidden_name(path.stem, f".{os.getpid()}{PARTIAL}{path.suffix}", of=path.name))


def hidden_name(stem: str, ending: str, *, of: str | None = None) -> str:
    """A name that listings of folders skip: the stem and the ending, or for a stem that is too long its hash.

    Args:
        stem: of the name.
        ending: of the name.
        of: what is hashed instead of the stem.
    """
    name = f".{stem}{ending}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        # The stem itself may be just short enough.
        name = f".{hashlib.sha256(os.fsencode(of or stem)).hexdigest()}{ending}"
    return name


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content` in UTF-8, whole or not at all; bytes of names that are not UTF-8 become escapes."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_failure(error: OSError, path: Path) -> DataError:
    """Say what an `OSError` met while writing `path` means and what to do; an `OutputError` where no file can be."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return OutputError(
            "The disk is full: the file was not written", where=path, fix="Free some space and run again."
        )
    if isinstance(error, PermissionError):
        return OutputError("The folder cannot be written", where=path.parent, fix="Choose another folder.")
    reason = error.strerror or str(error)
    what = f"The file could not be written ({reason})"
    if error.errno is None or error.errno in _OF_ONE_FILE:
        return DataError(what, where=path, fix="Check the name, and what stands there.")
    return OutputError(what, where=path, fix="Check the disk and run again.")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
