"""The arrays of a data set as its file declares them: types and sizes are checked before any of them is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE
from bioseg_cli.dataset.schema import DIGEST_BYTES, NAME_ERRORS, OBJECT_DTYPE, PLANE_SHAPE
from bioseg_cli.io.limits import check_memory

BYTES_AN_IMAGE = 64
"""That an image has in the file at least: its hash alone has so many."""
LONGEST_TEXT = 4096
"""Characters of a name; no file system allows as many."""

TEXT, NUMBER, FLAG, REAL = "O", "iu", "b", "f"
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "labelled": (FLAG, ()),
    "split": (TEXT, ()),
    "group": (TEXT, ()),
    "source/file": (TEXT, ()),
    "source/sha256": (TEXT, ()),
    "source/frame": (NUMBER, ()),
    "source/origin": (NUMBER, (2,)),
    "source/shape": (NUMBER, (2,)),
    "source/plane": (REAL, PLANE_SHAPE),
    "digest/images": (NUMBER, (DIGEST_BYTES,)),
    "digest/labels": (NUMBER, (DIGEST_BYTES,)),
    "digest/objects": (NUMBER, (DIGEST_BYTES,)),
}
"""Kind, as NumPy calls it, and shape of what an image has in each column."""
NOT_IN_EVERY = frozenset({"source/plane", "digest/images", "digest/labels", "digest/objects"})
LABEL_ORDER = "label_order"


def check_layout(file: h5py.File, path: Path) -> None:
    """Refuse arrays of other types and shapes than those of a data set, and more than memory or the file can hold.

    Raises:
        DataError: an image takes more memory than is allowed.
        KeyError, ValueError: the data set is damaged.
    """
    images, labels = file["images"], file["labels"]
    count = len(images)
    if images.dtype.kind not in "uif" or images.ndim != 4:
        raise ValueError(f"images is an array {images.shape} of the type {images.dtype}")
    if str(labels.dtype) not in IGNORE_BY_DTYPE or labels.shape != (count, *images.shape[2:]):
        raise ValueError(f"labels is an array {labels.shape} of the type {labels.dtype}, images one {images.shape}")
    if count > (stored := path.stat().st_size) // BYTES_AN_IMAGE:
        raise ValueError(f"{count} images in a file of {stored} bytes")
    check_memory(
        path,
        f"An image of {' x '.join(map(str, images.shape[1:]))} values of the type {images.dtype}",
        math.prod(images.shape[1:]) * images.dtype.itemsize,
    )
    if "objects" in file and (str(file["objects"].dtype), file["objects"].shape) != (OBJECT_DTYPE, labels.shape):
        raise ValueError("objects and labels are of different shapes")
    for name, (kinds, shape) in COLUMNS.items():
        if name in NOT_IN_EVERY and name not in file:
            continue
        _check_column(file[name], name, kinds, (count, *shape))
    order = file[LABEL_ORDER]
    _check_column(order, LABEL_ORDER, NUMBER, (min(len(order), count),))


def _check_column(column: h5py.Dataset, name: str, kinds: str, shape: tuple[int, ...]) -> None:
    if column.dtype.kind not in kinds or column.shape != shape:
        raise ValueError(f"{name} is an array {column.shape} of the type {column.dtype}, not {shape}")


def texts_of(column: npt.NDArray[Any], name: str) -> npt.NDArray[np.str_]:
    """A column of bytes as texts, of which each takes the memory of the longest.

    Args:
        column: as it was read.
        name: of it, for messages.

    Raises:
        AttributeError, ValueError: it holds something else, or a text that is too long.
    """
    texts = [value.decode("utf-8", NAME_ERRORS) for value in column.tolist()]
    if (longest := max(map(len, texts), default=0)) > LONGEST_TEXT:
        raise ValueError(f"{name} holds a text of {longest} characters")
    return np.array(texts, dtype=str)
