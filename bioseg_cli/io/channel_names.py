"""What a TIFF calls its channels: by OME or ImageJ metadata, or because they are colours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import tifffile

from bioseg_cli.io.pixel_size import declares_entities

COLOURS = ("red", "green", "blue")
_NUMBER = re.compile(r"c:[0-9]+/[0-9]+")
"""How Bio-Formats begins the label of a slice; the name of the file comes behind, and none of the channel."""


def channel_names(tif: tifffile.TiffFile, page: tifffile.TiffPage, channels: int) -> tuple[str, ...]:
    """The names of the channels in their order; none where the file does not name each of them.

    Args:
        tif: the file.
        page: of the image, which says whether its channels are colours.
        channels: how many there are.
    """
    first = tif.pages.first.description
    colours = page.photometric == tifffile.PHOTOMETRIC.RGB  # the labels of ImageJ are then those of the frames
    names: list[str] = []
    if "<OME" in first:
        names = _of_ome(first)
    elif tif.is_imagej and not colours:
        labels = [str(label) for label in (tif.imagej_metadata or {}).get("Labels", ())]
        names = [] if any(map(_NUMBER.match, labels)) else labels
    if len(names) != channels or not all(names):
        names = list(COLOURS) if channels == 3 and colours else []
    return tuple(names)


def _of_ome(text: str) -> list[str]:
    if declares_entities(text):
        return []
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return []
    pixels = next((element for element in root.iter() if _tag(element) == "Pixels"), None)
    inside = [] if pixels is None else list(pixels)
    return [element.attrib.get("Name", "").strip() for element in inside if _tag(element) == "Channel"]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
