"""What a TIFF says about itself: whether it is whole, and which of its axes are frames and channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import PAGES, UNNAMED, NamedAxes, Stacks, name_axes
from bioseg_cli.io.pixel_size import declares_entities
from bioseg_cli.io.tiff_pages import check_pages, main_series

_KINDS = ["shaped", "ome", "imagej", "lsm", "mmstack", "ndtiff", "fluoview", "sis", "eer", "scanimage"]
_KINDS += ["svs", "scn", "qpi", "bif", "avs", "philips"]
_BY_METADATA: dict[str, Any] = {f"is_{kind}": False for kind in _KINDS}
"""Tells tifffile to heed the pages alone, and no metadata."""


def is_tiff(path: Path) -> bool:
    """Whether the file starts as a TIFF: instruments and users give TIFFs many names, and PNGs that of a TIFF."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF; of metadata that can't be understood, or should not be, only the tags of its pages remain.

    Raises:
        DataError: pages are missing, or lie over each other.
    """
    tif = tifffile.TiffFile(path, _multifile=False)
    try:
        check_pages(tif, path)
        if not declares_entities(tif.pages.first.description) and tif.series:
            return tif
    except DataError:
        tif.close()
        raise
    except Exception:  # metadata are whatever a program made of them; damaged pages are met again below
        pass
    tif.close()
    return tifffile.TiffFile(path, _multifile=False, **_BY_METADATA)


def checked_series(tif: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The one image or series of images in the file.

    Raises:
        DataError: pages are missing, or there are several unrelated images.
    """
    series = main_series(tif, path)
    lost = any(page is None for page in series.pages)
    promised = (tif.imagej_metadata or {}).get("images", 1) if tif.is_imagej else 1
    if lost or (isinstance(promised, int) and promised > math.prod(series.shape[:-2])):
        fix = "Copy it again, or save it from Fiji as one TIFF."
        raise DataError("The metadata promise more images than the file holds", where=path, fix=fix)
    return series


def axes_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, stacks: Stacks | None, path: Path) -> NamedAxes:
    """What each axis of a series is, by the file or by what the user said of it; see `axes.name_axes`.

    Raises:
        DataError: nothing says so, what was said does not fit, or it is a volume whose planes were not asked for.
    """
    letters, page = series.axes.replace("Q", UNNAMED), series.keyframe
    if not {"Y", "X"} <= set(letters):
        letters = UNNAMED * (len(letters) - 2) + "YX"
    shaped = series.kind == "shaped" and "axes" not in (tif.shaped_metadata or ({},))[0]
    plain = series.kind in ("uniform", "generic")
    if page.photometric == tifffile.PHOTOMETRIC.RGB:
        # When it writes, tifffile takes arrays with 3 or 4 somewhere in their shape for colours, and a fourth for
        # opacity, which hardly any other program writes in more than 8 bits.
        opacity = alpha_channels(series, letters) and page.dtype != np.uint8
        if (shaped and page.axes[0] == "S") or ((shaped or plain) and opacity):
            letters = letters.replace("S", UNNAMED)
    if plain and _describes_axes(page.description):
        letters = letters.replace(PAGES, UNNAMED)
    return name_axes(letters, series.shape, stacks, path)


def _describes_axes(description: str) -> bool:
    """Whether metadata are there that name axes; where the pages are all that was understood, these are damaged."""
    return "<OME" in description or description.startswith(("ImageJ=", "SCIFIO=", '{"shape"'))


def frame_layout(shape: Sequence[int], axes: str) -> tuple[int, int, int, int]:
    """(F, C, H, W) of a stack: how many frames and channels its axes make, and the size of a frame."""
    sizes = [
        math.prod(size for axis, size in zip(axes, shape, strict=True) if axis in group)
        for group in (set(axes) - set("CSYX"), "CS", "Y", "X")
    ]
    return sizes[0], sizes[1], sizes[2], sizes[3]


def alpha_channels(series: tifffile.TiffPageSeries, axes: str) -> int:
    """How many of the last channels (0 or 1) are opacity."""
    extra = series.keyframe.extrasamples if "S" in axes else ()
    return int(bool(extra) and extra[-1] in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA))
