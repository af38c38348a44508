"""Writing a `dataset.h5`, streamed image by image and whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE
from bioseg_cli.dataset import chunks
from bioseg_cli.dataset.content import ContentHash, description_digests, digest_of
from bioseg_cli.dataset.descriptions import describing_columns
from bioseg_cli.dataset.schema import (
    DIGESTS_ATTRIBUTE,
    OBJECT_DTYPE,
    PLANE_SHAPE,
    SCHEMA_ATTRIBUTE,
    SCHEMA_VERSION,
    DatasetInfo,
    IntArray,
    Item,
    Pixels,
)
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import refuse_existing, replacing, write_failure


@dataclass(frozen=True)
class PackedItem:
    """An item that was checked and compressed by `DatasetWriter.pack`, ready to be written.

    Attributes:
        item: as it was given.
        labels: (H, W) in the stored type, all ignore where the item has none.
        highest: the highest class code among them, -1 where there is none.
        chunks: the image, its labels, and its objects where the data set numbers them, compressed, by `schema`'s names.
        digests: SHA-256 of each of them.
    """

    item: Item
    labels: Pixels
    highest: int
    chunks: Mapping[str, bytes | bytearray]
    digests: Mapping[str, bytes]


class DatasetWriter:
    """Writes a data set of `count` images of one shape: `add` each, then `finish`.

    Nearly all the time goes into compression. To share it among threads, let them `pack` and one `add_packed`.

    A context manager. Left without `finish`, or by an exception, it leaves no file, and a file of that name that
    existed before stays as it was.

    Args:
        path: the `.h5` to make.
        count: N, the number of items that will be added.
        image_shape: (C, H, W) of each.
        image_dtype: the source's own type.
        label_dtype: "uint8", or "uint16" for more than 255 classes.
        objects: whether the masks number single objects.
        overwrite: whether an existing file may be replaced.
    """

    def __init__(
        self,
        path: Path,
        *,
        count: int,
        image_shape: tuple[int, int, int],
        image_dtype: npt.DTypeLike,
        label_dtype: str = "uint8",
        objects: bool = False,
        overwrite: bool = False,
    ) -> None:
        refuse_existing(path, overwrite=overwrite)
        self.path = path
        self._count = count
        self._shape = image_shape
        self._dtype = np.dtype(image_dtype)
        self._label_dtype = label_dtype
        self.ignore = IGNORE_BY_DTYPE[label_dtype]
        self._numbers_objects = objects
        self._objects_hash = hashlib.sha256()
        self._items: list[Item] = []
        self._digests: list[Mapping[str, bytes]] = []
        self._highest = (-1, "")
        self._content = ContentHash(image_shape, self._dtype, label_dtype)
        self._finished = False

    def __enter__(self) -> Self:
        # __exit__ is not called for a failed __enter__: the temporary file has to go here.
        with contextlib.ExitStack() as stack:
            self._raw = stack.enter_context(_RememberingFile(stack.enter_context(replacing(self.path)), "w+"))
            file = self._file = stack.enter_context(h5py.File(self._raw, "w"))
            chunks.create_images(file, "images", self._count, self._shape, self._dtype)
            chunks.create_images(file, "labels", self._count, self._shape[1:], self._label_dtype)
            if self._numbers_objects:
                chunks.create_images(file, "objects", self._count, self._shape[1:], OBJECT_DTYPE)
            self._stack = stack.pop_all()
        return self

    def add(self, item: Item) -> None:
        """Write one item.

        Raises:
            DataError: its shape or type is not the data set's, a label does not fit, or the disk is full.
        """
        self.add_packed(self.pack(item))

    def pack(self, item: Item) -> PackedItem:
        """Check and compress one item; several threads may do so at once.

        Raises:
            DataError: its shape or type is not the data set's, or a label does not fit.
        """
        if item.image.shape != self._shape or item.image.dtype != self._dtype:
            raise DataError(
                f"The image is {item.image.shape} {item.image.dtype}, the data set {self._shape} {self._dtype}",
                where=item.source.file,
                fix="All images of a data set share one size, channel count and type.",
            )
        plane = item.source.plane
        if plane is not None and not (np.shape(plane) == PLANE_SHAPE and np.isfinite(plane).all()):
            raise ValueError(f"a plane is a matrix {PLANE_SHAPE} of finite numbers, got {plane}")
        if item.labels is None:
            labels, highest = np.full(self._shape[1:], self.ignore, self._label_dtype), -1
        else:
            labels, highest = self._fitting(item.labels, item.source.file)
        parts = {"images": item.image, "labels": labels}
        if self._numbers_objects:
            parts["objects"] = self._object_numbers(item)
        return PackedItem(
            item,
            labels,
            highest,
            chunks={name: chunks.pack(part) for name, part in parts.items()},
            digests={name: digest_of(part) for name, part in parts.items()},
        )

    def add_packed(self, packed: PackedItem) -> None:
        """Write one item that was packed; raises `DataError` where the disk is full."""
        item, index = packed.item, len(self._items)
        for name, chunk in packed.chunks.items():
            chunks.write_packed(self._file[name], index, chunk)
        if self._numbers_objects:
            self._objects_hash.update(packed.chunks["objects"])
        self._check_written()
        self._highest = max(self._highest, (packed.highest, item.source.file))
        self._content.add(
            item.image,
            packed.labels,
            split=item.split,
            group=item.group,
            source=item.source,
            labelled=item.labels is not None,
        )
        self._digests.append(packed.digests)
        # Pixels are on disk; only what describes them is kept.
        empty = np.empty(0)
        self._items.append(replace(item, image=empty, labels=None if item.labels is None else empty, objects=None))

    def _object_numbers(self, item: Item) -> Pixels:
        """The numbers of an item's objects in the stored type; no objects where it has no mask."""
        if item.objects is None:
            if item.labels is not None:
                raise ValueError(f"the mask of {item.source.file} numbers no objects, others do")
            return np.zeros(self._shape[1:], OBJECT_DTYPE)
        if item.objects.shape != self._shape[1:]:
            raise ValueError(f"objects are {item.objects.shape}, images {self._shape[1:]}")
        return item.objects.astype(OBJECT_DTYPE)

    def _fitting(self, labels: Pixels, file: str) -> tuple[Pixels, int]:
        """The labels in the stored type, which HDF5 would otherwise fit them to by clipping, and the highest code."""
        if labels.shape != self._shape[1:]:
            raise DataError(
                f"The mask is {labels.shape}, its image {self._shape[1:]}",
                where=file,
                fix="A mask has the height and width of its image.",
            )
        codes = labels[labels != self.ignore]
        if not codes.size:
            return labels.astype(self._label_dtype), -1
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high > self.ignore:
            raise DataError(f"Labels from {low} to {high} do not fit {self._label_dtype}", where=file)
        return labels.astype(self._label_dtype), high

    def _check_written(self) -> None:
        if self._raw.failure is not None:
            raise write_failure(self._raw.failure, self.path) from self._raw.failure

    def finish(self, info: DatasetInfo, *, seed: int = 0) -> str:
        """Write the descriptions and the label order drawn from `seed`; return the content hash.

        Raises:
            DataError: a label without a class, or a full disk.
        """
        if len(self._items) != self._count:
            raise ValueError(f"{len(self._items)} items were added, {self._count} were announced")
        highest, where = self._highest
        if highest >= len(info.classes):
            raise DataError(f"Label {highest} has no class: there are {len(info.classes)}", where=where)
        order = label_order(self._items, seed)
        attributes = {"content_hash": self._content.finish(info.to_json(), order), "info": info.to_json()}
        if self._numbers_objects:
            attributes["objects_hash"] = self._objects_hash.hexdigest()
        columns = {**describing_columns(self._items, self._digests), "label_order": order}
        file = self._file
        for name, column in columns.items():
            strings = h5py.string_dtype() if column.dtype == object else None
            file.create_dataset(name, data=column, dtype=strings)
        file.attrs[SCHEMA_ATTRIBUTE] = SCHEMA_VERSION
        file.attrs.update(attributes)
        file.attrs[DIGESTS_ATTRIBUTE] = json.dumps(description_digests(attributes, columns))
        file.close()
        self._check_written()
        self._finished = True
        return attributes["content_hash"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._finished:
            with self._stack:
                raise RuntimeError("a data set was left without finish()")
        self._stack.__exit__(kind, error, trace)


class _RememberingFile(io.FileIO):
    """A file that remembers a failed write instead of raising it.

    HDF5 does not survive one: what it could not write it tries again while closing, and at exit it crashes.
    """

    failure: OSError | None = None

    def write(self, content: Any, /) -> int:
        rest = memoryview(content).cast("B")
        length = len(rest)
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return length

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


def label_order(items: Sequence[Item], seed: int) -> IntArray:
    """Indices of the labelled training items in one random order.

    Every label budget is a prefix of it, so that 10 % of the labels is inside 25 % is inside 50 %.
    """
    candidates = [i for i, item in enumerate(items) if item.split == "train" and item.labels is not None]
    return np.random.default_rng([seed, len(items)]).permutation(np.array(candidates, dtype=np.int64))
