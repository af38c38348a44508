"""Labels beside an OME-Zarr image: a `labels/NAME` group on the grid of the image, written from rows as they come.

As the specification asks, the labels have the levels of the image. Each level takes the nearest label of the full
resolution, since labels have no means. The group has a temporary name until it is complete.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.files import PARTIAL, write_failure
from bioseg_cli.io.ome_zarr import OmeZarrImage

LABELS = "labels"
"""The group of an image that lists its label images, and holds them."""
LARGEST_CHUNK = 1024
"""Side of a chunk at most: the rows of a chunk are held in memory until it is complete."""

Array = NDArray[Any]


class LabelWriter:
    """The arrays of a label image that is being written.

    Args:
        group: an empty group.
        image: whose grid and levels the labels have.
        dtype: of the labels.
    """

    def __init__(self, group: zarr.Group, image: OmeZarrImage, dtype: np.dtype[Any]) -> None:
        self._image = image
        self._levels = [
            _Level(_label_array(group, str(number), stored, image, dtype), image)
            for number, stored in enumerate(image.levels)
        ]
        self._left = math.prod(image.frame_shape) * image.size_of("Y")

    @property
    def complete(self) -> bool:
        """Whether all rows of all frames are written."""
        return self._left == 0

    def write(self, frame: int, rows: Array) -> None:
        """Write the next rows (h, W) of a frame; the frames come in their order, each from its first row on."""
        for level in self._levels:
            level.take(self._image.place_of(frame), self._image.size_of("Y"), rows)
        self._left -= len(rows)


class _Level:
    """A level on its way: the rows of a chunk are held until there are all of them."""

    def __init__(self, array: zarr.Array[Any], image: OmeZarrImage) -> None:
        self._array = array
        self._letters = image.letters
        self._nearest = [_nearest(full, small) for full, small in zip(image.shape, array.shape, strict=True)]
        rows, columns = (self._letters.index(letter) for letter in "YX")
        self._rows, self._columns = self._nearest[rows], self._nearest[columns]
        self._turned = rows > columns
        self._held = np.empty((array.chunks[rows], array.shape[columns]), array.dtype)
        self._top = 0  # the row of the full resolution that comes next
        self._written = 0  # rows of this level of the frame at hand that are in the array
        self._filled = 0  # rows that are held

    def take(self, place: Mapping[int, int], height: int, rows: Array) -> None:
        """Keep what this level takes of the next rows of the frame at a place."""
        first, last = np.searchsorted(self._rows, (self._top, self._top + len(rows)))
        places = [np.flatnonzero(self._nearest[axis] == index) for axis, index in place.items()]
        if all(map(len, places)):
            taken = rows[self._rows[first:last] - self._top][:, self._columns]
            self._put({axis: int(found[0]) for axis, found in zip(place, places, strict=True)}, taken)
        self._top += len(rows)
        if self._top == height:
            self._top = self._written = 0

    def _put(self, place: Mapping[int, int], rows: Array) -> None:
        while len(rows):
            count = min(len(rows), len(self._held) - self._filled)
            self._held[self._filled : self._filled + count] = rows[:count]
            self._filled, rows = self._filled + count, rows[count:]
            if self._filled in (len(self._held), len(self._rows) - self._written):
                self._flush(place)

    def _flush(self, place: Mapping[int, int]) -> None:
        written: dict[str, int | slice] = {
            "C": 0,
            "Y": slice(self._written, self._written + self._filled),
            "X": slice(None),
        }
        index = tuple(place[axis] if axis in place else written[letter] for axis, letter in enumerate(self._letters))
        held = self._held[: self._filled]
        self._array[index] = held.T if self._turned else held
        self._written, self._filled = self._written + self._filled, 0


@contextmanager
def writing_labels(
    path: Path,
    image: OmeZarrImage,
    dtype: np.dtype[Any],
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> Iterator[LabelWriter]:
    """A writer of the label image `path`, IMAGE/labels/NAME, which appears and is listed when all rows are written.

    A label image that stands there is replaced then; what a killed writer left of it is removed first.

    Args:
        path: of the group; the folders above it become groups where they are none yet.
        image: that the labels are of.
        dtype: of the labels.
        names: of the values 0, 1, 2, ...
        colours: of the values, red, green and blue. The value 0 is transparent.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    ending = f"{PARTIAL}-labels"
    temporary, replaced = (path.with_name(f".{path.name}.{os.getpid()}{kind}{ending}") for kind in ("", "-old"))
    try:
        _make_groups(path.parent, image)
        # The whole name counts: `run.2` may be a name too, and its writer at work.
        own = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+(-old)?{re.escape(ending)}")
        for left in [place for place in path.parent.iterdir() if own.fullmatch(place.name)]:
            shutil.rmtree(left)
        group = zarr.open_group(temporary, mode="w-", zarr_format=image.zarr_format)
        group.attrs.update(_label_metadata(path, image, names, colours))
        writer = LabelWriter(group, image, dtype)
        yield writer
        if not writer.complete:
            raise ValueError("not all rows of the labels were written")
        if path.exists():
            path.replace(replaced)
        temporary.replace(path)
        _list(path, image)
    except OSError as error:
        raise write_failure(error, path) from error
    finally:
        for left in (temporary, replaced):
            with contextlib.suppress(OSError):
                shutil.rmtree(left)


