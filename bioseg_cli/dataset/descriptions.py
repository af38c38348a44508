"""What describes the images of a data set: as it is written, and read again; damage and changes are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import numpy.typing as npt

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.content import Column, description_digests
from bioseg_cli.dataset.layout import COLUMNS, LABEL_ORDER, check_layout, texts_of
from bioseg_cli.dataset.schema import (
    DESCRIBING_ATTRIBUTES,
    DIGESTS_ATTRIBUTE,
    NAME_ERRORS,
    PLANE_SHAPE,
    SCHEMA_ATTRIBUTE,
    SCHEMA_VERSION,
    DatasetInfo,
    IntArray,
    Item,
)
from bioseg_cli.errors import DataError
from bioseg_cli.io.hdf5 import DAMAGE
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.printable import listing

PREPARE_AGAIN = "Make it again with `bioseg prepare`."

NO_PLANE = ((float("nan"),) * PLANE_SHAPE[1],) * PLANE_SHAPE[0]

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Descriptions:
    """All that a data set holds beside pixels and labels.

    Attributes:
        info: recipe, classes, normalisation, pixel size.
        stored_info: the text that `info` was read from.
        content_hash: as it was stored.
        image_shape: (C, H, W).
        image_dtype, label_dtype: types of the stored pixels and labels.
        labelled, split, group, files, hashes, frames, origins, shapes, planes, label_order: arrays; see `schema`.
        numbers_objects: whether masks number single objects.
        objects_hash: SHA-256 of the numbers, where there are any.
        digests: (N, 32) of `images`, `labels` and `objects`; None in data sets of earlier versions.
    """

    info: DatasetInfo
    stored_info: str
    content_hash: str
    image_shape: tuple[int, int, int]
    image_dtype: np.dtype[np.generic]
    label_dtype: str
    labelled: npt.NDArray[np.bool_]
    split: Texts
    group: Texts
    files: Texts
    hashes: Texts
    frames: IntArray
    origins: IntArray
    shapes: IntArray
    planes: npt.NDArray[np.float64] | None
    label_order: IntArray
    numbers_objects: bool
    objects_hash: str | None
    digests: dict[str, npt.NDArray[np.uint8]] | None


def describing_columns(items: Sequence[Item], digests: Sequence[Mapping[str, bytes]]) -> dict[str, Column]:
    """What describes the images but for the label order, by the names of `schema`.

    Args:
        items: at least one.
        digests: of each item, by the name of its array.
    """
    sources = [item.source for item in items]
    columns = {
        "labelled": np.array([item.labels is not None for item in items]),
        "split": _strings([item.split for item in items]),
        "group": _strings([item.group for item in items]),
        "source/file": _strings([source.file for source in sources]),
        "source/sha256": _strings([source.sha256 for source in sources]),
        "source/frame": np.array([source.frame for source in sources], dtype=np.int64),
        "source/origin": np.array([source.origin for source in sources], dtype=np.int64),
        "source/shape": np.array([source.shape for source in sources], dtype=np.int64),
    }
    if any(source.plane for source in sources):
        planes = [source.plane or NO_PLANE for source in sources]
        columns["source/plane"] = np.array(planes, dtype=np.float64)
    for name in digests[0]:
        joined = b"".join(each[name] for each in digests)
        columns[f"digest/{name}"] = np.frombuffer(joined, np.uint8).reshape(len(digests), -1)
    return columns


def read_descriptions(file: h5py.File, path: Path) -> Descriptions:
    """Read and verify what describes the images.

    Args:
        file: open data set.
        path: of it, for messages.

    Raises:
        DataError: not a bioseg data set, a newer schema, damaged, or changed after it was made.
    """
    try:
        if SCHEMA_ATTRIBUTE not in file.attrs:
            raise DataError("The HDF5 file is not a bioseg data set", where=path, fix=PREPARE_AGAIN)
        version = int(file.attrs[SCHEMA_ATTRIBUTE])
    except DAMAGE as error:
        raise _damaged(path, error) from None
    if version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        raise DataError(
            f"The data set has schema {version}, this bioseg reads {SCHEMA_VERSION}",
            where=path,
            fix="Update bioseg." if newer else PREPARE_AGAIN,
        )
    try:
        check_layout(file, path)
        columns = {name: file[name][:] for name in (*COLUMNS, LABEL_ORDER) if name in file}
        attributes = {name: str(file.attrs[name]) for name in DESCRIBING_ATTRIBUTES if name in file.attrs}
        stored = parse_json(file.attrs.get(DIGESTS_ATTRIBUTE, "{}"))
        described = _described(file, columns, attributes, with_digests=bool(stored))
        _refuse_contradictions(described)
        found = description_digests(attributes, columns) if stored else {}
        changed = [f"`{name}`" for name in sorted({*stored, *found}) if stored.get(name) != found.get(name)]
    except DAMAGE as error:
        raise _damaged(path, error) from None
    if changed:
        raise changed_error(path, listing(changed))
    return described


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"The data set is damaged ({error})", where=path, fix=PREPARE_AGAIN)


def changed_error(path: Path, what: str) -> DataError:
    """The error about a data set in which something was edited."""
    return DataError(
        f"The data set was changed after it was made: {what} is not what was stored", where=path, fix=PREPARE_AGAIN
    )


def _described(
    file: h5py.File, columns: dict[str, Column], attributes: dict[str, str], *, with_digests: bool
) -> Descriptions:
    channels, height, width = file["images"].shape[1:]
    return Descriptions(
        info=DatasetInfo.from_json(attributes["info"]),
        stored_info=attributes["info"],
        content_hash=attributes["content_hash"],
        image_shape=(channels, height, width),
        image_dtype=file["images"].dtype,
        label_dtype=str(file["labels"].dtype),
        labelled=columns["labelled"],
        split=texts_of(columns["split"], "split"),
        group=texts_of(columns["group"], "group"),
        files=texts_of(columns["source/file"], "source/file"),
        hashes=texts_of(columns["source/sha256"], "source/sha256"),
        frames=columns["source/frame"],
        origins=columns["source/origin"],
        shapes=columns["source/shape"],
        planes=columns.get("source/plane"),
        label_order=columns["label_order"],
        numbers_objects="objects" in file,
        objects_hash=attributes.get("objects_hash"),
        digests=_digests(columns) if with_digests else None,
    )


def _refuse_contradictions(described: Descriptions) -> None:
    """Raise ValueError where the arrays do not fit each other."""
    arrays = {"images", "labels", "objects"} if described.numbers_objects else {"images", "labels"}
    if described.digests is not None and described.digests.keys() != arrays:
        raise ValueError("there is not a digest of every array")
    if unknown := set(described.split.tolist()) - set(get_args(SplitName)):
        raise ValueError(f"unknown split {', '.join(sorted(unknown))}")
    labelled_training = np.flatnonzero(described.labelled & (described.split == "train"))
    if not np.isin(described.label_order, labelled_training).all():
        raise ValueError("label_order names images that are not labelled training images")


def _digests(columns: dict[str, Column]) -> dict[str, Column]:
    return {name.removeprefix("digest/"): column for name, column in columns.items() if name.startswith("digest/")}


def _strings(values: Sequence[str]) -> Column:
    return np.array([value.encode("utf-8", NAME_ERRORS) for value in values], dtype=object)
