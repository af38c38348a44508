"""Files of microscopes, by the libraries that read them: ND2 of Nikon, CZI of Zeiss, and LIF of Leica.

A file is decoded whole when its first pixel is asked for. Positions of an ND2 and images of a LIF count as time points
where they are alike; a mosaic of a CZI is one image.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.limits import check_memory
from bioseg_cli.io.named_array import NamedArray
from bioseg_cli.io.pixel_size import PixelSize, usable_pixel_size

Array = NDArray[Any]

_ORDER = "PTZCSYX"
"""Axes as all files are brought to: positions, time points, planes, channels, samples of a pixel, rows and columns."""
_ZSTD0, _ZSTD1 = 5, 6
"""Zeiss's numbers of two compressions."""
_FIX = "Open it in the microscope's own program or in Fiji, and save the images that matter as TIFF."


@dataclass(frozen=True)
class _Contents:
    """What a file holds.

    Attributes:
        letters: of the axes of `read`, of `_ORDER`.
        shape: the size of each axis.
        dtype: of the pixels.
        channel_names: in their order, where the file names each.
        size: height and width of a pixel, each with its unit; None where the file says nothing of it.
        read: all pixels.
        close: the file.
    """

    letters: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel_names: tuple[str, ...]
    size: tuple[float, str, float, str] | None
    read: Callable[[], Array]
    close: Callable[[], None]


class MicroscopeImage(NamedArray):
    """An open file of a microscope.

    Args:
        path: ends in one of `folders.MICROSCOPE_SUFFIXES`.

    Raises:
        UsageError: the package that reads it is not installed.
        DataError: it holds several images that are not alike, axes that are not understood, or more pixels than memory
            should hold.
    """

    letters = "TZCYX"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._contents = _READERS[path.suffix.lower()](path)
        except MemoryError:
            what = "The header of the file declares more than memory holds"
            raise DataError(what, where=path, fix="Copy or export it again.") from None
        for letter, size in zip(self._contents.letters, self._contents.shape, strict=True):
            if letter not in _ORDER and size > 1:
                self._contents.close()
                raise DataError(f"The file has an axis {letter} of {size}, which is not known", where=path, fix=_FIX)
        sizes = dict(zip(self._contents.letters, self._contents.shape, strict=True))
        pixels = " x ".join(map(str, self._contents.shape))
        size = math.prod(self._contents.shape) * self._contents.dtype.itemsize
        try:
            check_memory(path, f"The file ({pixels} values of the type {self._contents.dtype})", size)
        except BaseException:
            self._contents.close()
            raise
        positions, time, plane, channel, sample, row, column = (sizes.get(letter, 1) for letter in _ORDER)
        self._shape = (positions * time, plane, channel * sample, row, column)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `NamedArray`."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `NamedArray`."""
        return self._contents.dtype.newbyteorder("=")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """See `NamedArray`."""
        names = self._contents.channel_names
        return names if len(set(names)) == self.size_of("C") and all(names) else ()

    def pixel_size(self) -> tuple[PixelSize | None, str | None]:
        """See `NamedArray`."""
        return (None, None) if self._contents.size is None else usable_pixel_size(*self._contents.size)

    def region(self, frame: int, rows: slice, columns: slice) -> Array:
        """See `NamedArray`."""
        time, plane = np.unravel_index(frame, self.frame_shape)
        return np.ascontiguousarray(self._pixels[time, plane, :, rows, columns])

    def close(self) -> None:
        """See `NamedArray`."""
        self._contents.close()

    @cached_property
    def _pixels(self) -> Array:
        """All of the file, in the order of `letters`."""
        pixels, letters = self._contents.read(), self._contents.letters
        kept = [axis for axis, letter in enumerate(letters) if letter in _ORDER]
        pixels = pixels[tuple(slice(None) if letter in _ORDER else 0 for letter in letters)]
        found = [letters[axis] for axis in kept]
        for letter in _ORDER:
            if letter not in found:
                pixels, found = pixels[None], [letter, *found]
        ordered = pixels.transpose([found.index(letter) for letter in _ORDER])
        return ordered.reshape(self.shape)


def check_installed(paths: Sequence[Path]) -> None:
    """Import what reads such files; raises `UsageError` where a package is not installed."""
    for suffix in {path.suffix.lower() for path in paths} & set(_IMPORTS):
        _IMPORTS[suffix]()


def _import_nd2() -> Any:
    try:
        import nd2
    except ModuleNotFoundError as error:
        raise UsageError.not_installed("ND2 files of Nikon need", error, "microscopes") from None
    return nd2


def _import_czifile() -> Any:
    try:
        import czifile
    except ModuleNotFoundError as error:
        raise UsageError.not_installed("CZI files of Zeiss need", error, "microscopes") from None
    return czifile


def _import_liffile() -> Any:
    try:
        import liffile
    except ModuleNotFoundError as error:
        raise UsageError.not_installed("LIF files of Leica need", error, "microscopes") from None
    return liffile


