"""Which pages of a TIFF are its images, and which only previews, pyramid levels and transparency masks of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import tifffile

from bioseg_cli.errors import DataError
from bioseg_cli.io.levels import no_level
from bioseg_cli.io.orientation import ORIENTATION_TAG, UPRIGHT

PageTags = dict[int, int]
"""The values of `_READ_TAGS` that a page has."""

_KIND_TAG, _OLD_KIND_TAG, _PHOTOMETRIC_TAG = 254, 255, 262
_READ_TAGS = (_KIND_TAG, _OLD_KIND_TAG, _PHOTOMETRIC_TAG, ORIENTATION_TAG)
_BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 16: 8}
_BELOW_TAG = 330
_BYTES_OF_OFFSET = {4: 4, 13: 4, 16: 8, 18: 8}
_AGAIN = "Copy or export it again."
_REDUCED, _TRANSPARENCY = 0b1, 0b100
_OLD_REDUCED = 2
_SCANNER_KINDS = ("svs", "ndpi", "scn", "bif", "qpi", "philips", "lsm")  # further series are labels and thumbnails


def main_series(tif: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The one image or series of images in the file, without its previews.

    Pages that call themselves reduced images or transparency masks (NewSubfileType 1 and 4), and pages below another
    (SubIFDs) where there is a full one, are no images of their own. A page of half, a third or a quarter the size that
    says nothing of itself may be one; two that halve on in the same way are a pyramid.

    Raises:
        DataError: pages are missing, there are several unrelated images, or pages lie or look different ways.
    """
    tags = _page_tags(tif, path)
    found = tif.series
    if not found:
        raise DataError("The TIFF holds no image", where=path, fix=_AGAIN)
    if found[0].kind in _SCANNER_KINDS:
        return found[0]
    full = [series for series in (_without_previews(each, tags) for each in found) if series is not None] or found
    unmarked = [
        level
        for series in full
        for level in series.levels[1:]
        if not (level.keyframe.is_reduced or level.keyframe.is_subifd)
    ]
    separate = full + unmarked if len(unmarked) == 1 else full
    if len(separate) > 1:
        shapes = ", ".join("x".join(map(str, each.shape)) for each in separate[:4])
        fix = "Save each as its own file."
        raise DataError(f"The file holds {len(separate)} separate images ({shapes})", where=path, fix=fix)
    _check_alike([page for page in tags if not _is_preview(page)], path)
    return full[0]


def level_of(series: tifffile.TiffPageSeries, level: int, path: Path) -> tifffile.TiffPageSeries:
    """A level of a pyramid, with the axes of the image itself, which is level 0.

    Raises:
        DataError: there is no such level, it is not whole, or it has other axes than the image.
    """
    levels = series.levels
    if not 0 <= level < len(levels):
        raise no_level(level, [_height_and_width(each) for each in levels], path)
    found = levels[level]
    if any(page is None for page in found.pages) or _beside_the_plane(found) != _beside_the_plane(series):
        what = f"Level {level} of the image lacks pages, or has other axes than the full resolution"
        raise DataError(what, where=path, fix="Give another --level, or write the file again.")
    return found


def _height_and_width(series: tifffile.TiffPageSeries) -> tuple[int, int]:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return sizes["Y"], sizes["X"]


