"""Images that a library gives as an array with a letter for each axis: which part of it a frame is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.io.axes import NamedAxes, Stacks, frame_axes, name_axes
from bioseg_cli.io.pixel_size import PixelSize


class NamedArray(ABC):
    """One image of several axes.

    Attributes:
        path: of the image.
        letters: of each axis, see `axes`.
    """

    path: Path
    letters: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels, in the byte order of this machine."""

    @property
    @abstractmethod
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels; none where not every channel has one."""

    @property
    def full_size(self) -> tuple[int, int] | None:
        """Height and width of the full resolution, where another level is read."""
        return None

    @abstractmethod
    def pixel_size(self) -> tuple[PixelSize | None, str | None]:
        """The size of a pixel, and why a stated one is not used; see `stated_pixel_size`."""

    @abstractmethod
    def region(self, frame: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels (C, h, w) of a region of a frame."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; nothing more can be read."""

    def size_of(self, letter: str) -> int:
        """The size of an axis; 1 for an axis that the image lacks."""
        return self.shape[self.letters.index(letter)] if letter in self.letters else 1

    def named_axes(self, stacks: Stacks | None) -> NamedAxes:
        """The axes, see `name_axes`; raises `DataError` for a volume whose planes `stacks` does not ask for."""
        return name_axes(self.letters, self.shape, stacks, self.path)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The size of each axis of frames, in the order of `axes.frame_axes`: the last one is the fastest."""
        return tuple(self.shape[axis] for axis in frame_axes(self.letters))

    def place_of(self, frame: int) -> dict[int, int]:
        """The index of a frame along each axis of frames, by the number of the axis."""
        axes = frame_axes(self.letters)
        places = np.unravel_index(frame, self.frame_shape) if axes else ()
        return {axis: int(place) for axis, place in zip(axes, places, strict=True)}
