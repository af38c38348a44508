"""Which files count as images and volumes, and those of a folder in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bioseg_cli.errors import DataError
from bioseg_cli.io.names import stem_of
from bioseg_cli.printable import listing

TIFF_SUFFIXES = (".tif", ".tiff", ".stk", ".lsm")
MICROSCOPE_SUFFIXES = (".nd2", ".czi", ".lif")
ZARR_SUFFIX = ".zarr"
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp", *MICROSCOPE_SUFFIXES, ZARR_SUFFIX)
BUNDLE_SUFFIXES = (ZARR_SUFFIX, ".n5")
"""Folders that are one image, or one plate of images."""
_ZARR_METADATA = ("zarr.json", ".zgroup", ".zattrs")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, ".mnc")


def is_volume(path: Path) -> bool:
    """Whether the name is one of a volume: .nii, .nii.gz or .mnc, in capitals or not."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def is_of_microscope(path: Path) -> bool:
    """Whether the name is one of a microscope's own format: .nd2, .czi or .lif, in capitals or not."""
    return path.name.lower().endswith(MICROSCOPE_SUFFIXES)


def is_zarr(path: Path) -> bool:
    """Whether a path is a Zarr folder, by its name or by the metadata in it: a group in such a folder has no suffix."""
    return path.is_dir() and (
        path.name.lower().endswith(ZARR_SUFFIX) or any((path / name).is_file() for name in _ZARR_METADATA)
    )


def zarr_root(path: Path) -> Path:
    """The outermost folder called .zarr that a path lies in, or the path itself."""
    return next((place for place in (*reversed(path.parents), path) if place.name.lower().endswith(ZARR_SUFFIX)), path)


def list_images(inputs: Sequence[Path], suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files `inputs` name: files and Zarr folders as given, other folders replaced by their images
    in natural order, not recursive.

    Args:
        inputs: files and folders.
        suffixes: what the names of images in folders end in.

    Raises:
        DataError: a path does not exist, a folder holds no image, or nothing was given.
    """
    found: list[Path] = []
    for path in inputs:
        try:
            if path.is_dir() and not is_zarr(path):
                found += images_in(path, suffixes)
            elif path.exists():
                found.append(path)
            else:
                raise DataError("No such file or folder", where=path, fix="Check the path.")
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            raise DataError(f"The system refuses: {error.strerror}", where=path, fix="Check the path.") from None
    if not found:
        raise DataError("No images were given", fix="Name image files or folders of them.")
    return found


def images_in(
    folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *, recursive: bool = False, without: Path | None = None
) -> list[Path]:
    """The image files of a folder in natural order, see `files_in` and `without_originals`.

    Raises:
        DataError: there is no image.
    """
    found = without_originals(with_suffix(files_in(folder, recursive=recursive, without=without), suffixes))
    if not found:
        raise no_images(folder, suffixes)
    return found


def without_originals(paths: Sequence[Path]) -> list[Path]:
    """The same paths, but for files of a microscope beside an image of the same name: it was exported from them."""
    exported = {path.with_name(stem_of(path)) for path in paths if not is_of_microscope(path)}
    return [path for path in paths if not is_of_microscope(path) or path.with_name(stem_of(path)) not in exported]


def no_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> DataError:
    """The error about a folder in which there is no image."""
    others = visible_names(folder)
    return DataError(
        "The folder holds no images" + (f", but {listing(others, 3)}" if others else ""),
        where=folder,
        fix=f"Files that count as images: {', '.join(suffixes)}.",
    )


def visible_names(folder: Path) -> list[str]:
    """The names of the files and folders in a folder, without hidden ones."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def files_in(folder: Path, *, recursive: bool = False, without: Path | None = None) -> list[Path]:
    """The files of a folder in natural order, without hidden ones; a folder that is one image counts as a file.

    Args:
        folder: where to look.
        recursive: look into its subfolders too, but not into hidden ones. Links to folders are not followed.
        without: a subfolder whose files are left out, such as that of earlier results.
    """
    skipped = None if without is None else without.resolve()
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        inner = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".") and (inner / name).resolve() != skipped]
        found += [inner / name for name in folders if name.lower().endswith(BUNDLE_SUFFIXES)]
        folders[:] = [name for name in folders if recursive and not name.lower().endswith(BUNDLE_SUFFIXES)]
        found += [path for path in (inner / name for name in names) if not path.name.startswith(".") and path.is_file()]
    return sorted(found, key=lambda path: [natural_key(Path(part)) for part in path.relative_to(folder).parts])


def with_suffix(paths: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Those of the paths whose names end in one of the suffixes, in capitals or not."""
    return [path for path in paths if path.name.lower().endswith(suffixes)]


def by_subfolder(paths: Iterable[Path], folder: Path) -> dict[Path, list[Path]]:
    """The files by the subfolder that they are in."""
    places: dict[Path, list[Path]] = {}
    for path in paths:
        places.setdefault(path.relative_to(folder).parent, []).append(path)
    return places


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts `t2` before `t10`."""
    return [
        (0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", path.name.lower()) if part
    ]