def _beside_the_plane(series: tifffile.TiffPageSeries) -> list[tuple[str, int]]:
    """The axes that all levels share, and their sizes."""
    return [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YX"]


def check_pages(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a chain of pages that breaks off, that is a circle, or whose pages lie over each other.

    tifffile would go round in a circle for ever, and read what lies over each other again and again.

    Raises:
        DataError: see above.
    """
    for _ in _directories(tif, path):
        pass


def _page_tags(tif: tifffile.TiffFile, path: Path) -> list[PageTags]:
    """What every page says of itself; `DataError` where the file breaks off.

    tifffile ends the list of pages at the first that lies outside the file, and a shorter series looks whole.
    """
    order = "little" if tif.byteorder == "<" else "big"
    return [
        {
            code: int.from_bytes(value[: _BYTES_OF_TYPE[kind]], order)  # type: ignore[arg-type]
            for code, kind, _, value in struct.iter_unpack(_tag_format(tif), directory)
            if code in _READ_TAGS and kind in _BYTES_OF_TYPE
        }
        for directory in _directories(tif, path)
    ]


def _tag_format(tif: tifffile.TiffFile) -> str:
    """Code, type, count, and value or its place."""
    return f"{tif.byteorder}HH{'Q8s' if tif.tiff.is_bigtiff else 'I4s'}"


def _directories(tif: tifffile.TiffFile, path: Path) -> Iterator[bytes]:
    """The tags of each page as they stand; see `check_pages`."""
    handle, layout = tif.filehandle, tif.tiff
    handle.seek(8 if layout.is_bigtiff else 4)
    offset = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))[0]
    seen: set[int] = set()
    total = 0
    while offset:
        size = _directory_size(tif, offset) if offset not in seen else 0
        # A count of 64 bits may ask for more bytes than memory has.
        content = handle.read(size + layout.offsetsize) if 0 < size < handle.size else b""
        if not size or len(content) < size + layout.offsetsize:
            what = f"The file is truncated: it breaks off after page {len(seen)}"
            raise DataError(what, where=path, fix=_AGAIN)
        seen.add(offset)
        total += size + sum(_directory_size(tif, below) for below in _below(tif, content[:size]))
        if total > handle.size:
            raise DataError("The file is damaged: its pages lie over each other", where=path, fix=_AGAIN)
        yield content[:size]
        offset = struct.unpack(layout.offsetformat, content[size:])[0]


def _directory_size(tif: tifffile.TiffFile, offset: int) -> int:
    """Bytes of the tags of the page at an offset; 0 outside the file. The file then stands at the first tag."""
    layout, handle = tif.tiff, tif.filehandle
    if offset >= handle.size:
        return 0
    handle.seek(offset)
    count = handle.read(layout.tagnosize)
    return int(layout.tagsize * struct.unpack(layout.tagnoformat, count)[0]) if len(count) == layout.tagnosize else 0


def _below(tif: tifffile.TiffFile, directory: bytes) -> list[int]:
    """Where the pages below a page are (SubIFDs)."""
    found: list[int] = []
    for code, kind, count, value in struct.iter_unpack(_tag_format(tif), directory):
        if code != _BELOW_TAG or kind not in _BYTES_OF_OFFSET or not count:
            continue
        size = min(count, tif.filehandle.size) * _BYTES_OF_OFFSET[kind]
        if size > len(value):
            tif.filehandle.seek(struct.unpack(tif.tiff.offsetformat, value)[0])
            value = tif.filehandle.read(min(size, tif.filehandle.size))
        whole = len(value) // _BYTES_OF_OFFSET[kind]
        letter = "I" if _BYTES_OF_OFFSET[kind] == 4 else "Q"
        found += struct.unpack_from(f"{tif.byteorder}{min(whole, count)}{letter}", value)
    return found


def _is_preview(page: PageTags) -> bool:
    return bool(page.get(_KIND_TAG, 0) & (_REDUCED | _TRANSPARENCY)) or page.get(_OLD_KIND_TAG) == _OLD_REDUCED


def _without_previews(series: tifffile.TiffPageSeries, tags: list[PageTags]) -> tifffile.TiffPageSeries | None:
    """The series without its previews; None where there is nothing else."""
    keyframe = series.keyframe
    if series.kind not in ("generic", "uniform"):  # these programs say themselves which pages are the image
        return None if keyframe.is_reduced or keyframe.is_mask else series
    if keyframe.is_subifd:  # its tags are not among those of the chain
        return None if keyframe.is_reduced or keyframe.is_mask else series
    kept = [page for page in series.pages if page is not None and not _is_preview(tags[page.index])]
    if not kept or len(kept) == len(series.pages):
        return series if kept else None
    stacked = (len(kept), *keyframe.shape)
    return tifffile.TiffPageSeries(kept, stacked, series.dtype, "I" + keyframe.axes, kind=series.kind)


def _check_alike(pages: list[PageTags], path: Path) -> None:
    for tag, default, what in (
        (ORIENTATION_TAG, UPRIGHT, "lie different ways round: their orientations (tag 274)"),
        (_PHOTOMETRIC_TAG, None, "differ in what their values look like: their PhotometricInterpretations"),
    ):
        values = sorted({page.get(tag, default) for page in pages}, key=str)
        if len(values) > 1:
            said = ", ".join("none" if value is None else str(value) for value in values)
            raise DataError(f"The pages of the file {what} are {said}", where=path, fix="Save each as its own file.")
