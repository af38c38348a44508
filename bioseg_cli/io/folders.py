"""Which files count as images and volumes, and those of a folder in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bioseg_cli.errors import DataError

TIFF_SUFFIXES = (".tif", ".tiff", ".stk", ".lsm")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, ".mnc")


def is_volume(path: Path) -> bool:
    """Whether the name is one of a volume: .nii, .nii.gz or .mnc, in capitals or not."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def list_images(inputs: Sequence[Path], suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files `inputs` name: files as given, folders replaced by their images in natural order, not recursive.

    Args:
        inputs: files and folders.
        suffixes: what the names of images in folders end in.

    Raises:
        DataError: a path does not exist, a folder holds no image, or nothing was given.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith(".")]
            if not inside:
                known = ", ".join(suffixes)
                raise DataError("The folder holds no images", where=path, fix=f"Files that count as images: {known}.")
            found += sorted((p for p in inside if p.is_file()), key=natural_key)
        elif path.exists():
            found.append(path)
        else:
            raise DataError("No such file or folder", where=path, fix="Check the path.")
    if not found:
        raise DataError("No images were given", fix="Name image files or folders of them.")
    return found


def images_below(folder: Path, suffixes: tuple[str, ...], *, without: Path | None = None) -> list[Path]:
    """The image files of a folder and of all its subfolders, in natural order; hidden files and folders are left out.

    Args:
        folder: where to look. Links to folders are not followed.
        suffixes: what the names of images end in.
        without: a folder whose files are left out, such as that of earlier results.

    Raises:
        DataError: there is no image.
    """
    skipped = None if without is None else without.resolve()
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        inner = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".") and (inner / name).resolve() != skipped]
        found += [inner / name for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
    if not found:
        known = ", ".join(suffixes)
        raise DataError(
            "Neither the folder nor any of its subfolders holds an image",
            where=folder,
            fix=f"Files that count as images: {known}.",
        )
    return sorted(found, key=lambda path: [natural_key(Path(part)) for part in path.relative_to(folder).parts])


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts `t2` before `t10`."""
    return [
        (0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", path.name.lower()) if part
    ]
