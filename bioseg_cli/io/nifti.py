"""NIfTI volumes: what the header says, and the voxels as one stream from the first plane to the last.

A compressed file can only be read forward, and decompressing it costs more than anything done with the voxels. So it is
decompressed once, into blocks of planes, and never held whole.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import nibabel
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.limits import check_declared, check_memory

MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Length in millimetres of the unit in the lowest three bits of `xyzt_units`, which nibabel leaves to its caller."""

_READ_BYTES = 1 << 20
_LARGEST_NIFTI1_AXIS = 32767
_AGAIN = "Copy or download it again."


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A NIfTI-1 or NIfTI-2 file: shape and affine with the slowest axis first, as the voxels lie in it.

    Attributes:
        shape: (K, J, I), which NIfTI calls (z, y, x): its first axis is the one that changes fastest.
        affine: (4, 4) from (k, j, i, 1) to millimetres.
        stored: type of the numbers in the file, with their byte order.
        slope, inter: (1, 1, 1); a stored number times slope plus inter is the real value.
        limits: lowest and highest number that can be stored; None for floating types.
        offset: byte of the decompressed file at which the voxels begin.
        oriented: whether the file states where the volume lies in space.
        header: all that it says, as nibabel has it.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    stored: np.dtype[Any]
    slope: NDArray[np.float64]
    inter: NDArray[np.float64]
    limits: tuple[int, int] | None
    offset: int
    oriented: bool
    header: Any

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header.

        Raises:
            DataError: not a NIfTI file, not three axes, not numbers, or shorter than its header says.
        """
        try:
            with LoggingOutputSuppressor():
                loaded = nibabel.load(path)
                if not isinstance(loaded, nibabel.Nifti1Image):
                    raise DataError(f"The file is no NIfTI volume but {type(loaded).__name__}", where=path)
                image: Any = loaded
                header, proxy, affine = image.header, image.dataobj, np.array(image.affine, np.float64)
                stored, offset = header.get_data_dtype(), int(proxy.offset)
                slope, inter = float(proxy.slope), float(proxy.inter)
                oriented = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
                unit = int(header["xyzt_units"]) & 7
        except BiosegError:
            raise
        except Exception as error:  # whatever nibabel meets in a file that is something else
            reason = " ".join(str(error).replace(str(path), path.name).split())[:150] or type(error).__name__
            fix = "It is damaged, or of another format than its name says."
            raise DataError(f"The file is no NIfTI volume ({reason})", where=path, fix=fix) from error
        shape = _spatial_shape(image.shape, path)
        if stored.kind not in "uif" or stored.itemsize > 8:
            kind = header.get_value_label("datatype")
            fix = "Convert it to one number a voxel, of at most 64 bits."
            raise DataError(f"Voxels of type {kind} are neither intensities nor labels", where=path, fix=fix)
        affine[:3] *= MILLIMETRES.get(unit, 1.0)
        limits = None if stored.kind == "f" else (int(np.iinfo(stored).min), int(np.iinfo(stored).max))
        scaling = [np.full((1, 1, 1), number) for number in (slope, inter)]
        affine = affine[:, [2, 1, 0, 3]]
        file = cls(path, shape, affine, stored, scaling[0], scaling[1], limits, offset, oriented, header)
        file._check_size()
        return file

    def blocks(self, planes: int, start: int) -> Iterator[NDArray[Any]]:
        """Yield the stored numbers, native byte order, in blocks of up to `planes` planes from plane `start` on.

        Raises:
            DataError: the file is truncated or damaged; a wrong checksum is found before the last block is handed out.
        """
        depth, (height, width) = self.shape[0], self.shape[1:]
        reader = _PlaneReader()
        try:
            with self._stream() as stream:
                if self._compressed:
                    stream.seek(self.offset)
                    dropped = np.empty((height, width), self.stored)
                    for _ in range(start):
                        reader.fill(dropped, stream)
                else:
                    stream.seek(self.offset + start * height * width * self.stored.itemsize)
                    reader.done = start
                for first in range(start, depth, planes):
                    block = np.empty((min(planes, depth - first), height, width), self.stored)
                    for plane in block:
                        reader.fill(plane, stream)
                    if first + planes >= depth and self._compressed:
                        while stream.read(_READ_BYTES):  # the checksum follows the last byte
                            pass
                    if not self.stored.isnative:
                        block = block.byteswap(inplace=True).view(self.stored.newbyteorder())
                    yield block
        except EOFError:
            what = f"The file is truncated: it breaks off after {reader.done} of {depth} planes"
            raise DataError(what, where=self.path, fix=_AGAIN) from None
        except (OSError, zlib.error) as error:
            what = f"The file is damaged: {error} ({reader.done} of {depth} planes were read)"
            raise DataError(what, where=self.path, fix=_AGAIN) from error

    @property
    def _compressed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def _check_size(self) -> None:
        size, needed = self.path.stat().st_size, self.offset + math.prod(self.shape) * self.stored.itemsize
        if not self._compressed and size < needed:
            what = f"The file is truncated: {size} of {needed} bytes are there"
            raise DataError(what, where=self.path, fix=_AGAIN)
        depth, height, width = self.shape
        plane = f"A plane of {height} x {width} voxels of the type {self.stored}"
        check_memory(self.path, plane, height * width * self.stored.itemsize)
        check_declared(self.path, f"The volume of {depth} x {height} x {width} voxels", needed, size)

    def _stream(self) -> BinaryIO:
        return cast(BinaryIO, gzip.open(self.path)) if self._compressed else self.path.open("rb")


class _PlaneReader:
    """Reads one plane after the other and counts those that were there."""

    def __init__(self) -> None:
        self.done = 0

    def fill(self, plane: NDArray[Any], stream: BinaryIO) -> None:
        """Read the next plane into `plane` (C-contiguous), or raise `EOFError`."""
        target = plane.data.cast("B")
        filled = 0
        while filled < len(target):
            read = stream.readinto(target[filled:])  # type: ignore[attr-defined]
            if not read:
                raise EOFError
            filled += read
        self.done += 1


def label_header(
    shape: tuple[int, int, int], affine: NDArray[np.float64], dtype: np.dtype[Any], like: NiftiFile | None
) -> tuple[bytes, np.dtype[Any]]:
    """All that comes before the voxels of a label volume, and the type, with its byte order, that they are stored in.

    Args:
        shape: (K, J, I).
        affine: (4, 4) from (k, j, i, 1) to millimetres.
        dtype: of the labels.
        like: a file on the same grid, whose version, units, affines and descriptions are kept.
    """
    if like is not None:
        header = like.header.copy()
    else:
        version: Any = nibabel.Nifti1Header if max(shape) <= _LARGEST_NIFTI1_AXIS else nibabel.Nifti2Header
        header = version()
        header.set_xyzt_units("mm")
    header.set_data_shape(shape[::-1])
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("label")
    header["cal_min"] = header["cal_max"] = 0
    if like is None:
        header.set_zooms(np.linalg.norm(affine[:3, 2::-1], axis=0))
        header.set_sform(affine[:, [2, 1, 0, 3]], code="aligned")
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    block = header.binaryblock
    return block + bytes(header.single_vox_offset - len(block)), header.get_data_dtype()


def _spatial_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    sizes = " x ".join(map(str, shape))
    if len(shape) > 3:
        fix = "Save each of its volumes as a file of its own, for example with fslsplit."
        raise DataError(f"The file has {len(shape)} axes ({sizes}), a volume has three", where=path, fix=fix)
    if len(shape) < 3:
        raise DataError(f"The file has {len(shape)} axes ({sizes}), a volume has three", where=path)
    if min(shape) < 1:
        raise DataError(f"The volume is empty ({sizes})", where=path, fix=_AGAIN)
    x, y, z = map(int, shape)
    return z, y, x
