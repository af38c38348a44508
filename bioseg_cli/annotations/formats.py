"""The formats of annotation files, recognised by what a file holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.annotations import geojson
from bioseg_cli.annotations.documents import read_document
from bioseg_cli.annotations.shape import Annotation

SUFFIXES = (".geojson", ".json")
KNOWN = "GeoJSON (QuPath)"


@dataclass(frozen=True)
class Read:
    """What an annotation file holds.

    Attributes:
        format: its name.
        annotation: of the image that is named like the file.
    """

    format: str
    annotation: Annotation


def read_annotations(path: Path) -> Read | None:
    """Read an annotation file; None for a file of another kind.

    Raises:
        DataError: the file is damaged, or holds a shape that is no area.
    """
    document = read_document(path)
    if geojson.is_geojson(document):
        return Read("GeoJSON", geojson.annotation(path, document))
    return None
