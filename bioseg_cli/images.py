"""Reading and writing image files: frames (C, H, W) in their own type, label masks, pixel sizes, normalisation.

A *frame* is one 2-D image with its channels. A page of a multi-page TIFF and a point of a time axis are frames; a z
axis makes a volume, refused unless its planes are asked for one by one. Alpha is dropped: it is no measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.files import replacing
from bioseg_cli.tiff import MICROMETRE, alpha_channels, calibration, checked_series, decode_frames, frame_layout

Array = NDArray[Any]

Image.MAX_IMAGE_PIXELS = None  # Pillow's guard against decompression bombs is smaller than a microscope's mosaic

TIFF_SUFFIXES = (".tif", ".tiff", ".stk", ".lsm")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")
_LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25


@dataclass(frozen=True)
class PixelSize:
    """Height and width of a pixel in `unit`: micrometres (`µm`), or the file's own word where it is not metric."""

    y: float
    x: float
    unit: str = MICROMETRE

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON and YAML can hold; `from_json` reads it back."""
        return {"y": self.y, "x": self.x, "unit": self.unit}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(float(content["y"]), float(content["x"]), str(content["unit"]))


@dataclass(frozen=True)
class Normalisation:
    """Affine map of intensities to [0, 1], one pair of limits a channel, fixed once from the training images."""

    method: Literal["minmax", "percentile"]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def apply(self, pixels: Array) -> NDArray[np.float32]:
        """Map `pixels` (..., C, H, W) of any type to float32 in [0, 1], clipped; a channel without range becomes 0."""
        # float32 holds every 16-bit value exactly; wider types need the subtraction in double precision.
        working = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
        low, high = (np.array(limits)[:, None, None] for limits in (self.low, self.high))
        span = high - low
        factor = np.divide(1.0, span, out=np.zeros_like(span), where=span > 0)
        scaled: NDArray[np.floating[Any]] = pixels.astype(working)
        scaled -= low.astype(working)
        scaled *= factor.astype(working)
        return np.clip(scaled, 0, 1, out=scaled).astype(np.float32, copy=False)

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON and YAML can hold; `from_json` reads it back."""
        return {"method": self.method, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(content["method"], tuple(map(float, content["low"])), tuple(map(float, content["high"])))


@dataclass(frozen=True)
class ImageInfo:
    """What a file holds, without its pixels."""

    path: Path
    frames: int
    channels: int
    height: int
    width: int
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None


def list_images(inputs: Sequence[Path], suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files `inputs` name: files as given, folders replaced by their images in natural order, not recursive.

    Args:
        inputs: files and folders.
        suffixes: what the names of images in folders end in.

    Raises:
        DataError: a path does not exist, a folder holds no image, or nothing was given.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith(".")]
            if not inside:
                known = ", ".join(suffixes)
                raise DataError("The folder holds no images", where=path, fix=f"Files that count as images: {known}.")
            found += sorted((p for p in inside if p.is_file()), key=natural_key)
        elif path.exists():
            found.append(path)
        else:
            raise DataError("No such file or folder", where=path, fix="Check the path.")
    if not found:
        raise DataError("No images were given", fix="Name image files or folders of them.")
    return found


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts `t2` before `t10`."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", path.name.lower()) if part
    ]


def inspect_image(path: Path, *, planes: bool = False) -> ImageInfo:
    """Frames, channels, shape, type and pixel size of an image file, from its header.

    Raises:
        DataError: not an image, truncated, or a volume while `planes` is false.
    """
    with _reading(path):
        if not _is_tiff(path):
            dtype, channels, (height, width) = _raster_header(path)
            return ImageInfo(path, 1, channels, height, width, dtype, None)
        with tifffile.TiffFile(path, _multifile=False) as tif:
            series = checked_series(tif, path, planes=planes)
            sizes = dict(zip("FCYX", frame_layout(series)[1], strict=True))
            channels = sizes["C"] - alpha_channels(series)
            dtype = np.dtype(np.uint8) if series.dtype == bool else series.dtype.newbyteorder("=")
            size = None if (found := calibration(tif)) is None else PixelSize(*found)
            return ImageInfo(path, sizes["F"], channels, sizes["Y"], sizes["X"], dtype, size)


def read_frames(path: Path, *, planes: bool = False) -> Iterator[Array]:
    """Yield the frames of an image file in order, each (C, H, W) in the file's own type.

    Args:
        path: TIFF (plain, multi-page, OME, ImageJ, MetaMorph), PNG, JPEG or BMP.
        planes: take every plane of a volume as a frame.

    Raises:
        DataError: not an image, truncated, a volume while `planes` is false, or values that are not finite numbers.
    """
    return _frames(path, planes, None)


def read_frame(path: Path, frame: int = 0, *, planes: bool = False) -> Array:
    """Frame number `frame` of an image file, (C, H, W), read without the others; see `read_frames`."""
    return next(_frames(path, planes, frame))


def _frames(path: Path, planes: bool, wanted: int | None) -> Iterator[Array]:
    with _reading(path):
        if not _is_tiff(path):
            _check_frame(path, wanted, 1)
            yield _checked_values(np.moveaxis(_decode_raster(path), -1, 0), path)
            return
        with tifffile.TiffFile(path, _multifile=False) as tif:
            series = checked_series(tif, path, planes=planes)
            count = frame_layout(series)[1][0]
            _check_frame(path, wanted, count)
            for frame in decode_frames(series, range(count) if wanted is None else [wanted]):
                yield _checked_values(frame, path)


