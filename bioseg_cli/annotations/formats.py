"""The formats of annotation files, recognised by what a file holds; those of installed packages by the suffix."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.annotations import coco, geojson, imagej, labelme, napari
from bioseg_cli.annotations.documents import read_document
from bioseg_cli.annotations.installed import installed_suffixes, read_installed
from bioseg_cli.annotations.shape import Annotation
from bioseg_cli.io.folders import IMAGE_SUFFIXES
from bioseg_cli.io.names import stem_of

_SUFFIXES = (".geojson", ".json", ".roi", ".zip", ".csv")
_KNOWN = (
    "GeoJSON (QuPath), selections of ImageJ (IMAGE.roi, or IMAGE.zip of the ROI Manager), CSV of a shapes layer "
    "(napari), COCO and LabelMe (JSON)"
)


def suffixes() -> tuple[str, ...]:
    """What the names of annotation files end in."""
    return tuple(dict.fromkeys((*_SUFFIXES, *installed_suffixes())))


def known_formats() -> str:
    """The formats in words."""
    added = [suffix for suffix in installed_suffixes() if suffix not in _SUFFIXES]
    return _KNOWN + (f", {' and '.join(added)} (of installed packages)" if added else "")


@dataclass(frozen=True)
class AnnotationFile:
    """What an annotation file holds.

    Attributes:
        format: its name.
        annotations: one per image, or per image and class.
        without_shapes: names of the images that the file lists and that have no shape.
    """

    format: str
    annotations: tuple[Annotation, ...]
    without_shapes: tuple[str, ...] = ()


def read_annotations(path: Path, images: Container[str]) -> AnnotationFile | None:
    """Read an annotation file; None for a file of another kind.

    Args:
        path: the file.
        images: the names of all images, without suffixes.

    Raises:
        DataError: the file is damaged, or holds a shape that cannot become pixels.
        UsageError: an installed package reads such files, and is broken.
    """
    if path.suffix.lower() in _SUFFIXES and (found := _read_own(path, images)) is not None:
        return found
    added = read_installed(path)
    return None if added is None else AnnotationFile(*added)


def _read_own(path: Path, images: Container[str]) -> AnnotationFile | None:
    suffix = path.suffix.lower()
    if suffix == ".roi" or (suffix == ".zip" and imagej.is_roi_set(path)):
        return AnnotationFile("ImageJ", (imagej.annotation(path),))
    if suffix == ".zip":
        return None
    if suffix == ".csv":
        table = napari.rows(path)
        if table is None:
            return None
        return AnnotationFile("napari", (napari.annotation(path, table, annotated_stem(path), images),))
    document = read_document(path)
    if geojson.is_geojson(document):
        return AnnotationFile("GeoJSON", (geojson.annotation(path, document),))
    if coco.is_coco(document):
        annotations, without_shapes = coco.image_annotations(path, document)
        return AnnotationFile("COCO", tuple(annotations), tuple(without_shapes))
    if labelme.is_labelme(document):
        return AnnotationFile("LabelMe", (labelme.annotation(path, document),))
    return None


def annotated_stem(path: Path) -> str:
    """The name of an annotation without what programs add: QuPath calls that of `a.tif` `a.tif.geojson`."""
    stem = stem_of(path)
    if path.suffix.lower() == ".zip":
        stem = imagej.without_roi_set(stem)
    return stem_of(Path(stem)) if stem.lower().endswith(IMAGE_SUFFIXES) else stem
