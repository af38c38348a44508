"""Temporary files of processes that were killed, removed by the process that owns the place now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bioseg_cli.io.files import FOLDER, OWNER, TEMPORARY, hidden_name


def discard_partial(folder: Path) -> None:
    """Remove what writers that were killed left anywhere below `folder`, which this process owns.

    Folders below it that have an owner or a temporary name, and files that have an owner, are another's matter.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not (TEMPORARY.fullmatch(name) or any(Path(place, name).glob(f".{FOLDER}*{OWNER}")))
        ]
        owned = _owned_stems(names)
        for name in names:
            if (left := TEMPORARY.fullmatch(name)) and left["stem"] not in owned:
                Path(place, name).unlink(missing_ok=True)


def discard_partial_of(path: Path) -> None:
    """Remove what writers of `path`, which this process owns, left beside it when they were killed.

    The same of what differs in its suffix, and is written with it, unless another process owns that.
    """
    names = [place.name for place in path.parent.iterdir()]
    others = _owned_stems(name for name in names if name != hidden_name(path.name, OWNER))
    for name in names:
        if left := TEMPORARY.fullmatch(name):
            whole = left["stem"] + left["suffix"]
            beside = left["stem"] == path.stem and path.stem not in others
            if beside or whole == path.name or left["stem"] == hidden_name(path.name, ""):
                _remove(path.with_name(name))


def _owned_stems(names: Iterable[str]) -> set[str]:
    """Stems of the files that have an owner."""
    return {Path(name[1 : -len(OWNER)]).stem for name in names if name.endswith(OWNER)}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
