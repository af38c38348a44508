"""The mask files of a folder, and how the files of two folders find each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, files_in, images_in, list_images, visible_names, with_suffix
from bioseg_cli.io.names import stem_within
from bioseg_cli.masks.pairing import Doubt, Pairing, pair_in_subfolders
from bioseg_cli.printable import listing


def mask_files(folder: Path, *, recursive: bool = False, without: Path | None = None) -> list[Path]:
    """The mask files of a folder.

    Args:
        folder: where to look.
        recursive: look into its subfolders too.
        without: a subfolder that holds other masks.

    Raises:
        DataError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise DataError("There is no such folder", where=folder, fix="Check the path.")
    if recursive:
        return images_in(folder, recursive=True, without=without)
    others = visible_names(folder)
    if others and not any(name.lower().endswith(IMAGE_SUFFIXES) for name in others):
        fix = f"Masks are images here: {', '.join(IMAGE_SUFFIXES)}. Only `bioseg prepare folder` reads the shapes of "
        fix += "annotation programs."
        if with_suffix(files_in(folder, recursive=True), IMAGE_SUFFIXES):
            fix = "Its subfolders hold images: --recursive uses them."
        raise DataError(f"The folder holds no masks, but {listing(others, 3)}", where=folder, fix=fix)
    return list_images([folder])


def images_of(masks: Iterable[Path], masks_folder: Path, folder: Path, *, recursive: bool = False) -> dict[Path, Path]:
    """Find the image of each mask of a folder in another folder, by name and subfolder.

    Raises:
        DataError: a mask has no image, or names that could go together in several ways.
    """
    wanted = {mask: stem_within(mask, masks_folder) for mask in masks}
    images = {path: stem_within(path, folder) for path in mask_files(folder, recursive=recursive)}
    pairing = pair_in_subfolders(wanted, images, images=True)
    refuse_doubts(pairing, folder)
    missing = [mask.relative_to(masks_folder).as_posix() for mask in wanted if mask not in pairing.found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} masks have no file named like them: {listing(missing)}",
            where=folder,
            fix="Name the files alike; an ending such as .png or _mask may differ.",
        )
    return pairing.found


def predictions_of(
    masks: Iterable[Path], masks_folder: Path, predictions: Iterable[Path], folder: Path
) -> Pairing[Path, Path]:
    """Find the prediction of each true mask, by name and subfolder; not every mask needs to have one.

    Raises:
        DataError: names that could go together in several ways.
    """
    wanted = {mask: stem_within(mask, masks_folder) for mask in masks}
    pairing = pair_in_subfolders(wanted, {path: stem_within(path, folder) for path in predictions}, images=False)
    refuse_doubts(pairing, folder)
    return pairing


def refuse_doubts(pairing: Pairing[Path, Path], folder: Path) -> None:
    """Raise `DataError` where names could go together in several ways: `a` with `a_mask`, and with `a_seg`."""
    for doubt in pairing.doubts:
        what, fix = doubt_of(doubt)
        raise DataError(what, where=folder if len(doubt.offered) > 1 else doubt.wanted[0].parent, fix=fix)


def doubt_of(doubt: Doubt[Path, Path]) -> tuple[str, str]:
    """What a doubt between files is about, a sentence without a full stop, and what to do."""
    wanted, offered = (sorted(path.name for path in paths) for paths in (doubt.wanted, doubt.offered))
    several, other = (offered, doubt.wanted[0].name) if len(offered) > 1 else (wanted, offered[0])
    named = "both" if len(several) == 2 else "all"
    names = " and ".join(several) if len(several) == 2 else listing(several)
    return f"{names} are {named} named like {other}", "Keep one of them, and move the others away."
