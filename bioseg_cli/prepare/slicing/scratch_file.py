"""Scratch files of half-sampled slices, from which a later run can go on.

The bands of all slices in one block of the volume are one piece of the file; the pieces stand in the order of the
blocks. Each is recorded with its checksum once it is written, so that a run that is killed loses one block.
"""

from __future__ import annotations

import json
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import write_failure, write_text
from bioseg_cli.io.json_text import parse_json


class BandFile:
    """The bands of P slices in B blocks of a volume, written block by block and read slice by slice.

    A file that an earlier run left is gone on with; what its record does not bear out is written again.

    Args:
        path: the file; the record stands beside it.
        lengths: (P, B) pixels of each slice in each block.
        dtype: of the pixels.

    Attributes:
        remark: what `finish` recorded, None before that.
    """

    def __init__(self, path: Path, lengths: IntArray, dtype: npt.DTypeLike) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.remark: dict[str, Any] | None = None
        self._lengths = lengths
        by_block = lengths.T
        self._starts = (np.cumsum(by_block) - by_block.ravel()).reshape(by_block.shape).T
        self._record = path.with_suffix(".json")
        self._checksums: list[int] = []
        if self._record.is_file():
            try:
                self._verify(parse_json(self._record.read_bytes()))
            except (ValueError, TypeError, KeyError):  # a damaged record: everything is written again
                self._checksums.clear()

    def _verify(self, record: dict[str, Any]) -> None:
        with self.path.open("rb") as stream:
            for checksum, length in zip(record["checksums"], self._lengths.sum(axis=0).tolist(), strict=False):
                if zlib.crc32(stream.read(length * self.dtype.itemsize)) != checksum:
                    return
                self._checksums.append(checksum)
        self.remark = record["remark"]

    @property
    def finished(self) -> int:
        """How many blocks are written."""
        return len(self._checksums)

    def append(self, pixels: Pixels) -> None:
        """Write the next block: the bands of all slices, slice after slice; raises `DataError` for a full disk."""
        try:
            with self.path.open("r+b" if self.finished else "wb") as stream:
                stream.seek(int(self._starts[0, self.finished]) * self.dtype.itemsize)
                stream.write(pixels.data)
        except OSError as error:
            raise write_failure(error, self.path) from error
        self._checksums.append(zlib.crc32(pixels.data))
        self._write_record()

    def finish(self, remark: dict[str, Any]) -> None:
        """Record that all blocks are written, with what was found in them."""
        self.remark = remark
        self._write_record()

    def _write_record(self) -> None:
        write_text(self._record, json.dumps({"checksums": self._checksums, "remark": self.remark}))

    def read(self, plane: int) -> Pixels:
        """All bands of one slice, in the order of the blocks; raises `DataError` where the file was cut off."""
        lengths = self._lengths[plane]
        pixels = np.empty(int(lengths.sum()), self.dtype)
        taken = 0
        # Without a buffer: the bands of a slice are far apart.
        with self.path.open("rb", buffering=0) as stream:
            for start, length in zip(self._starts[plane].tolist(), lengths.tolist(), strict=True):
                self._read_into(pixels[taken : taken + length], stream, start)
                taken += length
        return pixels

    def _read_into(self, pixels: Pixels, stream: FileIO, start: int) -> None:
        if len(pixels):
            stream.seek(start * self.dtype.itemsize)
            if stream.readinto(pixels.data.cast("B")) != pixels.nbytes:
                raise DataError("The scratch file is cut off", where=self.path, fix="Run again without --resume.")
