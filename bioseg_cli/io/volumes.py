"""Volumes (NIfTI, MINC2) by blocks of planes: real values, labels, and where every voxel lies in space.

A *plane* is all voxels of one index along the axis that changes slowest in the file, so that a block of planes is one
piece of it. The same brain is published with other axis orders in other formats: only the affine tells them apart.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import replacing

try:
    from bioseg_cli.io.minc import MincFile
    from bioseg_cli.io.nifti import NiftiFile, label_header
except ModuleNotFoundError as error:
    raise UsageError.not_installed("Volumes (NIfTI, MINC2) need", error, "volumes") from None

LARGEST_LABEL = 65535
WHOLE_TOLERANCE = 1e-3
"""How far from a whole number a label may be: a scaling between integers and real values leaves this much and more."""

_COMPRESSION = 3
_SMALLEST_SHARE = 1e-6
"""A voxel of a smaller volume than this share of the product of its edges is flat."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume file whose header has been read.

    Attributes:
        path: the file.
        shape: (K, J, I), the slowest axis first.
        affine: (4, 4) from an index (k, j, i, 1) to millimetres, x to the right, y to the front, z up (RAS+).
        dtype: type of the real values: whole numbers of at most 16 bits keep an integer type, all others are float32.
        oriented: false where the file states no position in space, and the affine is a guess.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    oriented: bool
    stored: NiftiFile | MincFile = field(repr=False)

    @property
    def voxel_size(self) -> NDArray[np.float64]:
        """Edges of a voxel in millimetres, in the order (k, j, i)."""
        edges: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return edges

    def blocks(self, planes: int, *, start: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the real values, forward, in blocks (T, J, I) of up to `planes` planes from plane `start` on.

        Not more than one block is in memory, beside what decompression needs.

        Raises:
            DataError: the file is truncated or damaged, or values are not finite numbers.
        """
        for first, raw in self._raw(planes, start):
            if raw.dtype == self.dtype and self._unscaled:
                values = raw
            else:
                small = raw.dtype.itemsize <= 2 or raw.dtype == np.float32
                values = self._scaled(raw, first, np.float32 if small else np.float64)
                with np.errstate(over="ignore"):  # becomes infinite, and is refused as that
                    values = values.astype(self.dtype, copy=False)
            self._check_finite(values, first)
            yield values

    def label_blocks(self, planes: int, *, start: int = 0) -> Iterator[NDArray[np.unsignedinteger[Any]]]:
        """Yield the values as labels, like `blocks`; each block has the smaller of uint8 and uint16 that holds it.

        Raises:
            DataError: as `blocks`, or a value that is not a whole number from 0 to 65535.
        """
        for first, raw in self._raw(planes, start):
            values = raw if raw.dtype.kind != "f" and self._unscaled else self._scaled(raw, first, np.float64)
            if values.dtype.kind == "f":
                self._check_finite(values, first)
                whole = np.rint(values)
                self._refuse(np.abs(values - whole) > WHOLE_TOLERANCE, values, first, "no whole number")
                values = whole
            if values.min() < 0 or values.max() > LARGEST_LABEL:
                self._refuse((values < 0) | (values > LARGEST_LABEL), values, first, "no label from 0 to 65535")
            yield values.astype(np.uint8 if values.max() < 256 else np.uint16, copy=False)

    @property
    def _unscaled(self) -> bool:
        return bool(np.all(self.stored.slope == 1) and np.all(self.stored.inter == 0))

    def _raw(self, planes: int, start: int) -> Iterator[tuple[int, NDArray[Any]]]:
        if planes < 1 or not 0 <= start <= self.shape[0]:
            raise ValueError(f"blocks of {planes} planes from plane {start} of {self.shape[0]}")
        for block in self.stored.blocks(planes, start):
            yield start, block
            start += len(block)

    def _scaled(self, raw: NDArray[Any], first: int, working: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        values: NDArray[np.floating[Any]] = raw.astype(working, copy=False)
        if not self._unscaled:
            # One number serves all planes where the file gives no more.
            slope, inter = (
                (each if len(each) == 1 else each[first : first + len(raw)]).astype(working)
                for each in (self.stored.slope, self.stored.inter)
            )
            values *= slope
            values += inter
        return values

    def _check_finite(self, values: NDArray[Any], first: int) -> None:
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        bad = (~np.isfinite(values)).sum(axis=(1, 2))
        plane = int(np.argmax(bad > 0))
        raise DataError(
            f"Values of plane {first + plane} are not finite numbers (NaN, infinity, beyond float32): {bad[plane]}",
            where=self.path,
            fix="Replace them with numbers; the background of a brain is often NaN where 0 is meant.",
        )

    def _refuse(self, wrong: NDArray[np.bool_], values: NDArray[Any], first: int, reason: str) -> None:
        if wrong.any():
            plane, *_ = index = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            raise DataError(
                f"The value {values[index]:.6g} in plane {first + plane} is {reason}",
                where=self.path,
                fix="Give a volume of class codes, saved without interpolation or rescaling.",
            )


def open_volume(path: Path) -> Volume:
    """Read the header of a NIfTI or MINC2 file.

    Raises:
        DataError: no such file, another format, not three axes, not one real number a voxel, truncated, or an affine
            that maps the volume to a plane.
    """
    stored = (MincFile if _is_hdf5(path) else NiftiFile).open(path)
    if not _invertible(stored.affine):
        fix = "Write the volume again with the affine it should have."
        raise DataError("The affine of the volume cannot be inverted", where=path, fix=fix)
    return Volume(path, stored.shape, stored.affine, _real_type(stored), stored.oriented, stored)


@contextmanager
def writing_labels(
    path: Path, like: Volume, dtype: np.dtype[Any]
) -> Iterator[Callable[[NDArray[np.unsignedinteger[Any]]], None]]:
    """A function that writes the next planes, (T, J, I) or (J, I), of a compressed NIfTI file on the grid of `like`.

    The file has the axes of `like` in its order; where that is NIfTI too, also its units and affines as they stand. It
    appears when all planes are written, whole or not at all, and equal labels make equal files.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    nifti = like.stored if isinstance(like.stored, NiftiFile) else None
    header, stored = label_header(like.shape, like.affine, dtype, nifti)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as stream,
    ):
        stream.write(header)

        def write(labels: NDArray[np.unsignedinteger[Any]]) -> None:
            stream.write(np.ascontiguousarray(labels, stored).data)

        yield write
        if stream.tell() != len(header) + math.prod(like.shape) * stored.itemsize:
            raise ValueError("not all planes of the label volume were written")


