"""Pages of a TIFF written from rows as they come, compressed in threads, and a place for rows that come too early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from bioseg_cli.io.image_writer import tiff_options
from bioseg_cli.io.legend import Legend
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.io.prefetch import prefetched_map

STRIP_BYTES = 2**18
"""Size of the compressed strips before compression: viewers read them one by one."""
PREFETCHED_STRIPS = 8
"""Strips that are compressed before they are written at most."""


class Scratch:
    """Probabilities (frames, V, H, W) set aside in a file, since pages come one after the other and rows do not."""

    def __init__(self, files: ExitStack, path: Path, values: int, height: int, width: int) -> None:
        # Beside the output, where there is room for it; it has no name, so that nothing can leave it behind.
        self._file: IO[bytes] = files.enter_context(TemporaryFile(dir=path.parent))  # noqa: SIM115 - it is one
        self._values, self._height, self._width = values, height, width

    def put(self, frame: int, top: int, rows: NDArray[np.float32]) -> None:
        """Set aside rows (V, h, W) of a frame, from row `top` on."""
        for value, channel in enumerate(rows):
            row = (frame * self._values + value) * self._height + top
            self._file.seek(row * self._width * rows.itemsize)
            self._file.write(np.ascontiguousarray(channel).data)

    def rows(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows, a strip at a time, page by page."""
        step = _rows_a_strip(self._width, 4)
        self._file.seek(0)
        while True:
            for top in range(0, self._height, step):  # strips end with their page
                content = self._file.read(min(step, self._height - top) * self._width * 4)
                if not content:
                    return
                yield np.frombuffer(content, np.float32).reshape(-1, self._width)


def write_pages(
    path: Path,
    rows: Iterator[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    size: PixelSize | None,
    legend: Legend | None = None,
) -> None:
    """Write pages (H, W) from blocks (h, W) of their rows, as a TIFF of such a shape (..., H, W) and type."""
    height, width = shape[-2:]
    step = _rows_a_strip(width, dtype.itemsize)
    strips = _strips(rows, height, width, step, dtype)
    options = tiff_options(shape, dtype, axes, size, legend)
    with prefetched_map(_compressed, strips, most=PREFETCHED_STRIPS) as compressed:
        tifffile.imwrite(path, compressed, shape=shape, dtype=dtype, rowsperstrip=step, **options)


def _compressed(strip: bytes) -> bytes:
    return bytes(imagecodecs.deflate_encode(strip))


def _rows_a_strip(width: int, itemsize: int) -> int:
    return max(1, STRIP_BYTES // (width * itemsize))


def _strips(
    blocks: Iterator[NDArray[Any]], height: int, width: int, step: int, dtype: np.dtype[Any]
) -> Iterator[bytes]:
    """Yield the pixels of strips of `step` rows, the last of a page fewer."""
    strip = np.empty((min(step, height), width), dtype)
    filled, left = 0, height  # rows of the strip, rows of the page that are not in a strip yet
    for block in blocks:
        while len(block):
            count = min(len(block), min(step, left) - filled)
            strip[filled : filled + count] = block[:count]
            block, filled = block[count:], filled + count
            if filled == min(step, left):
                yield strip[:filled].tobytes()
                filled, left = 0, left - filled or height
