"""Contact sheets: pictures side by side on white, with lines of text and the colours of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bioseg_cli.figures.pictures import font, shortened
from bioseg_cli.printable import printable

SIDE, GAP = 300, 12
"""Longest side of a picture, and the space around a picture, in pixels."""
LINE, SWATCH = 24, 16
"""Height of a line of text, and side of the square that shows the colour of a class, in pixels."""
TITLE_SIZE, TEXT_SIZE = 17, 13
BLACK, GREY = (0, 0, 0), (110, 110, 110)


class ContactSheet:
    """A white sheet.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._sheet = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self._sheet)

    def paste(self, picture: NDArray[np.uint8], x: int, y: int) -> None:
        """Put a picture (H, W, 3) on the sheet, its upper left corner at `x` and `y`."""
        self._sheet.paste(Image.fromarray(picture), (x, y))

    def write(
        self, text: str, x: int, y: int, *, width: int, size: int = TEXT_SIZE, colour: tuple[int, int, int] = BLACK
    ) -> None:
        """Write a line of text; a text wider than `width` pixels has dots in its middle."""
        self._draw.text((x, y), shortened(printable(text), font(size), width), colour, font(size))

    def swatch(self, colours: NDArray[np.uint8], x: int, y: int) -> None:
        """Put a framed square of colours (`SWATCH`, `SWATCH`, 3) on the sheet."""
        self.paste(colours, x, y)
        self._draw.rectangle((x, y, x + SWATCH, y + SWATCH), outline=BLACK)

    def pixels(self) -> NDArray[np.uint8]:
        """The sheet, (H, W, 3)."""
        return np.asarray(self._sheet)


def plain_swatch(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A square of one colour, (`SWATCH`, `SWATCH`, 3)."""
    return np.full((SWATCH, SWATCH, 3), colour, np.uint8)


def shown_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture on a sheet: `SIDE` at most; a small picture is enlarged by a whole number."""
    scale = SIDE / max(width, height)
    scale = int(scale) if scale > 1 else scale
    return max(1, round(width * scale)), max(1, round(height * scale))


def fitted(pixels: NDArray[Any], *, smooth: bool) -> NDArray[Any]:
    """Pixels (H, W) or (H, W, 3) at the size that they have on a sheet; only what is reduced can be smooth."""
    picture = Image.fromarray(pixels)
    size = shown_size(*picture.size)
    reduced = size[0] < picture.width or size[1] < picture.height
    return np.array(picture.resize(size, Image.Resampling.LANCZOS if smooth and reduced else Image.Resampling.NEAREST))