def _invertible(affine: NDArray[np.float64]) -> bool:
    columns = affine[:3, :3]
    edges = np.linalg.norm(columns, axis=0)
    return bool(np.isfinite(affine).all()) and bool(abs(np.linalg.det(columns)) > _SMALLEST_SHARE * edges.prod())


def _is_hdf5(path: Path) -> bool:
    if path.exists() and not path.is_file():
        raise DataError("The volume is no ordinary file", where=path, fix="Give a file on a disk.")
    try:
        with path.open("rb") as stream:
            signature = stream.read(8)
    except FileNotFoundError:
        raise DataError("No such file", where=path, fix="Check the path.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"The file cannot be read ({reason})", where=path, fix="Check the path.") from error
    if not signature:
        raise DataError("The file is empty", where=path, fix="Copy or download it again.")
    if signature.startswith(b"CDF"):
        fix = f"Convert it: mincconvert -2 {path.name} NEW.mnc"
        raise DataError("The file is MINC1, which is not read", where=path, fix=fix)
    return signature == b"\x89HDF\r\n\x1a\n"


def _real_type(stored: NiftiFile | MincFile) -> np.dtype[Any]:
    """The type that holds the real values: see `Volume.dtype`."""
    if stored.limits is None:
        return np.dtype(np.float32)
    slope, inter = stored.slope, stored.inter
    native: np.dtype[Any] = stored.stored.newbyteorder("=")
    if native.itemsize <= 2 and np.all(slope == 1) and np.all(inter == 0):
        return native
    if np.array_equal(slope, np.rint(slope)) and np.array_equal(inter, np.rint(inter)):
        ends = np.stack([limit * slope + inter for limit in stored.limits])
        for candidate in (np.uint8, np.int8, np.uint16, np.int16):
            if ends.min() >= np.iinfo(candidate).min and ends.max() <= np.iinfo(candidate).max:
                return np.dtype(candidate)
    return np.dtype(np.float32)