def _nd2(path: Path) -> _Contents:
    file = _import_nd2().ND2File(path)
    with _closed_on_error(file):
        sizes: Mapping[str, int] = file.sizes
        channels = file.metadata.channels or ()
        voxel = file.voxel_size()
        return _Contents(
            letters="".join(sizes),
            shape=tuple(sizes.values()),
            dtype=file.dtype,
            channel_names=tuple(channel.channel.name for channel in channels),
            size=(voxel.y, "µm", voxel.x, "µm") if channels and channels[0].volume.axesCalibrated[0] else None,
            read=file.asarray,
            close=file.close,
        )


@contextmanager
def _closed_on_error(file: Any) -> Iterator[None]:
    """Close a file whose metadata are damaged: nd2 warns of files that are left open."""
    try:
        yield
    except BaseException:
        file.close()
        raise


def _czi(path: Path) -> _Contents:
    file = _import_czifile().CziFile(path)
    # Zeiss calls the scenes S, and the library the samples of a pixel 0; tiles of a mosaic are put together.
    letters = file.axes.replace("S", "s").replace("0", "S")
    metadata = ElementTree.fromstring(file.metadata())
    channels = metadata.findall("./Metadata/Information/Image/Dimensions/Channels/Channel")
    scale = {item.get("Id"): item.findtext("Value") for item in metadata.iterfind("./Metadata/Scaling/Items/Distance")}
    sides = [scale.get("Y"), scale.get("X")]
    scenes = dict(zip(letters, file.shape, strict=True)).get("s", 1)
    if scenes > 1:
        file.close()
        raise DataError(f"The file holds {scenes} scenes, each an image of its own", where=path, fix=_FIX)
    return _Contents(
        letters=letters,
        shape=tuple(file.shape),
        dtype=np.dtype(file.dtype),
        channel_names=tuple(channel.get("Name", "") for channel in channels),
        size=None if None in sides else (float(sides[0] or 0), "m", float(sides[1] or 0), "m"),
        read=partial(_czi_pixels, file),
        close=file.close,
    )


def _czi_pixels(file: Any) -> Array:
    """All pixels; tiles of a mosaic lie in their places, the later over the earlier."""
    pixels = np.zeros(file.shape, file.dtype)
    for entry in file.filtered_subblock_directory:
        place = zip(entry.start, file.start, entry.shape, strict=True)
        tile = entry.data_segment()
        stored = _unpacked(tile.data(raw=True), entry) if entry.compression in (_ZSTD0, _ZSTD1) else tile.data()
        pixels[tuple(slice(start - first, start - first + size) for start, first, size in place)] = stored
    return pixels


def _unpacked(data: bytes, entry: Any) -> Array:
    """A tile in Zstandard, which Zeiss has used since 2021 and the library does not know.

    `zstd1` has a header, which says whether the low bytes of 16-bit values come before all high bytes.
    """
    header = data[0] if entry.compression == _ZSTD1 else 0
    decoded = np.frombuffer(imagecodecs.zstd_decode(data[header:]), np.uint8)
    if header > 1 and data[1] == 1 and data[2] & 1:
        decoded = np.ascontiguousarray(decoded.reshape(2, -1).T)
    tile: Array = decoded.reshape(-1).view(entry.dtype[-2:]).reshape(entry.stored_shape)
    return tile[..., ::-1] if tile.shape[-1] == 3 else tile  # from blue, green and red


def _lif(path: Path) -> _Contents:
    file = _import_liffile().LifFile(path, squeeze=False)
    images = list(file.images)
    if not images or len({(tuple(image.sizes.items()), image.dtype) for image in images}) > 1:
        file.close()
        _refuse_different(path, images)
    first = images[0]
    named = first.xml_element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    return _Contents(
        letters="P" + "".join(first.sizes),
        shape=(len(images), *first.sizes.values()),
        dtype=first.dtype,
        channel_names=tuple(channel.get("LUTName", "") for channel in named),
        size=_size_in_lif(first.xml_element),
        read=lambda: np.stack([image.asarray() for image in images]),
        close=file.close,
    )


def _refuse_different(path: Path, images: Sequence[Any]) -> NoReturn:
    shown = ", ".join(f"{image.name} ({' x '.join(map(str, image.shape))})" for image in images[:4])
    what = f"The file holds {len(images)} images that are not alike{': ' if shown else ''}{shown}"
    raise DataError(what, where=path, fix=_FIX)


def _size_in_lif(element: ElementTree.Element) -> tuple[float, str, float, str] | None:
    """Of a pixel: Leica states the way from the first to the last one."""
    sides = []
    for axis in ("2", "1"):  # Y and X
        found = element.find(f"./Data/Image/ImageDescription/Dimensions/DimensionDescription[@DimID='{axis}']")
        if found is None or int(found.attrib["NumberOfElements"]) < 2:
            return None
        step = float(found.attrib["Length"]) / (int(found.attrib["NumberOfElements"]) - 1)
        sides.append((step, found.attrib["Unit"]))
    return (*sides[0], *sides[1])


_READERS: Mapping[str, Callable[[Path], _Contents]] = {".nd2": _nd2, ".czi": _czi, ".lif": _lif}
_IMPORTS: Mapping[str, Callable[[], Any]] = {".nd2": _import_nd2, ".czi": _import_czifile, ".lif": _import_liffile}
