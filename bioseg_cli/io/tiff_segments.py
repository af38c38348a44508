"""Frames of a TIFF, region by region: only the strips and tiles of the file that hold a region are decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from bioseg_cli.io.axes import frame_axes
from bioseg_cli.io.limits import check_declared, check_memory
from bioseg_cli.io.tiff import alpha_channels, frame_layout
from bioseg_cli.processors import processors

Array = NDArray[Any]
Page = tifffile.TiffPage | tifffile.TiffFrame
_Pieces = dict[tuple[int, int], Array | None]
"""Decoded strips and tiles by page and number; None for one that was never written."""

DECODERS = min(4, processors())
"""Strips or tiles decoded at once; the decoders release the interpreter lock."""

_THREADED_BYTES = 2**20  # less is decoded sooner than threads start
_JPEG = (6, 7, 33007, 34892)


class TiffFrames:
    """The frames (C, H, W) of an open series whose axes have such letters, without alpha.

    Stored in one piece and uncompressed, a region is copied out of the mapped file. Strips and tiles are decoded as
    they are needed; those that reach below a region are kept for the next one, so that reading from top to bottom
    decodes each once. Other layouts are decoded whole, at the first region.

    Attributes:
        count: number of frames.
        shape: (C, H, W).
    """

    def __init__(self, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str) -> None:
        self.count, channels, height, width = frame_layout(series.shape, axes)
        self.shape = (channels - alpha_channels(series, axes), height, width)
        self._axes = axes
        self._file = tif.filehandle
        self._byteorder = tif.byteorder
        self._series = series
        self._offset = series.dataoffset
        self._whole: Array | None = None
        self._kept: _Pieces = {}

    def check_sizes(self, path: Path) -> None:
        """Refuse what takes more memory than is allowed, or is more than the file can hold; see `limits`.

        Raises:
            DataError: a strip or tile of the file, or all of it where it is decoded whole, or the declared size.
        """
        series, keyframe = self._series, self._series.keyframe
        if self._offset is not None:
            return  # every byte is in the file, or reading it fails
        shape = " x ".join(map(str, series.shape))
        what = f"The image ({shape} values of the type {series.dtype})"
        if not _in_pages(series, self._axes):
            check_memory(path, what, series.nbytes)
        elif not keyframe.is_final:
            rows = min(keyframe.rowsperstrip, self.shape[1])
            tall, wide = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else (rows, self.shape[2])
            piece = f"A {'tile' if keyframe.is_tiled else 'strip'} of {tall} x {wide} pixels"
            check_memory(path, piece, tall * wide * keyframe.shaped[-1] * series.dtype.itemsize)
            check_declared(path, what, series.nbytes, self._file.size)

    def region(self, number: int, rows: slice, columns: slice) -> Array:
        """Pixels (C, h, w) of frame `number`, in the type of the file and its byte order.

        Args:
            number: of the frame.
            rows: from and to which row, both within the image.
            columns: likewise.

        Raises:
            Exception: whatever the decoders raise when the file is damaged or truncated.
        """
        if self._offset is not None:
            # Mapped anew each time: the pages of the file that were looked at then do not add up in memory.
            stored = self._series.dtype.newbyteorder(self._byteorder)
            stack = self._file.memmap_array(stored, self._series.shape, self._offset)
            pixels = window(stack, self._axes, number, rows, columns)
        elif _in_pages(self._series, self._axes):
            before, self._kept = self._kept, {}
            pixels = np.concatenate([self._page(page, rows, columns, before) for page in self._pages_of(number)])
        else:
            if self._whole is None:
                for page in self._series.pages:
                    self._check_inside(() if page is None else page.databytecounts)
                self._whole = self._series.asarray()
            pixels = window(self._whole, self._axes, number, rows, columns)
        return pixels[: self.shape[0]]

    def _pages_of(self, number: int) -> Sequence[int]:
        """The pages that hold the channels of a frame."""
        series = self._series
        outer = len(self._axes) - len(series.keyframe.axes)
        pages = np.arange(len(series.pages)).reshape(*series.shape[:outer], 1, 1)
        found: list[int] = window(pages, self._axes[:outer] + "YX", number, slice(None), slice(None)).ravel().tolist()
        return found

    def _check_inside(self, sizes: Sequence[int]) -> None:
        """Raise `ValueError` for pieces larger than the file, before memory is taken to read them."""
        if (largest := max(sizes, default=0)) > self._file.size:
            raise ValueError(f"a strip or tile of {largest} bytes, in a file of {self._file.size}")

    def _page(self, number: int, rows: slice, columns: slice, before: _Pieces) -> Array:
        """Pixels (S, h, w) of a page; `before` is what the last region left of strips and tiles."""
        page = self._series.pages[number]
        assert page is not None  # `tiff.checked_series` refuses such files
        keyframe = page.keyframe
        assert keyframe is not None and keyframe.dtype is not None  # `_in_pages` refuses others
        if keyframe.is_final:
            stored = keyframe.dtype.newbyteorder(self._byteorder)
            planes = self._file.memmap_array(stored, keyframe.shaped, page.dataoffsets[0])[:, 0, rows, columns]
        else:
            planes = self._decoded(page, keyframe, number, rows, columns, before)
        return np.moveaxis(planes, -1, 1).reshape(-1, *planes.shape[1:3])

    def _decoded(
        self, page: Page, keyframe: tifffile.TiffPage, number: int, rows: slice, columns: slice, before: _Pieces
    ) -> Array:
        """Pixels (planes, h, w, samples) of a page in strips or tiles."""
        planes, _, height, width, samples = keyframe.shaped
        tiled = keyframe.is_tiled
        tall = keyframe.tilelength if tiled else min(keyframe.rowsperstrip, height)
        wide = keyframe.tilewidth if tiled else width
        down, across = math.ceil(height / tall), math.ceil(width / wide)
        if (pieces := planes * down * across) > (listed := len(page.dataoffsets)):
            raise ValueError(f"the file lists {listed} of {pieces} strips or tiles")
        wanted = [
            (plane * down + row) * across + column
            for plane in range(planes)
            for row in range(rows.start // tall, math.ceil(rows.stop / tall))
            for column in range(columns.start // wide, math.ceil(columns.stop / wide))
        ]
        found = np.empty((planes, rows.stop - rows.start, columns.stop - columns.start, samples), keyframe.dtype)
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if _is_jpeg(keyframe) else {}

        def place(index: int, segment: Array | None) -> None:
            plane, row, column = index // (down * across), index // across % down * tall, index % across * wide
            top, bottom = max(rows.start, row), min(rows.stop, row + tall, height)
            left, right = max(columns.start, column), min(columns.stop, column + wide, width)
            target = found[plane, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
            # A segment that was never written stands for empty space.
            target[:] = (
                keyframe.nodata
                if segment is None
                else segment[0, top - row : bottom - row, left - column : right - column]
            )
            if rows.stop < min(row + tall, height):
                self._kept[number, index] = segment

        def decode(read: Any) -> None:
            content, index = read
            place(index, keyframe.decode(content, index, **tables)[0])

        for index in wanted:
            if (number, index) in before:
                place(index, before[number, index])
        missing = [index for index in wanted if (number, index) not in before]
        if missing:
            offsets, sizes = ([of[index] for index in missing] for of in (page.dataoffsets, page.databytecounts))
            self._check_inside(sizes)
            read = self._file.read_segments(offsets, sizes, missing)
            if len(missing) > 1 and found.nbytes >= _THREADED_BYTES:
                with ThreadPoolExecutor(DECODERS) as pool:
                    list(pool.map(decode, read))
            else:
                for segment in read:
                    decode(segment)
        return found


def window(stack: Array, axes: str, number: int, rows: slice, columns: slice) -> Array:
    """Pixels (C, h, w) of one frame of an array with such axes, as a view where its layout allows."""
    frames = frame_axes(axes)
    index: list[Any] = [slice(None)] * len(axes)
    for place, position in zip(frames, np.unravel_index(number, [stack.shape[place] for place in frames]), strict=True):
        index[place] = position
    index[axes.index("Y")], index[axes.index("X")] = rows, columns
    part: Array = stack[tuple(index)]
    left = [axis for axis in axes if axis in "CSYX"]
    order = [place for place, axis in enumerate(left) if axis in "CS"] + [left.index("Y"), left.index("X")]
    part = part.transpose(order)
    return part.reshape(-1, *part.shape[-2:])


def _in_pages(series: tifffile.TiffPageSeries, letters: str) -> bool:
    """Whether every page holds whole planes of a frame, in strips or tiles that can be decoded one by one."""
    keyframe = series.keyframe
    axes = keyframe.axes
    outer = series.shape[: len(letters) - len(axes)]
    return (
        letters.endswith(axes)
        and {"Y", "X"} <= set(axes) <= set("SYX")
        and len(series.pages) == math.prod(outer)
        and keyframe.dtype is not None
        and 0 not in keyframe.shaped
        and not (keyframe.is_tiled and 273 in keyframe.tags)  # an NDPI strip that tifffile would have in tiles
        and (keyframe.is_final or not keyframe.is_contiguous)
    )


def _is_jpeg(keyframe: tifffile.TiffPage) -> bool:
    return keyframe.compression in _JPEG
