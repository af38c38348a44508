"""Names of files: without what says the format, and when two are one.

Names are compared as they look: an umlaut may be stored as one character or as a letter and a mark (macOS does that).
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

_SECOND_SUFFIX = re.compile(r"\.(ome|nii)$", re.IGNORECASE)


def stem_of(path: Path) -> str:
    """The name of a file without its suffix; of `a.ome.tif` and `a.nii.gz` without both."""
    return without_second_suffix(path.stem)


def stem_within(path: Path, folder: Path) -> Path:
    """The path of a file within a folder, without its suffix."""
    return path.relative_to(folder).with_name(stem_of(path))


def without_second_suffix(stem: str) -> str:
    """A name from which the suffix was taken, without the one that may stand before it: `a.ome`, `a.nii`."""
    return _SECOND_SUFFIX.sub("", stem)


def as_seen(name: str) -> str:
    """The one form of names that look the same."""
    # In a locale without the characters, Python reads the bytes of a name one by one.
    whole = name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", whole)


def on_any_disk(name: str) -> str:
    """The one form of names that are one file where a file system tells neither case nor composed characters apart."""
    return as_seen(as_seen(name).casefold())
