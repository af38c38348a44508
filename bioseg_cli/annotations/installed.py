"""Readers of annotation files that installed packages add.

A package adds a reader by the entry points `bioseg.annotations`, as `CONTRIBUTING.md` says. The name of the entry point
is the suffix of the files, without its dot. The reader is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from bioseg_cli.annotations.shape import Annotation
from bioseg_cli.errors import BiosegError, DataError, UsageError

GROUP = "bioseg.annotations"

Reader = Callable[[Path], Sequence[Annotation]]
"""From a file to what was drawn: one annotation, of the image that is named like the file, or one for each `image`."""


def installed_suffixes() -> tuple[str, ...]:
    """The suffixes of the files that installed packages read, such as `.boxes`; nothing is imported."""
    return tuple(sorted(f".{name.lower()}" for name in entry_points(group=GROUP).names))


def read_installed(path: Path) -> tuple[str, tuple[Annotation, ...]] | None:
    """The name of the format and the annotations of a file; None where no installed package reads its suffix.

    Raises:
        UsageError: the reader cannot be imported, or returns something else.
        DataError: the reader cannot read the file.
    """
    fitting = [point for point in entry_points(group=GROUP) if path.name.lower().endswith(f".{point.name.lower()}")]
    if not fitting:
        return None
    point = max(fitting, key=lambda point: len(point.name))
    read = _loaded(point)
    try:
        found = tuple(read(path))
    except BiosegError:
        raise
    except Exception as error:
        raise DataError(
            f"The reader of .{point.name} files cannot read it ({type(error).__name__}: {error})",
            where=path,
            fix=f"Check the file. If the file is right, mend {point.value}.",
        ) from error
    images = [annotation.image for annotation in found if isinstance(annotation, Annotation)]
    if len(images) < len(found) or (len(found) > 1 and (None in images or len(set(images)) < len(images))):
        raise _no_reader(point, "returns something else than one annotation per image")
    return point.name, found


def _loaded(point: EntryPoint) -> Reader:
    try:
        found: Reader = point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"The reader of .{point.name} files cannot be loaded ({error})",
            where=point.value,
            fix="Install the package that adds it again, or remove it.",
        ) from error
    if not callable(found):
        raise _no_reader(point, "is no function")
    return found


def _no_reader(point: EntryPoint, what: str) -> UsageError:
    return UsageError(
        f"The reader of .{point.name} files {what}",
        where=point.value,
        fix="Mend the package that adds it; CONTRIBUTING.md has the steps.",
    )
