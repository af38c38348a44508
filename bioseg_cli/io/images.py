"""Reading image files: frames (C, H, W) in their own type, whole or by region.

A *frame* is one 2-D image with its channels. A page of a plain multi-page TIFF and a point of a time axis are frames; a
z axis makes a volume, refused unless its planes are asked for one by one, and axes that nothing names are refused
unless the user names them: see `axes`. Alpha is dropped: it is no measurement. Pixels are those a viewer shows:
upright, with palettes looked up, and inverted where zero is white (`tiff_photometric`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.arrays import checked_values
from bioseg_cli.io.axes import NamedAxes, Stacks
from bioseg_cli.io.channel_names import COLOURS, channel_names
from bioseg_cli.io.files import sha256_of
from bioseg_cli.io.folders import is_of_microscope, is_zarr
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.io.levels import no_level
from bioseg_cli.io.limits import check_memory
from bioseg_cli.io.orientation import ORIENTATION_TAG, TURNED, UPRIGHT, orientation_of, swaps_sides, upright
from bioseg_cli.io.pixel_size import PixelSize, stated_pixel_size
from bioseg_cli.io.rasters import decode_raster, raster_header
from bioseg_cli.io.tiff import axes_of, checked_series, frame_layout, is_tiff, open_tiff
from bioseg_cli.io.tiff_log import damage_refused
from bioseg_cli.io.tiff_pages import level_of
from bioseg_cli.io.tiff_photometric import appearance
from bioseg_cli.io.tiff_segments import TiffFrames

if TYPE_CHECKING:
    from bioseg_cli.io.named_array import NamedArray
    from bioseg_cli.io.ome_zarr import OmeZarrImage

Array = NDArray[Any]


class ImageFile:
    """An open image file, read frame by frame and region by region. A context manager.

    TIFFs are read as `tiff_segments.TiffFrames` says: of a file larger than memory, only what a region needs. So are
    OME-Zarr images. Other formats are decoded whole, when their first region is asked for; frames of a TIFF that does
    not lie upright likewise.

    Args:
        path: TIFF (plain, multi-page, OME, ImageJ, MetaMorph), PNG, JPEG, BMP, ND2, CZI or LIF, or the folder of an
            OME-Zarr image.
        stacks: what the user said of files with several images; None: the command has no options for them, and the
            full resolution is read.
        labels: the values are those of a mask: of a palette the numbers of the colours, and where zero is white
            nothing but black and white.

    Attributes:
        info: what the file holds.

    Raises:
        DataError: not an image, truncated, a stack whose axes, or planes, `stacks` had to say something of, a level
            that is not there, or colours that are not understood.
        UsageError: an OME-Zarr image or a file of a microscope, and the package that reads it is not installed.
    """

    def __init__(self, path: Path, stacks: Stacks | None = None, *, labels: bool = False) -> None:
        self.path = path
        self._labels = labels
        self._tif: tifffile.TiffFile | None = None
        self._named: NamedArray | None = None
        self._whole: tuple[int, Array] | None = None  # the number of a frame that was decoded whole, and its pixels
        level = 0 if stacks is None else stacks.level
        with reading_errors(path):
            if is_zarr(path):
                self._named = _ome_zarr(path, level)
                self.info = _named_info(self._named, stacks)
                return
            if is_of_microscope(path) and not is_tiff(path):
                self._named = _of_microscope(path)
                try:
                    self.info = _named_info(self._named, stacks)
                    if level:
                        raise no_level(level, [(self.info.height, self.info.width)], path)
                except BaseException:
                    self.close()
                    raise
                return
            if not is_tiff(path):
                raster = raster_header(path)
                if level:
                    raise no_level(level, [(raster.height, raster.width)], path)
                shape = (raster.channels, raster.height, raster.width)
                notes = () if raster.orientation == UPRIGHT else (TURNED,)
                names = COLOURS if raster.channels == 3 else ()
                turned = raster.orientation
                self.info = ImageInfo(
                    path, 1, *shape, raster.dtype, None, orientation=turned, notes=notes, channel_names=names
                )
                return
            try:
                with damage_refused(path):
                    self._tif = open_tiff(path)
                    series = checked_series(self._tif, path)
                    axes = axes_of(self._tif, series, stacks, path)
                    chosen = level_of(series, level, path)
                    self._frames = TiffFrames(self._tif, chosen, axes.letters)
                    self._frames.check_sizes(path)
                self._appearance = appearance(self._tif, chosen, path)
                self.info = self._tiff_info(self._tif, series, axes)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tiff_info(self, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: NamedAxes) -> ImageInfo:
        count, (channels, height, width) = self._frames.count, self._frames.shape
        full_height, full_width = frame_layout(series.shape, axes.letters)[2:]
        size, no_size = stated_pixel_size(tif, series.keyframe)
        dtype = np.dtype(np.uint8) if series.dtype == bool else series.dtype.newbyteorder("=")
        if self._appearance.palette is not None and not self._labels:
            channels, dtype = 3, np.dtype(np.uint8)
        orientation = orientation_of(series.keyframe.tags.valueof(ORIENTATION_TAG))
        if swaps_sides(orientation):
            height, width, full_height, full_width = width, height, full_width, full_height
            size = None if size is None else PixelSize(size.x, size.y, size.unit)
        notes = tuple(filter(None, (self._appearance.note, TURNED if orientation != UPRIGHT else None)))
        stack = axes.stack(series.shape)
        names = channel_names(tif, series.keyframe, channels)
        if self._appearance.palette is not None and not self._labels:
            names = COLOURS
        info = ImageInfo(
            self.path, count, channels, height, width, dtype, size, no_size, axes, stack, orientation, notes, names
        )
        if (full_height, full_width) == (height, width):
            return info
        info = replace(info, full_size=(full_height, full_width))
        return info if size is None else replace(info, pixel_size=size.times(*info.reduction))

    def close(self) -> None:
        """Close the file; nothing more can be read."""
        for opened in (self._tif, self._named):
            if opened is not None:
                opened.close()

    def read(self, frame: int = 0, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """Pixels (C, h, w) of a frame, or of the region of it between `rows` and `columns`, in the file's own type.

        Raises:
            DataError: there is no such frame, the region is damaged or truncated, its values are not finite numbers, or
                they are no labels where these were asked for.
        """
        with reading_errors(self.path):
            if not 0 <= frame < self.info.frames:
                raise DataError(f"There is no frame {frame}: the file holds {self.info.frames}", where=self.path)
            info = self.info
            rows, columns = slice(*rows.indices(info.height)[:2]), slice(*columns.indices(info.width)[:2])
            whole = (rows.stop - rows.start, columns.stop - columns.start) == (info.height, info.width)
            if whole or info.orientation != UPRIGHT:
                # A region is as large as its reader can bear; who reads a frame whole may not know how large it is.
                check_memory(self.path, f"A frame of {info.height} x {info.width} pixels", info.frame_bytes)
            if self._named is not None:
                return checked_values(self._named.region(frame, rows, columns), self.path)
            if self._tif is not None and self.info.orientation == UPRIGHT:
                return self._tiff_pixels(frame, rows, columns)
            if self._whole is None or self._whole[0] != frame:
                self._whole = frame, self._frame_upright(frame)
            return np.array(self._whole[1][:, rows, columns], order="C")

    def _frame_upright(self, frame: int) -> Array:
        if self._tif is None:
            return checked_values(decode_raster(self.path, numbers=self._labels), self.path)
        height, width = self.info.stored_shape
        return upright(self._tiff_pixels(frame, slice(0, height), slice(0, width)), self.info.orientation)

    def _tiff_pixels(self, frame: int, rows: slice, columns: slice) -> Array:
        """Pixels (C, h, w) of a region, in the place where the file has it."""
        stored = self._frames.region(frame, rows, columns)
        shown = self._appearance.mask(stored, self.path) if self._labels else self._appearance.image(stored)
        return checked_values(shown, self.path)


def _ome_zarr(path: Path, level: int) -> OmeZarrImage:
    from bioseg_cli.io.ome_zarr import OmeZarrImage  # not installed with every bioseg

    return OmeZarrImage(path, level)


def _of_microscope(path: Path) -> NamedArray:
    from bioseg_cli.io.microscopes import MicroscopeImage  # what it reads with is not installed with every bioseg

    return MicroscopeImage(path)


def _named_info(image: NamedArray, stacks: Stacks | None) -> ImageInfo:
    axes = image.named_axes(stacks)
    size, no_size = image.pixel_size()
    return ImageInfo(
        image.path,
        frames=math.prod(image.frame_shape),
        channels=image.size_of("C"),
        height=image.size_of("Y"),
        width=image.size_of("X"),
        dtype=image.dtype,
        pixel_size=size,
        no_size=no_size,
        axes=axes,
        stack=axes.stack(image.shape),
        channel_names=image.channel_names,
        full_size=image.full_size,
    )


def sha256_of_image(path: Path, level: int = 0) -> str:
    """The SHA-256 of an image file, or of the metadata and a level of an OME-Zarr image; raises like `ImageFile`."""
    with reading_errors(path):
        return _ome_zarr(path, level).sha256() if is_zarr(path) else sha256_of(path)


def inspect_image(path: Path, stacks: Stacks | None = None) -> ImageInfo:
    """Frames, channels, shape, type and pixel size of an image file, from its header; raises like `ImageFile`."""
    with ImageFile(path, stacks) as file:
        return file.info


def read_frames(path: Path, stacks: Stacks | None = None) -> Iterator[Array]:
    """Yield the frames of an image file in order, each (C, H, W) in the file's own type; see `ImageFile`.

    Raises:
        DataError: see `ImageFile`; or values that are not finite numbers.
    """
    with ImageFile(path, stacks) as file:
        for frame in range(file.info.frames):
            yield file.read(frame)


def read_frame(path: Path, frame: int = 0, stacks: Stacks | None = None) -> Array:
    """Frame number `frame` of an image file, (C, H, W), read without the others; see `ImageFile`."""
    with ImageFile(path, stacks) as file:
        return file.read(frame)


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Raise what goes wrong within it as a `DataError` that names the file and says what to do."""
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise DataError("The image is no ordinary file", where=path, fix="Give a file on a disk.")
        if path.stat().st_size == 0 and not path.is_dir():
            raise DataError("The file is empty", where=path, fix="Copy or export it again.")
        yield
    except (BiosegError, MemoryError, GeneratorExit):
        raise
    except FileNotFoundError:
        raise DataError("No such file", where=path, fix="Check the path.") from None
    except PermissionError:
        raise DataError("You may not read the file", where=path, fix="Check its permissions.") from None
    except Exception as error:  # the decoders raise whatever a damaged file makes them meet
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        fix = "It is damaged, truncated, or of another format than its name says: copy or export it again."
        raise DataError(f"The image could not be read ({reason})", where=path, fix=fix) from error