def _nearest(full: int, small: int) -> NDArray[np.intp]:
    """The index in full resolution whose pixel holds the centre of each pixel of a level."""
    return ((2 * np.arange(small) + 1) * full) // (2 * small)


def _label_array(
    group: zarr.Group, name: str, stored: zarr.Array[Any], image: OmeZarrImage, dtype: np.dtype[Any]
) -> zarr.Array[Any]:
    """An array on the grid of a level, with a channel axis of one where the image has one."""
    if any(small > full for small, full in zip(stored.shape, image.shape, strict=True)):
        raise DataError("A level of the image is larger than its first one", where=image.path, fix="Write it again.")
    shape = tuple(1 if letter == "C" else size for letter, size in zip(image.letters, stored.shape, strict=True))
    chunks = tuple(
        min(size, chunk, LARGEST_CHUNK) if letter in "YX" else 1
        for letter, size, chunk in zip(image.letters, shape, stored.chunks, strict=True)
    )
    third = image.zarr_format == 3
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=0,
        chunk_key_encoding={"name": "default" if third else "v2", "separator": "/"},
        dimension_names=[axis["name"] for axis in image.multiscales["axes"]] if third else None,
    )


def _label_metadata(
    path: Path, image: OmeZarrImage, names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> dict[str, Any]:
    kept = ("axes", "coordinateTransformations")
    datasets = [{**dataset, "path": str(number)} for number, dataset in enumerate(image.multiscales["datasets"])]
    multiscale = {"name": path.name, **{key: image.multiscales[key] for key in kept if key in image.multiscales}}
    multiscale["datasets"] = datasets
    label = {
        "colors": [
            {"label-value": value, "rgba": [*colour, 255 if value else 0]} for value, colour in enumerate(colours)
        ],
        "properties": [{"label-value": value, "name": name} for value, name in enumerate(names)],
        "source": {"image": Path(os.path.relpath(image.path.resolve(), path.resolve())).as_posix() + "/"},
    }
    if image.zarr_format == 2:
        version = {"version": image.version}
        return {"multiscales": [{**version, **multiscale}], "image-label": {**version, **label}}
    return {"ome": {"version": image.version, "multiscales": [multiscale], "image-label": label}}


def _make_groups(labels: Path, image: OmeZarrImage) -> None:
    """Make the group of labels, and the groups above it up to the folder called .zarr."""
    missing = []
    for folder in (labels, *labels.parents):
        if any((folder / name).is_file() for name in (".zgroup", "zarr.json")):
            break
        missing.append(folder)
        if folder.name.lower().endswith(".zarr"):
            break
    for folder in reversed(missing):
        zarr.open_group(folder, mode="a", zarr_format=image.zarr_format)


def _list(path: Path, image: OmeZarrImage) -> None:
    """Add a label image to the list that its parent holds."""
    labels = zarr.open_group(path.parent, mode="r+", use_consolidated=False)
    attributes: Any = labels.attrs.asdict()
    inside = attributes if image.zarr_format == 2 else attributes.get("ome", {"version": image.version})
    listed = list(inside.get(LABELS, ()))
    if path.name not in listed:
        inside = {**inside, LABELS: [*listed, path.name]}
        labels.attrs.update(inside if image.zarr_format == 2 else {"ome": inside})
