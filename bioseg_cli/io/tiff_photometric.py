"""What the stored values of a TIFF look like: whether white is zero, what a palette stands for, which colours they are.

tifffile gives values as they are stored. A viewer inverts them where PhotometricInterpretation says that white is zero,
and looks colours up in a palette. Two programs write "white is zero" and mean the values as they are: ImageJ, for which
it is the inverting lookup table of the display, so that a mask has 255 where the object is, and tifffile, for every
array of truth values, so that a mask has 1 there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.tiff import alpha_channels

Array = NDArray[Any]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_CCITT = (2, 3, 4)
_JPEG = (6, 7, 33007, 34892)
_APERIO_YCBCR = 33003
_DISPLAY_PALETTES = ("imagej", "nih", "ome", "stk", "lsm", "fluoview", "sis", "micromanager", "metaseries")
_BITS_IN_EITHER_ORDER = (24,)  # of little-endian files: libtiff swaps the three bytes, tifffile does not
_WITHOUT_PREDICTOR = (1, 32773)
_GREY_OR_RGB = "Save the image as grey values or RGB."
_BLACK_AS_ZERO = "Save it with black as zero: in Fiji, turn Image > Lookup Tables > Invert LUT off."


@dataclass(frozen=True)
class Appearance:
    """How stored values become those a viewer shows.

    Attributes:
        white: the largest value of the type, where zero is white: a value v is shown as white - v.
        palette: (3, N) colours of 8 bits, where values are numbers of colours.
        note: what is done about it, where the user should know.
    """

    white: int | None = None
    palette: NDArray[np.uint8] | None = None
    note: str | None = None

    def image(self, stored: Array) -> Array:
        """Pixels (C, H, W) of an image as a viewer shows them; those of a palette have three channels."""
        if self.palette is not None:
            colours: Array = self.palette[:, stored[0].astype(np.uint8) if stored.dtype == bool else stored[0]]
            return colours
        return self._inverted(stored)

    def mask(self, stored: Array, path: Path) -> Array:
        """Labels (C, H, W) of a mask: black and white as a viewer shows them, and the numbers of a palette's colours.

        Raises:
            DataError: zero is white, and there are values between black and white: numbers of objects or of classes
                would be inverted too.
        """
        if self.white is not None and stored.dtype != bool:
            between = np.unique(stored[(stored != 0) & (stored != self.white)])
            if between.size:
                values = ", ".join(map(str, between[:5].tolist())) + (", ..." if between.size > 5 else "")
                what = f"White is zero in this mask, and it holds other values than black and white ({values})"
                raise DataError(what, where=path, fix=_BLACK_AS_ZERO)
        return self._inverted(stored)

    def _inverted(self, stored: Array) -> Array:
        if self.white is None:
            return stored
        return ~stored if stored.dtype == bool else np.subtract(stored.dtype.type(self.white), stored)


def appearance(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> Appearance:
    """How the stored values of a series become those a viewer shows.

    Raises:
        DataError: the colours are none that can be turned into grey values or RGB without a guess, zero is white
            for signed numbers, floats or several channels, the type of the pixels is not understood, or differences
            are stored (a predictor) without a compression that goes with them.
    """
    page = series.keyframe
    if page.dtype is None or series.dtype is None or page.bitspersample in _BITS_IN_EITHER_ORDER:
        what = f"Pixels of {page.bitspersample} bits (SampleFormat {int(page.sampleformat)}) are not understood"
        raise DataError(what, where=path, fix="Save the image with 8, 16 or 32 bits a pixel.")
    if page.predictor != 1 and page.compression in _WITHOUT_PREDICTOR:
        what = "The values are stored as differences (a predictor), which this compression does not have"
        raise DataError(what, where=path, fix="Save it again: programs read it in different ways.")
    photometric = _photometric(page)
    if photometric == _WHITE_IS_ZERO:
        return _white_is_zero(tif, series, path)
    if photometric == _PALETTE:
        return _palette(tif, page, page.dtype, path)
    if photometric == _YCBCR and page.compression in _JPEG and page.planarconfig == 1 and not page.extrasamples:
        return Appearance()  # the decoder gives RGB
    if photometric not in (_BLACK_IS_ZERO, _RGB) or page.compression == _APERIO_YCBCR:
        raise DataError(f"The colours are stored as {_name(photometric, page)}", where=path, fix=_GREY_OR_RGB)
    return Appearance()


def _photometric(page: tifffile.TiffPage) -> int:
    if "PhotometricInterpretation" in page.tags or page.compression == 6:
        return int(page.photometric)
    # A file that does not say is read as libtiff does: fax codes have ink on white paper.
    return _WHITE_IS_ZERO if page.compression in _CCITT else _BLACK_IS_ZERO


def _white_is_zero(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> Appearance:
    page = series.keyframe
    if tif.is_imagej or tif.is_shaped or page.software.startswith("tifffile"):
        program = "ImageJ" if tif.is_imagej else "tifffile"
        return Appearance(note=f"white is zero for display alone, as {program} writes it, the values stay as stored")
    if page.samplesperpixel - alpha_channels(series, series.axes) > 1:
        what = f"White is zero, and a pixel has {page.samplesperpixel} channels: which of them are inverted is not said"
        raise DataError(what, where=path, fix="Save it with black as zero, a page a channel.")
    if series.dtype.kind not in "ub":
        what = f"White is zero, which has no agreed meaning for values of type {series.dtype}"
        raise DataError(what, where=path, fix=_BLACK_AS_ZERO)
    return Appearance(
        white=2 ** int(page.bitspersample) - 1,
        note="white is zero in the file, the values are inverted as a viewer shows them",
    )


def _palette(tif: tifffile.TiffFile, page: tifffile.TiffPage, dtype: np.dtype[Any], path: Path) -> Appearance:
    if any(getattr(tif, f"is_{kind}") for kind in _DISPLAY_PALETTES):
        return Appearance()  # microscopes colour their intensities for the screen
    colours = page.colormap
    if colours is None or dtype.kind not in "ub" or colours.shape[1] < 2 ** int(page.bitspersample):
        raise DataError("The palette of the colours is missing or incomplete", where=path, fix=_GREY_OR_RGB)
    # Palettes have 16 bits; some old programs wrote 8, which is told, as in libtiff, by there being no larger value.
    return Appearance(palette=(colours if colours.max() < 256 else colours >> 8).astype(np.uint8))


def _name(photometric: int, page: tifffile.TiffPage) -> str:
    if photometric == _SEPARATED:
        return "CMYK or other inks, which look different on every paper"
    if photometric == _YCBCR or page.compression == _APERIO_YCBCR:
        return "YCbCr without JPEG compression"
    try:
        return f"{tifffile.PHOTOMETRIC(photometric).name} (PhotometricInterpretation {photometric})"
    except ValueError:
        return f"PhotometricInterpretation {photometric}"
