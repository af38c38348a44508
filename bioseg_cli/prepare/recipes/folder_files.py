"""The files of a user's folder: images, the mask of each, and what cannot be used or is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioseg_cli.annotations.folder import FoundAnnotations
from bioseg_cli.annotations.image_folders import image_folders, object_masks
from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.folders import (
    IMAGE_SUFFIXES,
    by_subfolder,
    files_in,
    no_images,
    with_suffix,
    without_originals,
)
from bioseg_cli.io.names import stem_of, stem_within
from bioseg_cli.io.other_formats import OTHER_SUFFIXES, what_it_is
from bioseg_cli.masks.folders import doubt_of
from bioseg_cli.masks.pairing import Pairing, has_mask_suffix, is_mask_name, pair, pair_in_subfolders
from bioseg_cli.prepare.recipes.folder_annotations import (
    annotations_of,
    refuse_options_of_images,
    refusing,
    shapes_beside,
)
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Kind, Rejected
from bioseg_cli.printable import listing

_HDF5_SUFFIXES = (".h5", ".hdf5")


@dataclass
class FolderFiles:
    """What the folders of images and of masks hold.

    Attributes:
        images: in natural order, those that are rejected by their names among them.
        masks: the mask of each image that has one.
        annotations: of images, where the masks are shapes.
        notes: what the user should know of the names.
        total: files that were looked at.
    """

    images: list[Path]
    masks: dict[Path, Path] = field(default_factory=dict)
    annotations: FoundAnnotations | None = None
    notes: list[str] = field(default_factory=list)
    total: int = 0


def find_files(config: FolderConfig, rejected: Rejected) -> FolderFiles:
    """Find images and masks by their names; what does not fit is added to `rejected`.

    Raises:
        DataError: a folder is missing, or holds neither images nor anything that may be one; images and masks in one
            folder that are not told apart; deliberately wrong masks.
        UsageError: options for masks that are images, with annotations.
    """
    for folder in (config.images, config.masks):
        if folder is not None and not folder.is_dir():
            raise DataError("There is no such folder", where=folder, fix="Check the path.")
    shared = config.masks is not None and config.masks.resolve() == config.images.resolve()
    in_folders = None if config.recursive else image_folders(config.images, refusing(config, rejected))
    inside = (
        files_in(config.images, recursive=config.recursive, without=None if shared else config.masks)
        if in_folders is None
        else list(in_folders)
    )
    readable = with_suffix(inside, IMAGE_SUFFIXES)
    files = FolderFiles(without_originals(readable))
    originals = set(readable) - set(files.images)
    unread = [path for path in inside if path in originals or path.name.lower().endswith(OTHER_SUFFIXES)]
    files.total = len({*files.images, *unread, *rejected.paths})
    if not files.images and not unread:
        rejected.refuse(files.total)
        raise _no_images(config)
    unread, notes = _reject_unread(unread, files.images, config.images, "image", rejected)
    files.notes += notes
    if config.masks is None:
        _reject_masks_among(files.images, config, rejected)
        files.notes += shapes_beside(inside)
        return files
    try:
        refuse = refusing(config, rejected, config.masks, [*files.images, *unread])
        objects = object_masks(in_folders, refuse) if in_folders is not None and shared else None
        files.annotations = objects or annotations_of(config, config.masks, [*files.images, *unread], refuse)
        if files.annotations is None:
            _pair(files, unread, config, config.masks, rejected, shared=shared)
        else:
            files.total += files.annotations.total
            refuse_options_of_images(config, files.annotations)
            moved = "Move it away: annotations are used."
            _reject_masks_among([*files.images, *unread], config, rejected, fix=moved)
    except BiosegError as error:
        rejected.ask(config.masks, "mask", error)
    return files


def _no_images(config: FolderConfig) -> DataError:
    error = no_images(config.images)
    if not config.recursive and with_suffix(files_in(config.images, recursive=True), IMAGE_SUFFIXES):
        error.fix = "Its subfolders hold images: --recursive uses them."
    return error


def _reject_unread(
    unread: Sequence[Path], readable: Sequence[Path], folder: Path, kind: Kind, rejected: Rejected
) -> tuple[list[Path], list[str]]:
    """Reject files of formats that are not read, and leave those alone that lie beside a readable file of their name.

    Returns the rejected files, and the remark on the others.
    """
    alone: list[Path] = []
    of_place = by_subfolder(readable, folder)
    for place, paths in by_subfolder(unread, folder).items():
        pairing = pair(_stems(paths), _stems(of_place.get(place, [])), images=kind == "image")
        beside = {*pairing.found, *(path for doubt in pairing.doubts for path in doubt.wanted)}
        alone += [path for path in paths if path not in beside]
    for path in alone:
        name, remedy = what_it_is(path)
        rejected.add(path, folder, kind, f"The file is {name}, which is not read", remedy)
    names = [path.name for path in unread if path not in set(alone)]
    if not names:
        return alone, []
    said = (
        "is not read: a readable file of the same name lies beside it"
        if len(names) == 1
        else "are not read: readable files of the same names lie beside them"
    )
    return alone, [f"{listing(names, 3)} {said}"]


def _pair(
    files: FolderFiles, unread: Sequence[Path], config: FolderConfig, folder: Path, rejected: Rejected, *, shared: bool
) -> None:
    """Find the image of each mask, and reject what pairs with nothing, or with too much."""
    if "ERR_SEG" in folder.resolve().name:
        raise DataError(
            "ERR_SEG holds the Cell Tracking Challenge's deliberately wrong masks",
            where=folder,
            fix="Use the ..._ST/SEG or ..._GT/SEG folder.",
        )
    inside = files_in(folder, recursive=config.recursive)
    masks, foreign = with_suffix(inside, IMAGE_SUFFIXES), with_suffix(inside, OTHER_SUFFIXES)
    hdf5 = [path for path in with_suffix(inside, _HDF5_SUFFIXES) if has_mask_suffix(path)]
    if shared:
        masks = [path for path in masks if is_mask_name(path)]
        files.images = [path for path in files.images if path not in set(masks)]
        foreign = []  # they are among the images
        if not masks or not files.images:
            raise DataError(
                "Images and masks in one folder are told apart by the masks' names, such as NAME_mask.png",
                where=folder,
                fix="Rename the masks, or put them into a folder of their own.",
            )
    elif not masks and not foreign and not hdf5:
        raise no_images(folder)
    else:
        files.total += len(masks) + len(foreign)
    files.total += len(hdf5)
    images = {path: stem_within(path, config.images) for path in (*files.images, *unread)}
    pairing = pair_in_subfolders({path: stem_within(path, folder) for path in masks}, images, images=True)
    files.masks = {image: mask for mask, image in pairing.found.items() if image not in unread}
    files.notes += _reject_unread(foreign, masks, folder, "mask", rejected)[1]
    for path in hdf5:
        remedy = "Export it as PNG or TIFF: in ilastik, choose the format in the settings of the export."
        rejected.add(path, folder, "mask", "The file is HDF5, and masks are images", remedy)
    in_doubt = _reject_doubts(pairing, files, config.images, folder, rejected)
    for mask in masks:
        if mask not in pairing.found and mask not in in_doubt:
            remedy = "Name the mask like its image (NAME_mask and mask_NAME are allowed), or move it away."
            rejected.add(mask, folder, "mask", "The mask has no image", remedy)
    unlabelled = [path for path in files.images if path not in files.masks and path not in in_doubt]
    _reject_masks_among(unlabelled, config, rejected, files.images, fix="Move it to the masks, or away.")
    files.notes += pairing.remarks(lambda mask: mask.name, lambda image: image.name)


def _reject_doubts(
    pairing: Pairing[Path, Path], files: FolderFiles, images_folder: Path, folder: Path, rejected: Rejected
) -> set[Path]:
    """Reject the files of which one is too many; returns all files that take part in a doubt."""
    in_doubt: set[Path] = set()
    for doubt in pairing.doubts:
        reason, remedy = doubt_of(doubt)
        for image in doubt.offered if len(doubt.offered) > 1 else ():
            rejected.add(image, images_folder, "image", reason, remedy)
        for mask in doubt.wanted if len(doubt.wanted) > 1 else ():
            rejected.add(mask, folder, "mask", reason, remedy)
        in_doubt.update(doubt.wanted, doubt.offered)
    files.masks = {image: mask for image, mask in files.masks.items() if image not in in_doubt and mask not in in_doubt}
    return in_doubt


def _reject_masks_among(
    suspects: Sequence[Path],
    config: FolderConfig,
    rejected: Rejected,
    images: Sequence[Path] | None = None,
    *,
    fix: str = "Give --masks too; it may be the same folder.",
) -> None:
    """Reject images whose names are those of masks.

    Args:
        suspects: images without a mask.
        config: the settings, for the folder of the images.
        rejected: what they are added to.
        images: where masks are given, all images: a suspect is then one that is named like the mask of another.
        fix: what to do.
    """
    others_of_place = by_subfolder(images or suspects, config.images)
    for place, inside in by_subfolder(suspects, config.images).items():
        named_so = [path for path in inside if is_mask_name(path)]
        others = [path for path in others_of_place[place] if path not in set(named_so)]
        of_others = pair(_stems(named_so), _stems(others), images=True)
        masks = [*of_others.found, *(mask for doubt in of_others.doubts for mask in doubt.wanted)]
        if images is None and len(endings := [path for path in inside if has_mask_suffix(path)]) < len(inside):
            masks += endings
        if len(others_of_place) > 1 and any(has_mask_suffix(Path(part)) for part in place.parts):
            masks = inside  # of --recursive, in a folder of masks
        for path in masks:
            rejected.add(path, config.images, "image", "The file looks like a mask among the images", fix)


def _stems(paths: Iterable[Path]) -> dict[Path, str]:
    return {path: stem_of(path) for path in paths}
