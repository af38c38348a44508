"""Pyramids as whole-slide scanners and converters write them, by tifffile and not by bioseg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray


def level_of(pixels: NDArray[Any], level: int, axes: str = "YX") -> NDArray[Any]:
    """Every second, fourth, ... row and column."""
    step = slice(None, None, 2**level)
    return pixels[tuple(step if axis in "YX" else slice(None) for axis in axes)]


def write_ome_pyramid(
    path: Path, pixels: NDArray[Any], axes: str = "YX", *, levels: int = 3, size: float = 0.5, **options: Any
) -> Path:
    """An OME-TIFF in tiles of 32 pixels; the smaller levels are in the SubIFDs of its pages."""
    told = {"tile": (32, 32), "compression": "zlib", **options}
    with tifffile.TiffWriter(path, ome=True) as tif:
        metadata = {"axes": axes, "PhysicalSizeX": size, "PhysicalSizeY": size}
        metadata |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        tif.write(pixels, subifds=levels - 1, metadata=metadata, **told)
        for level in range(1, levels):
            tif.write(np.ascontiguousarray(level_of(pixels, level, axes)), subfiletype=1, **told)
    return path


def write_paged_pyramid(path: Path, pixels: NDArray[Any], *, levels: int = 3, size: float = 0.5) -> Path:
    """A plain TIFF whose further pages call themselves reduced images, as GDAL and libvips write them."""
    with tifffile.TiffWriter(path) as tif:
        for level in range(levels):
            resolution = {"resolution": (1e4 / size / 2**level,) * 2, "resolutionunit": "CENTIMETER"}
            reduced = np.ascontiguousarray(level_of(pixels, level))
            tif.write(reduced, tile=(32, 32), subfiletype=int(level > 0), metadata=None, **resolution)
    return path
