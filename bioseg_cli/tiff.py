"""What a TIFF says about itself: whether it is whole, which axes are frames and channels, how large a pixel is."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bioseg_cli.errors import DataError
from bioseg_cli.pages import main_series

Calibration = tuple[float, float, str]

MICROMETRE = "µm"
_UNITS = {"µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0}
_UNITS |= {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "å": 1e-4, "pm": 1e-6}  # in micrometres
_CENTIMETRE = 3  # TIFF ResolutionUnit; 2 is the inch, which screens and printers use, so it says nothing of the sample
_LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25


def is_tiff(path: Path) -> bool:
    """Whether the file starts as a TIFF: instruments and users give TIFFs many names, and PNGs that of a TIFF."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def checked_series(tif: tifffile.TiffFile, path: Path, *, planes: bool) -> tifffile.TiffPageSeries:
    """The one image or series of images in the file.

    Raises:
        DataError: pages are missing, there are several unrelated images, or it is a volume while `planes` is false.
    """
    series = main_series(tif, path)
    lost = any(page is None for page in series.pages)
    promised = (tif.imagej_metadata or {}).get("images", 1) if tif.is_imagej else 1
    if lost or promised > math.prod(series.shape[:-2]):
        fix = "Copy it again, or save it from Fiji as one TIFF."
        raise DataError("The metadata promise more images than the file holds", where=path, fix=fix)
    frame_axes = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXSC" and n > 1]
    if not planes and (len(frame_axes) > 1 or any(axis == "Z" for axis, _ in frame_axes)):
        axes = " x ".join(f"{axis}={size}" for axis, size in frame_axes)
        fix = "Give --planes to take every plane as an image of its own."
        raise DataError(f"The file is a volume ({axes}), not a 2-D image or a series of them", where=path, fix=fix)
    return series


def frame_layout(series: tifffile.TiffPageSeries) -> tuple[list[int], tuple[int, int, int, int]]:
    """Order of the series axes that puts frames first, and the shape (F, C, H, W) they then reshape to."""
    axes = series.axes
    channels = [i for i, axis in enumerate(axes) if axis in "CS"]
    outer = [i for i, axis in enumerate(axes) if axis not in "CSYX"]
    height, width = axes.index("Y"), axes.index("X")
    sizes = [math.prod(series.shape[i] for i in group) for group in (outer, channels, [height], [width])]
    return [*outer, *channels, height, width], (sizes[0], sizes[1], sizes[2], sizes[3])


def alpha_channels(series: tifffile.TiffPageSeries) -> int:
    """How many of the last channels (0 or 1) are opacity."""
    extra = series.keyframe.extrasamples if "S" in series.axes else ()
    return int(bool(extra) and extra[-1] in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA))


def calibration(tif: tifffile.TiffFile) -> Calibration | None:
    """Height, width and unit of a pixel, from OME, MetaMorph or ImageJ metadata, or a resolution per centimetre."""
    page = tif.pages.first
    if tif.is_ome and tif.ome_metadata:
        pixels = next((e for e in ElementTree.fromstring(tif.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
        if pixels is None or "PhysicalSizeX" not in pixels.attrib:
            return None
        size_x, unit_x = float(pixels.get("PhysicalSizeX", 0)), pixels.get("PhysicalSizeXUnit", MICROMETRE)
        size_y = float(pixels.get("PhysicalSizeY", size_x))
        return _in_micrometres(size_y, size_x, unit_x)
    if tif.is_stk and tif.stk_metadata and tif.stk_metadata.get("SpatialCalibration"):
        stk = tif.stk_metadata
        return _in_micrometres(stk["YCalibration"], stk["XCalibration"], str(stk["CalibrationUnits"]))
    densities = [page.tags[name].value for name in ("YResolution", "XResolution") if name in page.tags]
    if len(densities) != 2 or not all(math.prod(density) for density in densities):
        return None
    size_y, size_x = (denominator / numerator for numerator, denominator in densities)
    if tif.is_imagej and tif.imagej_metadata:
        return _in_micrometres(size_y, size_x, str(tif.imagej_metadata.get("unit", "")))
    unit = page.tags["ResolutionUnit"].value if "ResolutionUnit" in page.tags else None
    return _in_micrometres(size_y, size_x, "cm") if unit == _CENTIMETRE else None


def _in_micrometres(y: float, x: float, unit: str) -> Calibration | None:
    unit = unit.strip().strip("\0").replace("\\u00B5", "µ").replace("\u03bc", "µ")
    if unit.lower() in ("", "pixel", "pixels", "inch", "none") or not (0 < y < math.inf and 0 < x < math.inf):
        return None
    if unit.lower() not in _UNITS:
        return y, x, unit
    factor = _UNITS[unit.lower()]
    return y * factor, x * factor, MICROMETRE


def writing_options(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, size: Calibration | None
) -> dict[str, Any]:
    """What `tifffile.imwrite` is told for zlib pages of such an array: an ImageJ TIFF, beyond 4 GB an OME one."""
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"imagej": True}
    if math.prod(shape) * dtype.itemsize > _LARGEST_CLASSIC_TIFF_BYTES:  # ImageJ's own format ends at 4 GB
        options = {"ome": True, "bigtiff": True}
        if size is not None:
            metadata |= {"PhysicalSizeY": size[0], "PhysicalSizeX": size[1]}
            metadata |= {"PhysicalSizeYUnit": size[2], "PhysicalSizeXUnit": size[2]}
    elif size is not None:
        height, width, unit = size
        metadata["unit"] = ("um" if unit == MICROMETRE else unit).encode("ascii", "replace").decode()
        options["resolution"] = (_pixels_per_unit(width), _pixels_per_unit(height))
    return {"photometric": "minisblack", "compression": "zlib", "metadata": metadata, **options}


def _pixels_per_unit(size: float) -> tuple[int, int]:
    # The fraction is inverted as a fraction, so that 0.65 comes back as 0.65; both parts have 32 bits in the file.
    fraction = Fraction(size).limit_denominator(int((2**32 - 1) / max(size, 1)))
    return fraction.denominator, fraction.numerator
