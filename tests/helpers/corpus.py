"""Sample files of every kind that a folder may hold, written byte by byte: what each shows, or why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]
Route = Literal["Pillow", "tifffile", "none"]


@dataclass(frozen=True)
class Sample:
    """A file of the corpus.

    Attributes:
        name: of the file; unique.
        content: of the file.
        shown: frames (F, C, H, W) that a viewer shows. None: only the route knows, since the coding is lossy.
        route: what else decodes the file: Pillow, or tifffile followed by `seen`. "none": neither reads it rightly.
        seen: what tifffile's stored pages (C, H, W) look like.
        pages: that tifffile is asked for.
        refused: what the error says, a regular expression. None: the file is decoded.
        damaged: the file may be refused instead of decoded, but never be decoded otherwise.
    """

    name: str
    content: bytes
    shown: Array | None = None
    route: Route = "none"
    seen: Callable[[Array], Array] = field(default=lambda stored: stored)
    pages: tuple[int, ...] = (0,)
    refused: str | None = None
    damaged: bool = False


def by_pillow(path: Path) -> Array:
    """The first frame (1, C, H, W) as Pillow decodes it: upright, alpha dropped, one bit as 0 and 1."""
    with Image.open(path) as opened:
        deep = opened.mode == "I;16"
        image = ImageOps.exif_transpose(opened)
        if image.mode == "1":
            pixels = np.asarray(image).astype(np.uint8)
        elif deep or image.mode in ("F", "I"):
            pixels = np.asarray(image)
        else:
            pixels = np.asarray(image.convert("L" if image.mode in ("L", "LA") else "RGB"))
    return np.moveaxis(np.atleast_3d(pixels), -1, 0)[None]


def by_tifffile(path: Path, sample: Sample) -> Array:
    """The frames (F, C, H, W): tifffile's whole pages, which know nothing of looks, and the sample's `seen`."""
    with tifffile.TiffFile(path) as tif:
        pages = [tif.pages[number] for number in sample.pages]
        frames = []
        for page in pages:
            stored = page.asarray()
            axes = page.axes
            stored = stored.astype(np.uint8) if stored.dtype == bool else stored
            stored = stored[None] if "S" not in axes else np.moveaxis(stored, axes.index("S"), 0)
            frames.append(sample.seen(stored))
    return np.stack(frames)


def noise(*shape: int, low: int = 0, high: int = 255, dtype: Any = np.uint8, seed: int = 0) -> Array:
    """Random whole numbers, both limits included."""
    return (
        np.random.default_rng(seed).integers(low, high, shape, np.int64 if low < 0 else np.uint64, True).astype(dtype)
    )


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """What Pillow writes."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(pixels: Array, orientation: int) -> Array:
    """Pixels (..., H, W) as a viewer shows those that are stored so; spelled out as quarter turns and mirrors."""
    turns = {1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True)}
    quarter, mirrored = turns.get(orientation, (1, False))
    shown = np.rot90(pixels, quarter, axes=(-2, -1))
    return shown[..., ::-1] if mirrored and orientation in (2, 4) else (shown[..., ::-1, :] if mirrored else shown)


def cut(samples: Iterator[Sample], shares: tuple[float, ...]) -> Iterator[Sample]:
    """The same files broken off: refused, or decoded where nothing of the pixels is missing."""
    for sample in samples:
        for share in shares:
            content = sample.content[: max(1, int(len(sample.content) * share))]
            stem, suffix = sample.name.rsplit(".", 1)
            name = f"{stem} cut at {share}.{suffix}"
            yield Sample(name, content, sample.shown, damaged=True)
