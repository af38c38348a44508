"""The files of a user's folder: images, the mask of each, and what cannot be used or is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioseg_cli.annotations.folder import FoundAnnotations, find_annotations
from bioseg_cli.annotations.formats import KNOWN
from bioseg_cli.annotations.formats import SUFFIXES as ANNOTATION_SUFFIXES
from bioseg_cli.annotations.image_folders import image_folders, object_masks
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, files_in, no_images, with_suffix, without_originals
from bioseg_cli.io.names import stem_of
from bioseg_cli.io.other_formats import OTHER_SUFFIXES, what_it_is
from bioseg_cli.masks.folders import doubt_of
from bioseg_cli.masks.pairing import Pairing, has_mask_suffix, is_mask_name, pair
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Kind, Rejected
from bioseg_cli.printable import listing

_SHAPE_SUFFIXES = (".geojson", ".json", ".zip", ".roi", ".xml")
"""Beside images, files of these names may hold shapes that somebody drew."""
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
    in_folders = None if config.recursive else image_folders(config.images)
    inside = (
        files_in(config.images, recursive=config.recursive, without=None if shared else config.masks)
        if in_folders is None
        else list(in_folders)
    )
    readable = with_suffix(inside, IMAGE_SUFFIXES)
    files = FolderFiles(without_originals(readable))
    originals = set(readable) - set(files.images)
    unread = [path for path in inside if path in originals or path.name.lower().endswith(OTHER_SUFFIXES)]
    if not files.images and not unread:
        raise _no_images(config)
    files.total = len(files.images) + len(unread)
    unread, notes = _reject_unread(unread, files.images, config.images, "image", rejected)
    files.notes += notes
    if config.masks is None:
        _reject_masks_among(files.images, config, rejected)
        files.notes += _shapes_beside(inside)
        return files
    try:
        objects = object_masks(in_folders) if in_folders is not None and shared else None
        files.annotations = _annotations(config, config.masks, [*files.images, *unread], objects, rejected)
        if files.annotations is None:
            _pair(files, unread, config, config.masks, rejected, shared=shared)
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
    of_place = _by_place(readable, folder)
    for place, paths in _by_place(unread, folder).items():
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


def _shapes_beside(inside: Sequence[Path]) -> list[str]:
    """The remark on files beside the images that may hold shapes."""
    names = [path.name for path in with_suffix(inside, _SHAPE_SUFFIXES)]
    if not names:
        return []
    known = " or ".join(ANNOTATION_SUFFIXES)
    return [
        f"{listing(names, 3)} beside the images may hold annotations, which --masks FOLDER would read from files named "
        f"{known}: {KNOWN}; the folder may be that of the images"
    ]


def _annotations(
    config: FolderConfig, masks: Path, images: Sequence[Path], objects: FoundAnnotations | None, rejected: Rejected
) -> FoundAnnotations | None:
    """The annotations of images, `objects` or those of a folder; None where masks are images."""
    found = objects or _found_annotations(config, masks, images)
    if found is None:
        return None
    if config.masks_are is not None or config.unlabelled_value is not None:
        raise UsageError(
            f"--masks-are and --unlabelled-value are for masks that are images, not for {' and '.join(found.formats)}",
            fix="Leave the option out: the classes of the shapes say what they are.",
        )
    _reject_masks_among(images, config, rejected, fix="Move it away: annotations are used.")
    return found


def _found_annotations(config: FolderConfig, masks: Path, images: Sequence[Path]) -> FoundAnnotations | None:
    """The annotations of all folders together."""
    if not config.recursive:
        return find_annotations(masks, images)
    drawn = with_suffix(files_in(masks, recursive=True), ANNOTATION_SUFFIXES)
    of_place = _by_place(images, config.images)
    inside_each = [find_annotations(masks / place, of_place.get(place, [])) for place in _by_place(drawn, masks)]
    found = [inside for inside in inside_each if inside is not None]
    if not found:
        return None
    pictures = with_suffix(files_in(masks, recursive=True, without=config.images), IMAGE_SUFFIXES)
    if pictures and not set(pictures) & set(images):
        raise DataError(
            f"The folder holds masks ({listing([path.name for path in pictures], 2)}) and annotations "
            f"({listing([path.name for path in drawn], 2)})",
            where=masks,
            fix="Move those of one kind away.",
        )
    formats = dict.fromkeys(name for inside in found for name in inside.formats)
    of_image = {image: annotation for inside in found for image, annotation in inside.of_image.items()}
    return FoundAnnotations(tuple(formats), of_image, tuple(note for inside in found for note in inside.notes))


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
    pairing = _pairing(masks, folder, [*files.images, *unread], config.images)
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


def _pairing(masks: Sequence[Path], masks_folder: Path, images: Sequence[Path], folder: Path) -> Pairing[Path, Path]:
    """The image of each mask in the same subfolder."""
    whole: Pairing[Path, Path] = Pairing()
    of_place = _by_place(images, folder)
    for place, inside in _by_place(masks, masks_folder).items():
        pairing = pair(_stems(inside), _stems(of_place.get(place, [])), images=True)
        whole.found.update(pairing.found)
        whole.loose += pairing.loose
        whole.doubts += pairing.doubts
    return whole


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
    others_of_place = _by_place(images or suspects, config.images)
    for place, inside in _by_place(suspects, config.images).items():
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


def _by_place(paths: Iterable[Path], folder: Path) -> Mapping[Path, list[Path]]:
    """The files by the subfolder that they are in."""
    places: dict[Path, list[Path]] = {}
    for path in paths:
        places.setdefault(path.relative_to(folder).parent, []).append(path)
    return places


def _stems(paths: Iterable[Path]) -> dict[Path, str]:
    return {path: stem_of(path) for path in paths}
