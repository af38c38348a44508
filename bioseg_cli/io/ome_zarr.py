"""OME-Zarr (NGFF 0.4 in Zarr 2, 0.5 in Zarr 3): the images of a folder, what their metadata say, and their pixels.

An *image* is a group with `multiscales` metadata: levels of one array, the first in full resolution. A plate holds one
image per field of each well, and what bioformats2raw writes holds one image per series.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import HASH_BLOCK_BYTES
from bioseg_cli.io.folders import natural_key
from bioseg_cli.io.levels import no_level
from bioseg_cli.io.limits import check_declared, check_memory, largest_bytes
from bioseg_cli.io.named_array import NamedArray
from bioseg_cli.io.pixel_size import PixelSize, usable_pixel_size

try:
    import zarr
except ModuleNotFoundError as error:
    raise UsageError.not_installed("OME-Zarr needs", error, "zarr") from None

SERIES = "bioformats2raw.layout"
"""The attribute of a group whose images are its subgroups 0, 1, 2, ..."""

_VERSIONS = ("0.4", "0.5")
_LETTER_OF_TYPE = {"time": "T", "channel": "C"}


class OmeZarrImage(NamedArray):
    """One image of an OME-Zarr folder. It holds no file open.

    Args:
        path: of the group of the image.
        level: whose pixels are read.

    Attributes:
        level: of the pixels; sizes are those of this level.
        version: of the metadata, 0.4 or 0.5.
        multiscales: the metadata of the levels, as they stand.
        letters: of each axis, see `axes`.
        levels: the arrays, the first in full resolution.

    Raises:
        DataError: the group is no image of a version that is read, its axes are not known, or there is no such level.
    """

    def __init__(self, path: Path, level: int = 0) -> None:
        self.path, self.level = path, level
        group = _open_group(path)
        metadata = _metadata(group)
        if "multiscales" not in metadata:
            raise DataError(_what_else(group), where=path, fix=_fix_for(path, metadata))
        self.zarr_format = group.metadata.zarr_format
        self.multiscales: Mapping[str, Any] = metadata["multiscales"][0]
        self.version = str(metadata.get("version") or self.multiscales.get("version", _VERSIONS[0]))
        if self.version not in _VERSIONS:
            what = f"The OME-Zarr metadata have version {self.version}; {' and '.join(_VERSIONS)} are read"
            raise DataError(what, where=path, fix="Convert the image, for instance with bioformats2raw.")
        self.levels: tuple[zarr.Array[Any], ...] = tuple(
            _open_array(group, dataset["path"]) for dataset in self.multiscales["datasets"]
        )
        self._labels = [channel.get("label") for channel in metadata.get("omero", {}).get("channels", ())]
        self._axes: Sequence[Mapping[str, Any]] = self.multiscales["axes"]
        self.letters = _letters(self._axes, self.levels[0].shape, path)
        if not 0 <= level < len(self.levels):
            raise no_level(level, [self._height_and_width(array) for array in self.levels], path)
        self._check_sizes()

    def _height_and_width(self, array: zarr.Array[Any]) -> tuple[int, int]:
        return array.shape[self.letters.index("Y")], array.shape[self.letters.index("X")]

    def _check_sizes(self) -> None:
        """Refuse chunks that take too much memory, and more pixels than the folder can hold; see `limits`."""
        level, itemsize = self.levels[self.level], self.dtype.itemsize
        chunk = f"A chunk of {' x '.join(map(str, level.chunks))} pixels"
        check_memory(self.path, chunk, math.prod(level.chunks) * itemsize)
        if (size := math.prod(self.shape) * itemsize) > largest_bytes():
            stored = sum(path.stat().st_size for path in (self.path / level.basename).rglob("*"))
            check_declared(self.path, f"The image of {' x '.join(map(str, self.shape))} pixels", size, stored)

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return tuple(self.levels[self.level].shape)

    @property
    def full_size(self) -> tuple[int, int] | None:
        """Height and width of the full resolution, where another level is read."""
        return self._height_and_width(self.levels[0]) if self.level else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels, in the byte order of this machine."""
        stored = np.dtype(self.levels[self.level].dtype)
        return np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The labels of the channels; none where not every channel has one."""
        complete = len(self._labels) == self.size_of("C") and all(self._labels)
        return tuple(map(str, self._labels)) if complete else ()

    def pixel_size(self) -> tuple[PixelSize | None, str | None]:
        """The size of a pixel, and why a stated one is not used; see `stated_pixel_size`."""
        units = {letter: axis.get("unit") or "" for letter, axis in zip(self.letters, self._axes, strict=True)}
        scale = np.ones(len(self.letters))
        for holder in (self.multiscales["datasets"][self.level], self.multiscales):
            for transformation in holder.get("coordinateTransformations", ()):
                if transformation.get("type") == "scale" and "scale" in transformation:
                    scale *= np.asarray(transformation["scale"], float)
        height, width = (float(scale[self.letters.index(letter)]) for letter in "YX")
        return usable_pixel_size(height, units["Y"], width, units["X"])

    def region(self, frame: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels (C, h, w) of a region of a frame; only the chunks that hold it are read."""
        place = self.place_of(frame)
        whole = {"C": slice(None), "Y": rows, "X": columns}
        index = tuple(place[axis] if axis in place else whole[letter] for axis, letter in enumerate(self.letters))
        found = np.asarray(self.levels[self.level][index])
        left = [letter for letter in self.letters if letter in "CYX"]
        found = found.transpose([left.index(letter) for letter in "CYX" if letter in left])
        pixels: NDArray[Any] = np.ascontiguousarray(found if "C" in left else found[None], self.dtype)
        return pixels

    def close(self) -> None:
        """See `NamedArray`; there is nothing to close."""

    def sha256(self) -> str:
        """The SHA-256 of the metadata and the files of the level, in hexadecimal; labels do not change it."""
        digest = hashlib.sha256(json.dumps(self.multiscales, sort_keys=True).encode())
        folder = self.path / self.levels[self.level].basename
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(HASH_BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()


def is_image(path: Path) -> bool:
    """Whether a group of a Zarr folder is an image, and not only a place for other groups."""
    described = any((path / name).is_file() for name in (".zattrs", "zarr.json"))
    return described and "multiscales" in _metadata(_open_group(path))


def images_of(path: Path) -> list[Path]:
    """The groups of the images in an OME-Zarr folder: itself, or those of a plate, of a well or of a list of series.

    Raises:
        DataError: the folder holds no such image, or its metadata are damaged, or list a place outside of it.
    """
    try:
        return _images_of(path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"The metadata of the folder are damaged ({type(error).__name__}: {error})"
        raise DataError(what, where=path, fix="Write the images again.") from error


def _images_of(path: Path) -> list[Path]:
    group = _open_group(path)
    metadata = _metadata(group)
    if "multiscales" in metadata:
        return [path]
    if "plate" in metadata:
        found = [field for well in metadata["plate"]["wells"] for field in _fields(_below(path, well["path"]))]
    elif "well" in metadata:
        found = list(_fields(path))
    elif SERIES in metadata:
        series = [place for place in path.iterdir() if place.name.isdecimal() and place.is_dir()]
        found = sorted(series, key=natural_key)
    else:
        found = []
    if not found:
        raise DataError(_what_else(group), where=path, fix=_fix_for(path, metadata))
    return found


def _fields(well: Path) -> Iterator[Path]:
    metadata = _metadata(_open_group(well))
    if "well" not in metadata:
        raise DataError("The plate lists a well that has no metadata", where=well, fix="Write the plate again.")
    yield from (_below(well, image["path"]) for image in metadata["well"]["images"])


def _below(folder: Path, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"The metadata list {name}, which is not in the folder", where=folder, fix="Write them again.")
    return folder / name


def _open_group(path: Path) -> zarr.Group:
    try:
        # Consolidated metadata may be older than what lies in the folder.
        return zarr.open_group(path, mode="r", use_consolidated=False)
    except Exception as error:  # the library raises whatever damaged metadata make it meet
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        what = f"The folder could not be read as a Zarr group ({reason})"
        fix = "Give the folder of an OME-Zarr image or plate; copy it again if files are missing."
        raise DataError(what, where=path, fix=fix) from error


def _open_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        where = str(group.store_path).removeprefix("file://")
        raise DataError(f"The image lists the level {name}, which is missing", where=where, fix="Copy it again.")
    return array


def _metadata(group: zarr.Group) -> dict[str, Any]:
    """The OME metadata of a group: version 0.5 has them one level deeper than 0.4."""
    attributes: dict[str, Any] = dict(group.attrs)
    inside = attributes.get("ome")
    return inside if isinstance(inside, dict) else attributes


def _letters(axes: Sequence[Any], shape: Sequence[int], path: Path) -> str:
    names = [_letter(axis) if isinstance(axis, dict) else "?" for axis in axes]
    unknown = [axis for axis, letter in zip(axes, names, strict=True) if letter == "?"]
    if len(axes) != len(shape) or unknown or len(set(names)) < len(names) or not {"Y", "X"} <= set(names):
        shown = ", ".join(str(axis.get("name")) if isinstance(axis, dict) else str(axis) for axis in axes)
        what = f"The axes of the image ({shown}) are not t, c, z, y and x, or some of these"
        raise DataError(what, where=path, fix="Correct the axes in the program that wrote the image.")
    return "".join(names)


def _letter(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name", "")).upper()
    return _LETTER_OF_TYPE.get(str(axis.get("type")), name if name in tuple("TCZYX") else "?")


def _what_else(group: zarr.Group) -> str:
    metadata = _metadata(group)
    for key, what in (("plate", "a plate"), ("well", "a well"), (SERIES, "a list of images"), ("labels", "labels")):
        if key in metadata:
            return f"The OME-Zarr folder is {what}, and not one image"
    return "The Zarr folder has no OME-Zarr metadata of an image"


def _fix_for(path: Path, metadata: Mapping[str, Any]) -> str:
    if "plate" in metadata:
        return f"Give its images one by one, such as {path.name}/A/1/0, under names of their own (ln -s)."
    return "Give the folder of an OME-Zarr image or plate."
