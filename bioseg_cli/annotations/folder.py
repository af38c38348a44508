"""The annotations of a folder, and the image that each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioseg_cli.annotations.formats import (
    AnnotationFile,
    annotated_stem,
    known_formats,
    read_annotations,
    suffixes,
)
from bioseg_cli.annotations.napari import joined
from bioseg_cli.annotations.shape import Annotation, Refuse
from bioseg_cli.errors import DataError
from bioseg_cli.io.folders import IMAGE_SUFFIXES, natural_key
from bioseg_cli.io.names import stem_of
from bioseg_cli.masks.folders import doubt_of
from bioseg_cli.masks.pairing import pair
from bioseg_cli.printable import listing


@dataclass
class FoundAnnotations:
    """Annotations with the images that they belong to.

    Attributes:
        formats: names of their formats.
        of_image: the annotation of each image that has one.
        paths: what messages call the annotation of each such image: its file, or the name that a file for several
            images gives it, below the file.
        notes: what the user should know of names that were paired.
        total: annotations that were looked at, those that cannot be used among them.
    """

    formats: tuple[str, ...]
    of_image: dict[Path, Annotation] = field(default_factory=dict)
    paths: dict[Path, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    total: int = 0


def find_annotations(masks: Path, images: Sequence[Path], refuse: Refuse) -> FoundAnnotations | None:
    """The annotations that a folder holds for images; None where its masks are images.

    Args:
        masks: the folder of the images, or another one.
        images: all images.
        refuse: is told of each file that is damaged or of no known format, of each annotation without an image, and of
            annotations and images whose names could go together in several ways.

    Raises:
        DataError: masks of both kinds, or neither.
        UsageError: an installed package that reads annotations is broken.
    """
    beside_images = any(image.parent.resolve() == masks.resolve() for image in images)
    read, faults = _read_all(masks, {stem_of(image) for image in images}, beside_images=beside_images)
    if not read and not faults:
        return None
    for path, fault in faults.items():
        refuse(path, fault)
    annotations = _annotations(read)
    found = FoundAnnotations(tuple(dict.fromkeys(file.format for file in read.values())))
    found.total = len(annotations) + len(faults)
    _pair_by_name(annotations, images, found, refuse)
    found.notes += _without_shapes(read)
    return found


def _read_all(
    masks: Path, stems: Collection[str], *, beside_images: bool
) -> tuple[dict[Path, AnnotationFile], dict[Path, DataError]]:
    """What every annotation file holds, and why others cannot be used; nothing of masks that are images."""
    inside = [path for path in masks.iterdir() if not path.name.startswith(".")]
    files = sorted((path for path in inside if path.name.lower().endswith(suffixes())), key=natural_key)
    pictures = [path.name for path in inside if path.name.lower().endswith(IMAGE_SUFFIXES)]
    read: dict[Path, AnnotationFile] = {}
    faults: dict[Path, DataError] = {}
    for path in files:
        try:
            found = read_annotations(path, stems)
        except DataError as error:
            faults[path] = error
            continue
        if found is not None:
            read[path] = found
        elif not pictures:  # beside images there may be any file
            fix = f"Known are {known_formats()}. Export the shapes in one of these formats, or move the file away."
            faults[path] = DataError("The file is of no format of annotations", where=path, fix=fix)
    if pictures and not read:
        return {}, {}
    if pictures and not beside_images:
        masks_there, annotations_there = listing(sorted(pictures), 2), listing([*map(_name, read)], 2)
        raise DataError(
            f"The folder holds masks ({masks_there}) and annotations ({annotations_there})",
            where=masks,
            fix="Move those of one kind away. If the pictures are the images, give --images the same folder.",
        )
    if inside and not files and not pictures:
        raise DataError(
            f"The folder holds neither masks nor annotations, but {listing(sorted(map(_name, inside)), 3)}",
            where=masks,
            fix=f"Masks are images ({', '.join(IMAGE_SUFFIXES)}). Annotations are {known_formats()}.",
        )
    return read, faults


def _annotations(read: Mapping[Path, AnnotationFile]) -> dict[Path, Annotation]:
    """All annotations by what messages call them, see `FoundAnnotations.paths`."""
    found = {
        path if annotation.image is None else path / annotation.image: annotation
        for path, file in read.items()
        if file.format != "napari"
        for annotation in file.annotations
    }
    layers = joined(layer for file in read.values() if file.format == "napari" for layer in file.annotations)
    # The name of a layer's file names the image; layers of one image are in several files.
    return found | {
        layer.source if layer.source in read else layer.source / str(layer.image): layer for layer in layers
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
    annotations: Mapping[Path, Annotation], images: Sequence[Path], found: FoundAnnotations, refuse: Refuse
) -> None:
    """Find the image of each annotation by its name."""
    stems = {path: annotation.image or annotated_stem(path) for path, annotation in annotations.items()}
    pairing = pair(stems, {image: stem_of(image) for image in images}, images=True)
    in_doubt: set[Path] = set()
    for doubt in pairing.doubts:
        what, fix = doubt_of(doubt)
        for alike in (doubt.wanted, doubt.offered):
            for path in alike if len(alike) > 1 else ():
                refuse(path, DataError(what, where=path, fix=fix))
            in_doubt.update(alike)
    for path, annotation in annotations.items():
        image = pairing.found.get(path)
        if image is None and path not in in_doubt:
            refuse(path, DataError("The annotation has no image", where=path, fix=_named_like_image(path, annotation)))
        elif image is not None and not in_doubt & {path, image}:
            found.of_image[image], found.paths[image] = annotation, path
    found.notes += pairing.remarks(_name, _name)


def _named_like_image(path: Path, annotation: Annotation) -> str:
    if path.parent == annotation.source and annotation.source.is_file():
        return "Add the image, or leave it out of the file."
    suffix = annotation.source.suffix or ".csv"
    return f"Name the annotation like its image (image.tif, image{suffix}), or move it away."


def _name(path: Path) -> str:
    return path.name
