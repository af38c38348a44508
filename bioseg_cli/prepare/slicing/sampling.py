"""Reading the pixels of many planes out of a volume that streams past once.

The volume arrives in blocks of neighbouring stored planes. Of every slice, the pixels that lie in the block are sampled
and set aside as one band; a slice is complete when the last block has passed. No more of the volume than two blocks is
ever in memory, and no voxel that no slice needs is computed.

The loops over pixels are compiled (numba): NumPy would need some forty passes over temporary arrays for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import UsageError
from bioseg_cli.io.volumes import Volume
from bioseg_cli.prepare.slicing.planes import Matrix, Plane

try:
    from numba import njit
except ModuleNotFoundError as error:
    raise UsageError.not_installed("Slices of volumes need", error, "volumes") from None


class Cuts:
    """The pixels of P planes in one volume, by blocks of its stored planes.

    Args:
        planes: P of them, of one side.
        volume: with K stored planes.
        thickness: stored planes in a block.
        nearest: whether a pixel takes the nearest voxel (labels), or is interpolated between eight (intensities).

    Attributes:
        lengths: (P, B) pixels of each plane in each block.
        nearest: see above.
    """

    def __init__(self, planes: Sequence[Plane], volume: Volume, *, thickness: int, nearest: bool) -> None:
        self.nearest = nearest
        self._side = planes[0].side
        self._voxels: Matrix = np.stack([plane.on_grid(volume) for plane in planes])
        spans = [plane.inside(volume) for plane in planes]
        self._start: IntArray = np.stack([start for start, _ in spans])
        self._stop: IntArray = np.stack([stop for _, stop in spans])
        if nearest:
            # The nearest voxel of a coordinate is the whole part of that coordinate plus a half.
            self._voxels[:, :, 3] += 0.5
        self._bounds = _block_bounds(volume.shape[0], thickness)
        self.lengths: IntArray = np.empty((len(planes), len(self._bounds) - 1), dtype=np.int64)
        _count_pixels(self._voxels, self._start, self._stop, self._bounds, self.lengths)

    def sample(self, planes: slice, block: int, voxels: Pixels, first: int, out: Pixels) -> None:
        """Sample the pixels of some planes in one block.

        Args:
            planes: which.
            block: number of the block.
            voxels: (T, J, I) stored planes: those of the block and, for interpolation, the one after it.
            first: number of the first of these stored planes.
            out: takes the pixels, plane after plane, row by row.
        """
        cut = voxels, first, self._voxels[planes], self._start[planes], self._stop[planes]
        bounds = self._bounds[block : block + 2]
        if self.nearest:
            _sample_nearest(*cut, bounds, out)
        else:
            _sample_trilinear(*cut, bounds, np.issubdtype(out.dtype, np.integer), out)

    def assemble(self, plane: int, bands: Pixels, image: Pixels) -> None:
        """Put the pixels of one plane, as sampled block by block, to their places in `image` (side, side)."""
        _place(bands, self._voxels[plane], self._start[plane], self._stop[plane], self._bounds, image)


def _block_bounds(planes: int, thickness: int) -> Matrix:
    """Coordinates at which a pixel passes from one block to the next; the outermost blocks reach to infinity."""
    bounds = np.append(np.arange(0.0, planes, thickness), np.inf)
    bounds[0] = -np.inf
    return bounds


@njit(nogil=True)
def _columns_between(base: float, step: float, low: float, high: float, start: int, stop: int) -> tuple[int, int]:
    """The columns of start..stop where low <= base + step * column < high.

    Both ends come from one formula, so that neighbouring blocks share out the columns without gap or overlap.
    """
    if step == 0.0:
        return (start, stop) if low <= base < high else (start, start)
    if step > 0.0:
        first, after = np.ceil((low - base) / step), np.ceil((high - base) / step)
    else:
        first, after = np.floor((high - base) / step) + 1.0, np.floor((low - base) / step) + 1.0
    first = min(max(first, float(start)), float(stop))
    after = min(max(after, first), float(stop))
    return int(first), int(after)


@njit(nogil=True)
def _count_pixels(voxels: Matrix, start: IntArray, stop: IntArray, bounds: Matrix, lengths: IntArray) -> None:
    lengths[:] = 0
    for p in range(len(voxels)):
        for row in range(start.shape[1]):
            base = voxels[p, 0, 3] + row * voxels[p, 0, 0]
            for block in range(len(bounds) - 1):
                first, after = _columns_between(
                    base, voxels[p, 0, 1], bounds[block], bounds[block + 1], start[p, row], stop[p, row]
                )
                lengths[p, block] += after - first


@njit(nogil=True)
def _place(bands: Pixels, voxels: Matrix, start: IntArray, stop: IntArray, bounds: Matrix, image: Pixels) -> None:
    taken = 0
    for block in range(len(bounds) - 1):
        for row in range(len(start)):
            first, after = _columns_between(
                voxels[0, 3] + row * voxels[0, 0],
                voxels[0, 1],
                bounds[block],
                bounds[block + 1],
                start[row],
                stop[row],
            )
            for column in range(first, after):
                image[row, column] = bands[taken]
                taken += 1


@njit(nogil=True)
def _sample_nearest(
    block: Pixels, first_plane: int, voxels: Matrix, start: IntArray, stop: IntArray, bounds: Matrix, out: Pixels
) -> None:
    depth, height, width = block.shape
    taken = 0
    for p in range(len(voxels)):
        step_k, step_j, step_i = voxels[p, 0, 1], voxels[p, 1, 1], voxels[p, 2, 1]
        for row in range(start.shape[1]):
            base_k = voxels[p, 0, 3] + row * voxels[p, 0, 0]
            base_j = voxels[p, 1, 3] + row * voxels[p, 1, 0]
            base_i = voxels[p, 2, 3] + row * voxels[p, 2, 0]
            first, after = _columns_between(base_k, step_k, bounds[0], bounds[1], start[p, row], stop[p, row])
            for column in range(first, after):
                # Rounding may put a pixel on the edge just outside: the outermost voxel holds there too.
                k = min(max(int(np.floor(base_k + step_k * column)) - first_plane, 0), depth - 1)
                j = min(max(int(np.floor(base_j + step_j * column)), 0), height - 1)
                i = min(max(int(np.floor(base_i + step_i * column)), 0), width - 1)
                out[taken] = block[k, j, i]
                taken += 1


@njit(nogil=True)
def _sample_trilinear(
    block: Pixels,
    first_plane: int,
    voxels: Matrix,
    start: IntArray,
    stop: IntArray,
    bounds: Matrix,
    rounded: bool,
    out: Pixels,
) -> None:
    depth, height, width = block.shape
    taken = 0
    for p in range(len(voxels)):
        step_k, step_j, step_i = voxels[p, 0, 1], voxels[p, 1, 1], voxels[p, 2, 1]
        for row in range(start.shape[1]):
            base_k = voxels[p, 0, 3] + row * voxels[p, 0, 0]
            base_j = voxels[p, 1, 3] + row * voxels[p, 1, 0]
            base_i = voxels[p, 2, 3] + row * voxels[p, 2, 0]
            first, after = _columns_between(base_k, step_k, bounds[0], bounds[1], start[p, row], stop[p, row])
            for column in range(first, after):
                # Beyond the centres of the outermost voxels, up to half a voxel, their value holds.
                k = min(max(base_k + step_k * column - first_plane, 0.0), depth - 1.0)
                j = min(max(base_j + step_j * column, 0.0), height - 1.0)
                i = min(max(base_i + step_i * column, 0.0), width - 1.0)
                k0, j0, i0 = int(k), int(j), int(i)
                k1, j1, i1 = min(k0 + 1, depth - 1), min(j0 + 1, height - 1), min(i0 + 1, width - 1)
                along_k, along_j, along_i = k - k0, j - j0, i - i0
                a = block[k0, j0, i0] + along_i * (float(block[k0, j0, i1]) - block[k0, j0, i0])
                b = block[k0, j1, i0] + along_i * (float(block[k0, j1, i1]) - block[k0, j1, i0])
                c = block[k1, j0, i0] + along_i * (float(block[k1, j0, i1]) - block[k1, j0, i0])
                d = block[k1, j1, i0] + along_i * (float(block[k1, j1, i1]) - block[k1, j1, i0])
                a += along_j * (b - a)
                c += along_j * (d - c)
                value = a + along_k * (c - a)
                out[taken] = np.floor(value + 0.5) if rounded else value
                taken += 1


@njit(nogil=True)
def count_values(values: Pixels, counts: IntArray) -> None:
    """Add to `counts` how often each value of an unsigned array (T, J, I) occurs."""
    for value in values.flat:
        counts[value] += 1
