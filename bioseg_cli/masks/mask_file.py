"""Mask files: the labels they hold, and what a file says of them: palette, largest value of its type, lossy storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.folders import is_zarr
from bioseg_cli.io.images import ImageFile, reading_errors
from bioseg_cli.io.tiff import is_tiff

_LOSSY_COMPRESSIONS = (6, 7, 33007, 34892)
"""TIFF's numbers of JPEG."""


@dataclass(frozen=True)
class MaskTraits:
    """What a mask file says of its values.

    Attributes:
        palette: red, green and blue of index 0, of index 1, ..., a byte each. None: the values are no indices.
        full: largest value that a pixel of the file can hold; None: not known.
        lossy: JPEG compression changed the values when the file was written.
    """

    palette: bytes | None = None
    full: int | None = None
    lossy: bool = False

    def colours(self, indices: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours (..., 3) that the palette gives to indices (...).

        Raises:
            DataError: the palette is too short.
        """
        entries = np.frombuffer(self.palette or b"", dtype=np.uint8).reshape(-1, 3)
        if indices.max(initial=0) >= len(entries):
            raise DataError(f"The mask holds the index {indices.max()}, its palette {len(entries)} colours")
        shown: NDArray[np.uint8] = entries[indices]
        return shown

    def shown(self, indices: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours (H, W, 3) of indices (H, W), or greys (H, W) where all colours are grey; see `colours`."""
        colours = self.colours(indices)
        grey = bool((colours == colours[..., :1]).all())
        return np.ascontiguousarray(colours[..., 0]) if grey else colours


NO_TRAITS = MaskTraits()


def mask_traits(path: Path) -> MaskTraits:
    """Read the traits of a mask file from its header. A palette that is a ramp of greys is none: it changes nothing.

    Raises:
        DataError: the file is damaged.
    """
    if is_zarr(path):
        return NO_TRAITS
    with reading_errors(path):
        entries, full, lossy = _of_tiff(path) if is_tiff(path) else _of_raster(path)
    if entries is None or _is_ramp(entries):
        return MaskTraits(None, full, lossy)
    return MaskTraits(entries.tobytes(), full, lossy)


def _of_tiff(path: Path) -> tuple[NDArray[np.uint8] | None, int | None, bool]:
    """Palette, largest value of a pixel, and whether it is lossy."""
    with tifffile.TiffFile(path, _multifile=False) as tif:
        page = tif.pages.first
        full = 2**page.bitspersample - 1 if page.dtype is not None and page.dtype.kind in "ub" else None
        return _tiff_palette(page), full, page.compression in _LOSSY_COMPRESSIONS


def _of_raster(path: Path) -> tuple[NDArray[np.uint8] | None, int | None, bool]:
    """See `_of_tiff`."""
    with Image.open(path) as image:
        entries = _raster_palette(image) if image.mode == "P" else None
        full = 1 if image.mode == "1" else 65535 if image.mode.startswith("I") else 255
        return entries, full, image.format in ("JPEG", "MPO")


def read_mask(path: Path, frame: int = 0, stacks: Stacks | None = None) -> NDArray[Any]:
    """A label mask: (H, W) integers, or (H, W, 3) where the colours differ between channels.

    A palette gives its indices, not its colours, unless it is a ramp of greys; whole numbers stored as floats become
    integers.

    Raises:
        DataError: unreadable, fractions instead of labels, a number of channels that is neither 1 nor 3, or numbers of
            objects or classes in a file where zero is white.
    """
    with ImageFile(path, stacks, labels=True) as file:
        pixels: NDArray[Any] = file.read(frame)
    with reading_errors(path):
        pixels = _grey_values(path, pixels)
    if pixels.dtype.kind == "f":
        if not np.array_equal(pixels, np.rint(pixels)):
            raise DataError("The mask holds fractions, not labels", where=path, fix="Give a mask of whole numbers.")
        pixels = pixels.astype(np.int64)
    if all(np.array_equal(pixels[0], other) for other in pixels[1:]):
        first: NDArray[Any] = pixels[0]
        return first
    if len(pixels) != 3:
        raise DataError(f"The mask has {len(pixels)} channels", where=path, fix="A mask has one channel, or a colour.")
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def _grey_values(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """The greys of indices (...) where the palette of the file is a ramp of greys; all other values as they are."""
    entries = _palette(path)
    if entries is None or not _is_ramp(entries) or values.max(initial=0) >= len(entries):
        return values
    greys: NDArray[Any] = entries[values, 0]
    return greys


def _palette(path: Path) -> NDArray[np.uint8] | None:
    if is_zarr(path):
        return None
    if is_tiff(path):
        with tifffile.TiffFile(path, _multifile=False) as tif:
            return _tiff_palette(tif.pages.first)
    with Image.open(path) as image:
        return _raster_palette(image) if image.mode == "P" else None


def _tiff_palette(page: tifffile.TiffPage) -> NDArray[np.uint8] | None:
    """Colours (n, 3); TIFF writes them with 16 bits, some with 8. Raises `ValueError` where they are others."""
    if page.colormap is None:
        return None
    entries = np.asarray(page.colormap).T
    if entries.ndim != 2 or entries.shape[1] != 3 or entries.dtype.kind not in "ui":
        raise ValueError(f"a palette of {' x '.join(map(str, entries.shape)) or 'one'} values of {entries.dtype}")
    return (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8)


def _raster_palette(image: Image.Image) -> NDArray[np.uint8]:
    """Colours (n, 3); what is wholly transparent shows nothing, and is black like a background."""
    entries = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and transparent < len(entries):
        entries[transparent] = 0
    elif isinstance(transparent, bytes):
        alpha = np.frombuffer(transparent, dtype=np.uint8)[: len(entries)]
        entries[: len(alpha)][alpha == 0] = 0
    return entries


def _is_ramp(entries: NDArray[np.uint8]) -> bool:
    """Whether a palette goes from black to white in equal steps of grey."""
    if len(entries) < 2 or not (entries == entries[:, :1]).all():
        return False
    even = np.arange(len(entries)) * 255 / (len(entries) - 1)
    return bool((np.abs(entries[:, 0] - even) <= 1).all())
