"""MINC2 volumes (HDF5): what the header says, and the voxels by blocks of planes.

MINC stores integers in a valid range and, beside them, the real values (`image-min`, `image-max`) that the ends of this
range stand for: one pair for the volume, one a plane, or one a row. Stored numbers of two planes compare only after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from nibabel.minc2 import Minc2File
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.hdf5 import DAMAGE, open_hdf5
from bioseg_cli.io.limits import check_declared, check_memory

_IMAGE = "minc-2.0/image/0"
_AGAIN = "Copy or download it again."
_SMALLEST_CACHE_BYTES = 1 << 20
_MOST_SLOTS = 10_000_019


@dataclass(frozen=True, eq=False)
class MincFile:
    """A MINC2 file; its axes are kept in the order they are stored in, the first being the slowest.

    Attributes:
        shape: (K, J, I).
        affine: (4, 4) from (k, j, i, 1) to millimetres.
        stored: type of the numbers in the file.
        slope, inter: (1, 1, 1), (K, 1, 1) or (K, J, 1); a stored number times slope plus inter is the real value.
        limits: the valid range of the stored numbers; None for floating types, which are real values themselves.
        chunks: shape of the pieces that are compressed one by one; None where the voxels lie in a row.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    stored: np.dtype[Any]
    slope: NDArray[np.float64]
    inter: NDArray[np.float64]
    limits: tuple[int, int] | None
    chunks: tuple[int, int, int] | None
    oriented: bool = True

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header.

        Raises:
            DataError: not a MINC2 file, not three spatial axes, not numbers, or a scaling that says nothing.
        """
        try:
            with open_hdf5(path, called="The volume", again=_AGAIN) as file:
                if _IMAGE not in file:
                    raise DataError("The file is HDF5, but no MINC2 volume", where=path)
                image = file[f"{_IMAGE}/image"]
                shape, stored, axes = tuple(map(int, image.shape)), image.dtype, _order(image)
                if len(shape) != 3 or sorted(axes) != ["xspace", "yspace", "zspace"]:
                    what = f"The axes of the image are {', '.join(axes) or 'unnamed'}, not x, y and z"
                    raise DataError(what, where=path, fix="Cut one volume out of it with mincreshape.")
                affine = Minc2File(file).get_affine()  # type: ignore[no-untyped-call]
                if stored.kind not in "uif" or stored.itemsize > 8:
                    raise DataError(f"Voxels of type {stored} are neither intensities nor labels", where=path)
                if 0 in shape:
                    raise DataError(f"The volume is empty ({' x '.join(map(str, shape))})", where=path, fix=_AGAIN)
                _check_sizes(image, path)
                slope, inter, limits = _scaling(file[_IMAGE], path)
                chunks = image.chunks
        except BiosegError:
            raise
        except Exception as error:  # whatever h5py and nibabel meet in a damaged file
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise DataError(f"The file is no MINC2 volume ({reason})", where=path, fix=_AGAIN) from error
        size = (shape[0], shape[1], shape[2])
        return cls(path, size, affine.astype(np.float64), stored.newbyteorder("="), slope, inter, limits, chunks)

    def blocks(self, planes: int, start: int) -> Iterator[NDArray[Any]]:
        """Yield the stored numbers, clipped to the valid range, in blocks of up to `planes` planes from `start` on.

        A layer of the compressed chunks stays in memory beside the block, so that each is decompressed once.

        Raises:
            DataError: the file is damaged.
        """
        first = start
        try:
            with open_hdf5(self.path, called="The volume", again=_AGAIN, **self._cache()) as file:
                image = file[f"{_IMAGE}/image"]
                for first in range(start, self.shape[0], planes):
                    block = np.empty((min(planes, self.shape[0] - first), *self.shape[1:]), self.stored)
                    image.read_direct(block, np.s_[first : first + len(block)])
                    if self.limits is not None and self.limits != _type_range(self.stored):
                        np.clip(block, *self.limits, out=block)
                    yield block
        except DAMAGE as error:
            what = f"The file is damaged somewhere after plane {first} ({' '.join(str(error).split())[:150]})"
            raise DataError(what, where=self.path, fix=_AGAIN) from error

    def _cache(self) -> dict[str, int | float]:
        if self.chunks is None:
            return {}
        across = math.prod(math.ceil(n / c) for n, c in zip(self.shape[1:], self.chunks[1:], strict=True))
        layer = across * math.prod(self.chunks) * self.stored.itemsize
        # HDF5 keeps nothing that has been read in full (w0 = 1), and wants many more slots than chunks.
        slots = min(100 * across + 1, _MOST_SLOTS)
        return {"rdcc_nbytes": max(layer, _SMALLEST_CACHE_BYTES), "rdcc_nslots": slots, "rdcc_w0": 1.0}


def _type_range(stored: np.dtype[Any]) -> tuple[int, int]:
    return int(np.iinfo(stored).min), int(np.iinfo(stored).max)


def _check_sizes(image: h5py.Dataset, path: Path) -> None:
    """Refuse planes and chunks that take too much memory, and more voxels than the file can hold; see `limits`."""
    voxel, shape = image.dtype.itemsize, " x ".join(map(str, image.shape))
    for what, piece in (("plane", image.shape[1:]), ("chunk", image.chunks or ())):
        check_memory(path, f"A {what} of {' x '.join(map(str, piece))} voxels", math.prod(piece) * voxel)
    check_declared(path, f"The volume of {shape} voxels", math.prod(image.shape) * voxel, path.stat().st_size)


def _scaling(group: h5py.Group, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int] | None]:
    """Slope, intercept and valid range of the stored numbers."""
    image = group["image"]
    if image.dtype.kind == "f":
        return np.ones((1, 1, 1)), np.zeros((1, 1, 1)), None
    types = _type_range(image.dtype)
    low, high = (float(number) for number in image.attrs.get("valid_range", types))
    if not types[0] <= low < high <= types[1]:
        fix = "Write it again with mincreshape -valid_range."
        raise DataError(f"The valid range of the voxels is {low:g} to {high:g}", where=path, fix=fix)
    ends = []
    for name in ("image-min", "image-max"):
        values = group[name]
        axes = min(values.ndim, 2)
        if values.shape != image.shape[:axes] or _order(values)[:axes] != _order(image)[:axes]:
            raise DataError(f"{name} does not follow the slow axes of the image", where=path)
        check_memory(path, f"The array {name}", values.size * np.dtype(np.float64).itemsize)
        real = np.asarray(values[()], np.float64)
        if not np.isfinite(real).all():
            raise DataError(f"{name} holds values that are not finite numbers", where=path)
        ends.append(real.reshape(real.shape + (1,) * (3 - real.ndim)))
    slope = (ends[1] - ends[0]) / (high - low)
    return slope, ends[0] - low * slope, (int(low), int(high))


def _order(dataset: h5py.Dataset) -> list[str]:
    return dataset.attrs["dimorder"].decode().split(",") if "dimorder" in dataset.attrs else []
