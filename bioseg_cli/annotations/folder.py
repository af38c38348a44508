"""The annotations of a folder, and the image that each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioseg_cli.annotations.formats import KNOWN, SUFFIXES, AnnotationFile, annotated_stem, read_annotations
from bioseg_cli.annotations.napari import joined
from bioseg_cli.annotations.shape import Annotation
from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, natural_key
from bioseg_cli.io.names import stem_of
from bioseg_cli.masks.folders import refuse_doubts
from bioseg_cli.masks.pairing import pair
from bioseg_cli.printable import listing


@dataclass
class FoundAnnotations:
    """Annotations with the images that they belong to.

    Attributes:
        formats: names of their formats.
        of_image: the annotation of each image that has one.
        notes: what the user should know of names that were paired.
    """

    formats: tuple[str, ...]
    of_image: dict[Path, Annotation] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_annotations(masks: Path, images: Sequence[Path]) -> FoundAnnotations | None:
    """The annotations that a folder holds for images; None where its masks are images.

    Args:
        masks: the folder of the images, or another one.
        images: all images.

    Raises:
        DataError: a file that is damaged or of no known format, masks of both kinds, an annotation without an image, or
            names that could go together in several ways.
    """
    beside_images = any(image.parent.resolve() == masks.resolve() for image in images)
    read = _read_all(masks, {stem_of(image) for image in images}, beside_images=beside_images)
    if not read:
        return None
    found = FoundAnnotations(tuple(dict.fromkeys(file.format for file in read.values())))
    _pair_by_name(_annotations(read), images, masks, found)
    found.notes += _without_shapes(read)
    return found


def _read_all(masks: Path, stems: Collection[str], *, beside_images: bool) -> dict[Path, AnnotationFile]:
    """What every annotation file holds; nothing where the folder holds masks that are images."""
    inside = [path for path in masks.iterdir() if not path.name.startswith(".")]
    files = sorted((path for path in inside if path.name.lower().endswith(SUFFIXES)), key=natural_key)
    pictures = [path.name for path in inside if path.name.lower().endswith(IMAGE_SUFFIXES)]
    read: dict[Path, AnnotationFile] = {}
    others: list[Path] = []
    damaged: list[DataError] = []
    for path in files:
        try:
            found = read_annotations(path, stems)
        except DataError as error:
            damaged.append(error)
            continue
        if found is None:
            others.append(path)
        else:
            read[path] = found
    if pictures and not read:
        return {}
    if damaged:
        raise damaged[0]
    if pictures and not beside_images:
        masks_there, annotations_there = listing(sorted(pictures), 2), listing([*map(_name, read)], 2)
        raise DataError(
            f"The folder holds masks ({masks_there}) and annotations ({annotations_there})",
            where=masks,
            fix="Move those of one kind away. If the pictures are the images, give --images the same folder.",
        )
    if others and not pictures:
        raise DataError(
            f"{listing([*map(_name, others)])} {'is' if len(others) == 1 else 'are'} of no format of annotations",
            where=masks,
            fix=f"Known are {KNOWN}. Export the shapes in one of these formats, or move other files away.",
        )
    if inside and not pictures and not read:
        raise DataError(
            f"The folder holds neither masks nor annotations, but {listing(sorted(map(_name, inside)), 3)}",
            where=masks,
            fix=f"Masks are images ({', '.join(IMAGE_SUFFIXES)}). Annotations are {KNOWN}.",
        )
    return read


def _annotations(read: Mapping[Path, AnnotationFile]) -> dict[Path, Annotation]:
    """All annotations by a path that is named like the image of each: the file, or the name that it gives below it."""
    found: list[Annotation] = []
    for file in read.values():
        if file.format != "napari":
            found += file.annotations
    found += joined(layer for file in read.values() if file.format == "napari" for layer in file.annotations)
    return {
        annotation.source if annotation.image is None else annotation.source / annotation.image: annotation
        for annotation in found
    }


def _without_shapes(read: Mapping[Path, AnnotationFile]) -> tuple[str, ...]:
    """What is said of images that a file lists and of which it has no shape: nothing says that somebody looked."""
    return tuple(
        f"{len(file.without_shapes)} images have no shape in {path.name}: they are unlabelled "
        f"({listing(file.without_shapes, 3)})"
        for path, file in read.items()
        if file.without_shapes
    )


def _pair_by_name(
    annotations: Mapping[Path, Annotation], images: Sequence[Path], masks: Path, found: FoundAnnotations
) -> None:
    """Find the image of each annotation by its name."""
    stems = {path: annotation.image or annotated_stem(path) for path, annotation in annotations.items()}
    pairing = pair(stems, {image: stem_of(image) for image in images}, images=True)
    refuse_doubts(pairing, masks)
    if alone := [path for path in annotations if path not in pairing.found]:
        source = annotations[alone[0]].source
        listed = source.suffix.lower() == ".json" and alone[0] != source
        named = f"Name each annotation like its image (image.tif, image{source.suffix or '.csv'}), or move these away."
        raise DataError(
            f"{len(alone)} of {len(annotations)} annotations have no image: {listing([*map(_name, alone)])}",
            where=source if listed else masks,
            fix="Add the images, or leave them out of the file." if listed else named,
        )
    found.of_image.update({image: annotations[path] for path, image in pairing.found.items()})
    found.notes += pairing.remarks(_name, _name)


def _name(path: Path) -> str:
    return path.name
