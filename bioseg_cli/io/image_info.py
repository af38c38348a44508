"""What an image file holds, as its header says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.io.axes import NamedAxes
from bioseg_cli.io.levels import reduction
from bioseg_cli.io.orientation import UPRIGHT, swaps_sides
from bioseg_cli.io.pixel_size import PixelSize


@dataclass(frozen=True)
class ImageInfo:
    """What a file holds, without its pixels: height, width and pixel size are those of the upright image.

    Attributes:
        pixel_size: None where the file states none that can be used; `no_size` says why one that it states can't be.
        axes: what the axes of a TIFF are, and what named them. None: the format has no stacks.
        stack: the size of each axis of frames that has more than one: of T (time), of Z (planes), or of both in this
            order, whatever that of the file. Frames along an axis that nothing names count as time points.
        orientation: how the pixels lie in the file (EXIF, 1 to 8).
        channel_names: what the file calls its channels, in their order; none where it names none.
        notes: what reading does to the pixels, one sentence each, where the user should know.
        full_size: height and width of the full resolution, where another level of a pyramid is read.
    """

    path: Path
    frames: int
    channels: int
    height: int
    width: int
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None
    no_size: str | None = None
    axes: NamedAxes | None = None
    stack: Mapping[str, int] = field(default_factory=dict)
    orientation: int = UPRIGHT
    notes: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    full_size: tuple[int, int] | None = None

    @property
    def reduction(self) -> tuple[float, float]:
        """How many pixels of the full resolution a pixel stands for, along the height and along the width."""
        full_height, full_width = self.full_size or (self.height, self.width)
        return reduction(full_height, self.height), reduction(full_width, self.width)

    @property
    def sizes_of_both_axes(self) -> str | None:
        """How many time points and planes there are, where the frames have both axes."""
        return f"{self.stack['T']} time points of {self.stack['Z']} planes" if len(self.stack) > 1 else None

    @property
    def frame_bytes(self) -> int:
        """Memory that a frame takes."""
        return self.channels * self.height * self.width * self.dtype.itemsize

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(H, W) as the pixels lie in the file."""
        return (self.width, self.height) if swaps_sides(self.orientation) else (self.height, self.width)
