"""What a data set holds, as digests, by which an edit is noticed.

The content hash is of everything, in the order of the file: to verify it takes reading everything. Digests of each
image, of its labels and of what describes them are stored beside it: what is used can be verified as it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.chunks import bytes_of
from bioseg_cli.dataset.schema import NAME_ERRORS, ItemSource, Pixels

HASHED_DECIMALS = 6
"""Of a plane's matrix, in millimetres: the last bits of a rotation differ between machines."""

Column = npt.NDArray[Any]
"""One value an image, or another short array: numbers, or objects of type bytes."""


class ContentHash:
    """SHA-256 of everything in a data set: add every image in its order, then finish.

    Args:
        image_shape: (C, H, W) of each image.
        image_dtype: type of the pixels.
        label_dtype: type of the labels.
    """

    def __init__(self, image_shape: tuple[int, int, int], image_dtype: npt.DTypeLike, label_dtype: str) -> None:
        self._digest = hashlib.sha256(f"{image_shape} {np.dtype(image_dtype)} {label_dtype}".encode())

    def add(self, image: Pixels, labels: Pixels, *, split: str, group: str, source: ItemSource, labelled: bool) -> None:
        """Add the next image (C, H, W) and its labels (H, W), as they are stored, with what describes them."""
        self._digest.update(bytes_of(image))
        self._digest.update(bytes_of(labels))
        described = f"{split}\0{group}\0{source}\0{labelled}"
        self._digest.update(described.encode("utf-8", NAME_ERRORS))
        if source.plane is not None:
            # Adding 0 makes a negative zero positive.
            self._digest.update((np.round(source.plane, HASHED_DECIMALS) + 0.0).astype("<f8").tobytes())

    def finish(self, info: str, label_order: npt.NDArray[np.int64]) -> str:
        """The hash, in hexadecimal, with the root attribute `info` and the label order."""
        self._digest.update(info.encode())
        self._digest.update(label_order.tobytes())
        return self._digest.hexdigest()


def digest_of(pixels: Pixels) -> bytes:
    """SHA-256 of pixels or labels, with their type and shape: 32 bytes."""
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode())
    digest.update(bytes_of(pixels))
    return digest.digest()


def description_digests(attributes: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, str]:
    """SHA-256 of each root attribute and each short array of a data set, in hexadecimal, by name."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in attributes.items()}
    for name, column in columns.items():
        digest = hashlib.sha256(f"{column.dtype.kind}{column.shape}".encode())
        if column.dtype == object:
            digest.update(b"".join(len(value).to_bytes(8, "little") + value for value in column.tolist()))
        else:
            digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        digests[name] = digest.hexdigest()
    return digests
