"""Writing image files: label masks, probabilities and images as TIFFs with their pixel size, pictures as PNGs."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.io.files import replacing
from bioseg_cli.io.legend import Legend
from bioseg_cli.io.pixel_size import MICROMETRE, PixelSize

Array = NDArray[Any]

_LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25
_TYPES_OF_IMAGEJ = ("uint8", "uint16", "int16", "float32")


def write_labels(path: Path, labels: Array, pixel_size: PixelSize | None, legend: Legend | None = None) -> None:
    """Write labels (H, W), or frames of them (F, H, W), as a compressed ImageJ TIFF of the smallest sufficient type.

    Raises:
        DataError: a label below 0 or above 65535, which no mask file of this kind can hold, or a full disk.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"Labels from {low} to {high} do not fit a 16-bit mask", where=path)
    smallest = labels.astype(np.uint8 if high < 256 else np.uint16)
    _write_tiff(path, smallest, "TYX"[-labels.ndim :], pixel_size, legend)


def write_probabilities(path: Path, probabilities: Array, pixel_size: PixelSize | None) -> None:
    """Write probabilities (K, H, W), or frames of them (F, K, H, W), as a float32 ImageJ TIFF, a channel a class."""
    _write_tiff(path, probabilities.astype(np.float32, copy=False), "TCYX"[-probabilities.ndim :], pixel_size)


def write_image(path: Path, pixels: Array, pixel_size: PixelSize | None) -> None:
    """Write an image (C, H, W), or frames (F, C, H, W), in its own values as a compressed TIFF.

    Three channels of 8 bits are colours, as programs expect them.

    Raises:
        DataError: a full disk.
    """
    if pixels.dtype == np.float16:  # few programs read it, and float32 has the same values
        pixels = pixels.astype(np.float32)
    channels, frames = pixels.shape[-3], "T" * (pixels.ndim - 3)
    if channels == 1:
        _write_tiff(path, pixels[..., 0, :, :], f"{frames}YX", pixel_size)
    elif channels == 3 and pixels.dtype == np.uint8:
        _write_tiff(path, np.ascontiguousarray(np.moveaxis(pixels, -3, -1)), f"{frames}YXS", pixel_size)
    else:
        _write_tiff(path, pixels, f"{frames}CYX", pixel_size)


def write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an 8-bit colour picture (H, W, 3)."""
    with replacing(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def _write_tiff(
    path: Path, pixels: Array, axes: str, pixel_size: PixelSize | None, legend: Legend | None = None
) -> None:
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, pixels, **tiff_options(pixels.shape, pixels.dtype, axes, pixel_size, legend))


def tiff_options(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, size: PixelSize | None, legend: Legend | None = None
) -> dict[str, Any]:
    """What `tifffile.imwrite` is told for zlib pages of such an array: an ImageJ TIFF, or an OME one where need be.

    An OME TIFF holds the names of a legend, and neither its colours nor a display range.
    """
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"imagej": True}
    # ImageJ's own format ends at 4 GB, and has a few types.
    if math.prod(shape) * dtype.itemsize > _LARGEST_CLASSIC_TIFF_BYTES or dtype.name not in _TYPES_OF_IMAGEJ:
        options = {"ome": True, "bigtiff": True}
        metadata |= {} if legend is None else {"Description": legend.text}
        if size is not None:
            metadata |= {"PhysicalSizeY": size.y, "PhysicalSizeX": size.x}
            metadata |= {"PhysicalSizeYUnit": size.unit, "PhysicalSizeXUnit": size.unit}
        return _zlib(axes, metadata, options)
    if legend is not None:
        metadata |= legend.metadata()
        options["extratags"] = legend.tags()
    if size is not None:
        metadata["unit"] = ("um" if size.unit == MICROMETRE else size.unit).encode("ascii", "replace").decode()
        options["resolution"] = (_pixels_per_unit(size.x), _pixels_per_unit(size.y))
    return _zlib(axes, metadata, options)


def _zlib(axes: str, metadata: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    colours = "rgb" if axes.endswith("S") else "minisblack"
    return {"photometric": colours, "compression": "zlib", "metadata": metadata, **options}


def _pixels_per_unit(size: float) -> tuple[int, int]:
    # The fraction is inverted as a fraction, so that 0.65 comes back as 0.65; both parts have 32 bits in the file.
    fraction = Fraction(size).limit_denominator(int((2**32 - 1) / max(size, 1)))
    return fraction.denominator, fraction.numerator
