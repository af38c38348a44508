"""PNG, JPEG and BMP: what they hold, and their pixels, alpha dropped. They are decoded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # Pillow's guard against decompression bombs is smaller than a microscope's mosaic


def raster_header(path: Path) -> tuple[np.dtype[Any], int, tuple[int, int]]:
    """Type, channels without alpha, and (H, W)."""
    with Image.open(path) as image:
        channels = 1 if image.mode in ("1", "L", "LA", "I;16", "I") else 3
        with path.open("rb") as stream:
            header = stream.read(26)
        deep = image.format == "PNG" and header[24] == 16  # Pillow reports 16-bit colour as 8-bit
        return np.dtype(np.uint16 if deep else np.uint8), channels, (image.height, image.width)


def decode_raster(path: Path) -> NDArray[Any]:
    """Pixels (H, W, C) of a PNG, JPEG or BMP, alpha dropped, palettes resolved."""
    _, channels, _ = raster_header(path)
    with Image.open(path) as image:
        if image.format == "PNG":  # Pillow squeezes 16-bit colour through 8 bits
            pixels = imagecodecs.png_decode(path.read_bytes())
            if image.mode == "1":
                pixels = pixels // 255
        else:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.atleast_3d(pixels)[..., :channels]
