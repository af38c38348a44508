"""The annotations of a user's folder: those of the images, and what cannot be used of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bioseg_cli.annotations.folder import FoundAnnotations, find_annotations
from bioseg_cli.annotations.formats import known_formats, suffixes
from bioseg_cli.annotations.installed import installed_suffixes
from bioseg_cli.annotations.shape import Refuse
from bioseg_cli.annotations.survey import SurveyedAnnotations, survey_annotations
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, by_subfolder, files_in, with_suffix
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Rejected
from bioseg_cli.printable import listing

_SHAPE_SUFFIXES = (".geojson", ".json", ".zip", ".roi", ".xml")
"""Beside images, files of these names may hold shapes that somebody drew."""


def refusing(
    config: FolderConfig, rejected: Rejected, masks: Path | None = None, images: Collection[Path] = ()
) -> Refuse:
    """Rejects what it is told of: files of `masks` but for `images`, or without masks, what lies among the images."""

    def refuse(path: Path, error: DataError) -> None:
        if masks is None or path in images:
            rejected.take(path, config.images, "image", error)
        else:
            rejected.take(path, masks, "mask", error)

    return refuse


def annotations_of(
    config: FolderConfig, masks: Path, images: Sequence[Path], refuse: Refuse
) -> FoundAnnotations | None:
    """The annotations of a folder, with --recursive of all its subfolders together; None where masks are images.

    Raises:
        DataError: masks of both kinds, or neither.
    """
    if not config.recursive:
        return find_annotations(masks, images, refuse)
    drawn = with_suffix(files_in(masks, recursive=True), suffixes())
    of_place = by_subfolder(images, config.images)
    places = by_subfolder(drawn, masks)
    inside_each = [find_annotations(masks / place, of_place.get(place, []), refuse) for place in places]
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
    return FoundAnnotations(
        tuple(dict.fromkeys(name for inside in found for name in inside.formats)),
        {image: annotation for inside in found for image, annotation in inside.of_image.items()},
        {image: path for inside in found for image, path in inside.paths.items()},
        tuple(note for inside in found for note in inside.notes),
        sum(inside.total for inside in found),
    )


def refuse_options_of_images(config: FolderConfig, found: FoundAnnotations) -> None:
    """Raise `UsageError` for options that say what the values of masks mean."""
    if config.masks_are is not None or config.unlabelled_value is not None:
        formats = " and ".join(found.formats) or "shapes"
        raise UsageError(
            f"--masks-are and --unlabelled-value are for masks that are images, not for {formats}",
            fix="Leave the option out: the classes of the shapes say what they are.",
        )


def survey_usable(
    annotations: FoundAnnotations, infos: Sequence[ImageInfo], config: FolderConfig, masks: Path, rejected: Rejected
) -> SurveyedAnnotations | None:
    """What the annotations of images that can be used mean; None where none is left, or a question is open."""
    unusable = rejected.paths
    usable = [info for info in infos if info.path not in unusable]
    if unusable and not any(info.path in annotations.of_image for info in usable):
        return None  # what cannot be used is the reason, and not that nobody drew a shape
    try:
        return survey_annotations(annotations, usable, config.classes, refusing(config, rejected, masks))
    except BiosegError as error:
        rejected.ask(masks, "mask", error)
        return None


def shapes_beside(inside: Sequence[Path]) -> list[str]:
    """The remark on files beside the images that may hold shapes."""
    names = [path.name for path in with_suffix(inside, (*_SHAPE_SUFFIXES, *installed_suffixes()))]
    if not names:
        return []
    known = " or ".join(suffixes())
    return [
        f"{listing(names, 3)} beside the images may hold annotations, which --masks FOLDER would read from files named "
        f"{known}: {known_formats()}; the folder may be that of the images"
    ]
