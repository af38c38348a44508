"""PNG, JPEG and BMP: what they hold, and their pixels as a viewer shows them, alpha dropped. They are decoded whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.limits import GIB, LARGEST, check_memory, largest_bytes
from bioseg_cli.io.orientation import ORIENTATION_TAG, UPRIGHT, orientation_of, swaps_sides, upright

Image.MAX_IMAGE_PIXELS = largest_bytes()  # Pillow's own guard is smaller than a microscope's mosaic
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_memory` refuses what it warns of

_FORMATS = ("PNG", "JPEG", "MPO", "BMP")  # MPO is a JPEG with further pictures behind it, which viewers do not show
_PNG_GREY = (0, 4)  # colour types, without and with alpha
_PNG_TEXT_CHUNKS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True)
class RasterHeader:
    """What a PNG, JPEG or BMP holds: the shape is that of the image as a viewer shows it, its alpha is not counted."""

    dtype: np.dtype[Any]
    channels: int
    height: int
    width: int
    orientation: int


def raster_header(path: Path) -> RasterHeader:
    """What the file holds.

    Raises:
        DataError: another format under this name, an animation, colours that are inks, or more pixels than memory
            should hold.
    """
    with _opened(path) as image:
        _check(image, path)
        channels = 1 if image.mode in ("1", "L") else 3
        dtype: np.dtype[Any] = np.dtype(np.uint8)
        with path.open("rb") as stream:
            if image.format == "PNG":  # Pillow shows 16 bits of colours as 8, and of grey values with alpha as colours
                depth, colour_type = stream.read(26)[24:]
                dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
                channels = 1 if colour_type in _PNG_GREY else 3
            shape = f"{image.height} x {image.width} pixels, {channels} channel{'s' * (channels > 1)} of {dtype}"
            check_memory(path, f"The image ({shape})", image.height * image.width * channels * dtype.itemsize)
            orientation = _orientation(image, stream)
        height, width = (image.width, image.height) if swaps_sides(orientation) else (image.height, image.width)
        return RasterHeader(dtype, channels, height, width, orientation)


def decode_raster(path: Path, *, numbers: bool = False) -> NDArray[Any]:
    """Pixels (C, H, W) of a PNG, JPEG or BMP, alpha dropped, as a viewer shows them.

    Args:
        path: the file.
        numbers: of an image with a palette, the numbers of its colours (1, H, W) and not the colours.
    """
    header = raster_header(path)
    with Image.open(path) as image:
        if numbers and image.mode == "P":
            return upright(np.array(image)[None], header.orientation)
        # Pillow squeezes 16-bit colour through 8 bits; libpng warns of every interlaced file.
        if image.format == "PNG" and (header.dtype == np.uint16 or not image.info.get("interlace")):
            pixels = imagecodecs.png_decode(path.read_bytes())
            if image.mode == "1":
                pixels = pixels // 255
        elif image.mode == "1":
            pixels = np.asarray(image).astype(np.uint8)
        else:
            pixels = np.asarray(image.convert("L" if header.channels == 1 else "RGB"))
    return upright(np.moveaxis(np.atleast_3d(pixels)[..., : header.channels], -1, 0), header.orientation)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Image.DecompressionBombError as error:
        what = f"The image takes more memory than the limit of {largest_bytes() / GIB:g} GiB allows ({error})"
        raise DataError(what, where=path, fix=f"Where it is what it should be, set {LARGEST}.") from None


def _check(image: Image.Image, path: Path) -> None:
    if image.format not in _FORMATS:
        what = f"The file is a {image.format} under another name"
        raise DataError(what, where=path, fix="Save it as TIFF or PNG; renaming changes nothing.")
    frames = getattr(image, "n_frames", 1)
    if image.format == "PNG" and frames > 1:
        what = f"The PNG is an animation of {frames} frames"
        raise DataError(what, where=path, fix="Save each frame as its own file, or all as pages of a TIFF.")
    if image.mode == "CMYK":
        what = "The colours are stored as CMYK or other inks, which look different on every paper"
        raise DataError(what, where=path, fix="Save the image as grey values or RGB.")


def _orientation(image: Image.Image, stream: IO[bytes]) -> int:
    # Of a PNG Pillow decodes all pixels to look for EXIF behind them: only where there is any.
    if image.format == "BMP" or (image.format == "PNG" and not _has_text(stream)):
        return UPRIGHT
    return orientation_of(image.getexif().get(ORIENTATION_TAG))


def _has_text(stream: IO[bytes]) -> bool:
    """Whether a PNG holds chunks in which EXIF may be."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        if head[4:] in _PNG_TEXT_CHUNKS:
            return True
        stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False
