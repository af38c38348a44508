"""One image as one HDF5 chunk, packed outside HDF5: in fewer steps, and in as many threads as want to.

The bytes are those of HDF5's own filters `shuffle`, for types of more than a byte, and `gzip`: any program reads them.
"""

from __future__ import annotations

from typing import Any

import h5py
import imagecodecs
import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import Pixels

LEVEL = 1
"""Of compression: within a few per cent of level 9 on noisy images, and several times faster."""


def create_images(file: h5py.File, name: str, count: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> h5py.Dataset:
    """An empty array of `count` images of one shape, a chunk each."""
    return file.create_dataset(
        name,
        (count, *shape),
        dtype,
        chunks=(1, *shape),
        compression="gzip",
        compression_opts=LEVEL,
        shuffle=np.dtype(dtype).itemsize > 1,
    )


def pack(pixels: Pixels) -> bytes | bytearray:
    """The chunk of an image."""
    # What `shuffle` does: the first bytes of all values, then the second ones; single bytes stay as they lie.
    values = np.frombuffer(bytes_of(pixels), np.uint8).reshape(pixels.size, pixels.itemsize)
    shuffled: Any = np.ascontiguousarray(values.T)
    return imagecodecs.deflate_encode(shuffled, LEVEL)


def write_packed(images: h5py.Dataset, index: int, chunk: bytes | bytearray) -> None:
    """Write the chunk of image `index`."""
    images.id.write_direct_chunk((index, *[0] * (images.ndim - 1)), chunk)


def read_image(images: h5py.Dataset, index: int) -> Pixels:
    """Image `index`; raises OSError where its bytes are damaged."""
    shape, dtype = images.shape[1:], images.dtype
    pixels: Pixels
    if images.compression == "gzip" and images.chunks == (1, *shape):
        left_out, chunk = images.id.read_direct_chunk((index, *[0] * len(shape)))
        # HDF5 itself leaves a filter out where an image would become larger by it.
        if not left_out:
            pixels = np.empty(shape, dtype)
            content = pixels.ravel().view(np.uint8)
            try:
                found = imagecodecs.deflate_decode(chunk, out=content.data)
            except imagecodecs.DeflateError as error:
                raise OSError(str(error)) from error
            if len(found) != len(content):
                raise OSError(f"{len(found)} bytes instead of {len(content)}")
            if images.shuffle:
                pixels = np.ascontiguousarray(content.reshape(dtype.itemsize, pixels.size).T).view(dtype).reshape(shape)
            return pixels
    pixels = images[index]
    return pixels


def bytes_of(pixels: Pixels) -> memoryview:
    """The bytes of an array in C order, without a copy where that is how they lie in memory."""
    return pixels.ravel().view(np.uint8).data
