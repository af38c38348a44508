"""Small files whose headers declare much."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def png(path: Path, width: int, height: int) -> Path:
    """A PNG whose header declares that size; the pixels are those of a small one."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    return path


def jpeg(path: Path, side: int) -> Path:
    """A JPEG of 8 x 8 pixels that declares `side` x `side`."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", side, side)
    path.write_bytes(content)
    return path


def bmp(path: Path, side: int) -> Path:
    """A BMP of 8 x 8 pixels that declares `side` x `side`."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", side, side)
    path.write_bytes(content)
    return path


def tiff(path: Path, width: int, length: int, rows: int | None = None, tile: int | None = None) -> Path:
    """A compressed TIFF of one strip or tile that declares so many columns and rows.

    Args:
        path: to write.
        width: that is declared.
        length: that is declared.
        rows: a strip; all by default.
        tile: side of a tile, instead.
    """
    small = np.zeros((16, 16), np.uint8)
    if tile is None:
        tifffile.imwrite(path, small, compression="zlib", rowsperstrip=16, bigtiff=True)
        declared = {"RowsPerStrip": rows or length}
    else:
        tifffile.imwrite(path, small, compression="zlib", tile=(16, 16), bigtiff=True)
        declared = {"TileWidth": tile, "TileLength": tile}
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages.first.tags
        for name, value in {"ImageWidth": width, "ImageLength": length, **declared}.items():
            tags[name].overwrite(value, dtype="I")
    return path
