"""Pictures for people: images as they look, outlines of labels, and letters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont
from scipy import ndimage

from bioseg_cli.config import ClassInfo


def as_rgb(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """An 8-bit picture (H, W, 3) of an image (C, H, W) in [0, 1]: three channels are colours, others are averaged."""
    shown = image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(np.rint(255 * shown), 0, -1)).astype(np.uint8)


def nearest(labels: NDArray[np.integer[Any]], shape: tuple[int, int]) -> NDArray[Any]:
    """Labels (H, W) at the size (h, w) of a picture: for each of its pixels the nearest."""
    rows, columns = (
        ((np.arange(shown) + 0.5) * length / shown).astype(int)
        for length, shown in zip(labels.shape, shape, strict=True)
    )
    sampled: NDArray[Any] = labels[rows[:, None], columns]
    return sampled


def draw_outlines(picture: NDArray[np.uint8], labels: NDArray[np.integer[Any]], classes: Sequence[ClassInfo]) -> None:
    """Draw the outline of every class of labels (H, W) into a picture (H, W, 3), in the colour of the class.

    Outlines are two pixels wide, one on either side of the border; class 0, the background, has none.
    """
    for code, class_info in enumerate(classes[1:], start=1):
        inside = labels == code
        # A border value of 1 in the erosion keeps the frame of the picture free of outlines.
        outline = ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside, border_value=1)
        picture[outline] = class_info.colour


def shortened(text: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    """The text with dots in its middle where it would be wider than `width` pixels."""
    cut = text
    kept = len(text)
    while kept and letters.getlength(cut) > width:
        kept -= 1
        cut = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return cut


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The letters of texts in pictures, of so many pixels."""
    import matplotlib  # only what draws text needs it

    # Pillow's own font lacks Greek letters, and the micro sign.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
