"""Names of the images that a training learns from, as its settings hold them or as a file lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from bioseg_cli.io.json_text import parse_json

SUFFIXES = (".json", ".txt")
"""Of files of names; anything else is a name itself."""


def _read(given: object) -> object:
    entries = [given] if isinstance(given, str) else given
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, str) for entry in entries):
        return given
    names: list[str] = []
    for entry in entries:
        names += _listed(Path(entry)) if entry.lower().endswith(SUFFIXES) else [entry]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"--label-images names {twice!r} twice")
    return tuple(names)


def _listed(path: Path) -> list[str]:
    """The names in a file."""
    try:
        # Names that are not UTF-8 keep their bytes, as Python reads the names of files.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        names = _in_json(parse_json(text)) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not the JSON of `bioseg suggest`"
        raise ValueError(f"--label-images: {path} could not be read ({reason})") from None
    if not (names := [name for name in names if name.strip()]):
        raise ValueError(f"--label-images: {path} names no image")
    return names


def _in_json(content: Any) -> list[str]:
    """The names in a list of them, or in what `bioseg suggest --json` prints."""
    try:
        names = [suggestion["image"] for suggestion in content["suggested"]] if isinstance(content, dict) else content
    except (KeyError, TypeError) as error:
        raise ValueError from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError
    return names


ImageNames = Annotated[tuple[str, ...], BeforeValidator(_read)]
"""Names of images, among them files (.json, .txt) that are replaced by the names in them."""