def read_mask(path: Path, frame: int = 0) -> Array:
    """A label mask: (H, W) integers, or (H, W, 3) where the colours differ between channels.

    A palette PNG gives its indices, not its colours; whole numbers stored as floats become integers.

    Raises:
        DataError: unreadable, fractions instead of labels, or a number of channels that is neither 1 nor 3.
    """
    if not _is_tiff(path):
        with _reading(path), Image.open(path) as image:
            if image.mode == "P":
                return np.array(image)
    pixels: Array = read_frame(path, frame)
    if pixels.dtype.kind == "f":
        if not np.array_equal(pixels, np.rint(pixels)):
            raise DataError("The mask holds fractions, not labels", where=path, fix="Give a mask of whole numbers.")
        pixels = pixels.astype(np.int64)
    if all(np.array_equal(pixels[0], other) for other in pixels[1:]):
        first: Array = pixels[0]
        return first
    if len(pixels) != 3:
        raise DataError(f"The mask has {len(pixels)} channels", where=path, fix="A mask has one channel, or a colour.")
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def write_labels(path: Path, labels: Array, pixel_size: PixelSize | None) -> None:
    """Write labels (H, W), or frames of them (F, H, W), as a compressed ImageJ TIFF of the smallest sufficient type.

    Raises:
        DataError: a label below 0 or above 65535, which no mask file of this kind can hold, or a full disk.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"Labels from {low} to {high} do not fit a 16-bit mask", where=path)
    _write_tiff(path, labels.astype(np.uint8 if high < 256 else np.uint16), "TYX"[-labels.ndim :], pixel_size)


def write_probabilities(path: Path, probabilities: Array, pixel_size: PixelSize | None) -> None:
    """Write probabilities (K, H, W), or frames of them (F, K, H, W), as a float32 ImageJ TIFF, a channel a class."""
    _write_tiff(path, probabilities.astype(np.float32, copy=False), "TCYX"[-probabilities.ndim :], pixel_size)


def write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an 8-bit colour picture (H, W, 3)."""
    with replacing(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def _write_tiff(path: Path, pixels: Array, axes: str, pixel_size: PixelSize | None) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"imagej": True}
    if pixels.nbytes > _LARGEST_CLASSIC_TIFF_BYTES:  # ImageJ's own format ends at 4 GB
        options = {"ome": True, "bigtiff": True}
        if pixel_size is not None:
            metadata |= {f"PhysicalSize{axis}": getattr(pixel_size, axis.lower()) for axis in "XY"}
            metadata |= {f"PhysicalSize{axis}Unit": pixel_size.unit for axis in "XY"}
    elif pixel_size is not None:
        unit = "um" if pixel_size.unit == MICROMETRE else pixel_size.unit
        metadata["unit"] = unit.encode("ascii", "replace").decode()
        options["resolution"] = tuple(_pixels_per_unit(size) for size in (pixel_size.x, pixel_size.y))
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, pixels, photometric="minisblack", compression="zlib", metadata=metadata, **options)


def _pixels_per_unit(size: float) -> tuple[int, int]:
    # The fraction is inverted as a fraction, so that 0.65 comes back as 0.65; both parts have 32 bits in the file.
    fraction = Fraction(size).limit_denominator(int((2**32 - 1) / max(size, 1)))
    return fraction.denominator, fraction.numerator


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        if path.stat().st_size == 0:
            raise DataError("The file is empty", where=path, fix="Copy or export it again.")
        yield
    except (BiosegError, MemoryError, GeneratorExit):
        raise
    except FileNotFoundError:
        raise DataError("No such file", where=path, fix="Check the path.") from None
    except Exception as error:  # the decoders raise whatever a damaged file makes them meet
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        fix = "It is damaged, truncated, or of another format than its name says: copy or export it again."
        raise DataError(f"The image could not be read ({reason})", where=path, fix=fix) from error


def _check_frame(path: Path, wanted: int | None, count: int) -> None:
    if wanted is not None and not 0 <= wanted < count:
        raise DataError(f"There is no frame {wanted}: the file holds {count}", where=path)


def _checked_values(frame: Array, path: Path) -> Array:
    native = np.uint8 if frame.dtype == bool else frame.dtype.newbyteorder("=")
    frame = np.array(frame, native, order="C")
    if frame.dtype.kind not in "uif":
        raise DataError(f"Pixels of type {frame.dtype} are no intensities", where=path, fix="Export the magnitude.")
    if frame.dtype.kind == "f" and (bad := frame.size - int(np.isfinite(frame).sum())):
        fix = "Replace them with numbers, or leave the file out."
        raise DataError(f"{bad} values are not finite numbers (NaN or infinity)", where=path, fix=fix)
    return frame


def _is_tiff(path: Path) -> bool:
    # By content: instruments and users give TIFFs many names, and a PNG named .tif is still a PNG.
    with path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _raster_header(path: Path) -> tuple[np.dtype[Any], int, tuple[int, int]]:
    with Image.open(path) as image:
        channels = 1 if image.mode in ("1", "L", "LA", "I;16", "I") else 3
        with path.open("rb") as stream:
            header = stream.read(26)
        deep = image.format == "PNG" and header[24] == 16  # Pillow reports 16-bit colour as 8-bit
        return np.dtype(np.uint16 if deep else np.uint8), channels, (image.height, image.width)


def _decode_raster(path: Path) -> Array:
    """Pixels (H, W, C) of a PNG, JPEG or BMP, alpha dropped, palettes resolved."""
    _, channels, _ = _raster_header(path)
    with Image.open(path) as image:
        if image.format == "PNG":  # Pillow squeezes 16-bit colour through 8 bits
            pixels = imagecodecs.png_decode(path.read_bytes())
            if image.mode == "1":
                pixels = pixels // 255
        else:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.atleast_3d(pixels)[..., :channels]
