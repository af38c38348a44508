"""Cutting the stored images out of source frames: centre crop, tiles, or whole and padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.schema import Pixels, PlaneMatrix


@dataclass(frozen=True)
class Crop:
    """A rectangle of a source frame; it may reach over the frame's edges.

    Attributes:
        y, x: row and column of its corner in the frame, negative where it reaches over.
        height, width: in pixels.
    """

    y: int
    x: int
    height: int
    width: int

    def cut(self, frame: Pixels, fill: int) -> Pixels:
        """Copy the rectangle out of `frame` (..., H, W); what lies outside the frame becomes `fill`."""
        rows, columns = self.inside(frame.shape[-2], frame.shape[-1])
        part = np.full((*frame.shape[:-2], self.height, self.width), fill, dtype=frame.dtype)
        part[..., rows, columns] = frame[
            ..., rows.start + self.y : rows.stop + self.y, columns.start + self.x : columns.stop + self.x
        ]
        return part

    def plane(self, frame: npt.NDArray[np.float64]) -> PlaneMatrix:
        """Where the rectangle lies in space, of the (3, 4) matrix of where the frame lies."""
        row_step, column_step, normal, corner = frame.T
        moved = np.column_stack([row_step, column_step, normal, corner + self.y * row_step + self.x * column_step])
        return tuple((a, b, c, d) for a, b, c, d in moved.tolist())

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the rectangle that lie inside a frame of that size."""
        return (
            slice(max(0, -self.y), min(self.height, height - self.y)),
            slice(max(0, -self.x), min(self.width, width - self.x)),
        )


def centre_crop(shape: tuple[int, int], size: tuple[int, int]) -> Crop:
    """The rectangle of `size` in the middle of a frame of `shape`; all four are heights and widths in pixels."""
    return Crop((shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2, *size)


def tile_crops(shape: tuple[int, int], side: int) -> list[Crop]:
    """The fewest squares of `side` that cover a frame, on an even grid inside it; they overlap where they must.

    A frame smaller than a tile is padded around its middle, as in `centre_crop`.
    """
    starts = [_even_starts(length, side) for length in shape]
    return [Crop(y, x, side, side) for y in starts[0] for x in starts[1]]


def tile_area(start: tuple[int, int], shape: tuple[int, int], side: int) -> int:
    """How many pixels of a frame a tile shows and no tile before it does: there they keep their labels in `cut_items`.

    Args:
        start: row and column of the corner of one of the tiles.
        shape: (H, W) of the frame.
        side: of the tiles, see `tile_crops`.
    """
    area = 1
    for first, length in zip(start, shape, strict=True):
        # Computed, not looked up among all tiles: a damaged file may name a frame of a billion.
        number = round(first * (-(-length // side) - 1) / (length - side)) if length > side else 0
        before = _even_start(number - 1, length, side) + side if number else 0
        area *= min(first + side, length) - max(first, before, 0)
    return area


def _even_starts(length: int, side: int) -> list[int]:
    return [_even_start(number, length, side) for number in range(-(-length // side))]


def _even_start(number: int, length: int, side: int) -> int:
    if length <= side:
        return (length - side) // 2
    return round(number * (length - side) / (-(-length // side) - 1))


def cut_items(
    image: Pixels, labels: Pixels | None, crops: list[Crop], ignore: int
) -> list[tuple[Pixels, Pixels | None]]:
    """Cut (C, H, W) pixels and (H, W) labels by each crop.

    A pixel that several crops show keeps its label in the first of them and is ignored in the others, so that it
    counts once.
    """
    remaining = None if labels is None else labels.copy()
    parts = []
    for crop in crops:
        part = None if remaining is None else crop.cut(remaining, ignore)
        parts.append((crop.cut(image, 0), part))
        if remaining is not None and len(crops) > 1:
            remaining[max(0, crop.y) : crop.y + crop.height, max(0, crop.x) : crop.x + crop.width] = ignore
    return parts
