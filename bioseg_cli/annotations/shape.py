"""What annotation files hold: shapes, each with an area in pixels and the name of a class.

Coordinates (x, y) count pixels from the outer corner of the image's first pixel, whose centre is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.errors import BiosegError, DataError

Points = npt.NDArray[np.float64]
"""Corners (n, 2), each x and y."""
Bounds = tuple[float, float, float, float]
"""Least x and y, greatest x and y."""

Refuse = Callable[[Path, DataError], None]
"""Called with the path of each file that cannot be used, and why; whoever calls it goes on with the other files."""

MOST_PIXELS = 2**28
"""Of an area that a file gives pixel by pixel."""

REDRAW = "Delete the shape, or draw it again as an area (polygon, rectangle, ellipse or freehand selection)."
DAMAGED = "It is damaged, or another program wrote it: export it again."


@dataclass(frozen=True, eq=False)
class Outline:
    """The points that lie within an odd number of rings.

    Attributes:
        rings: one or more, each with three corners or more; the last corner is joined to the first.
        repaired: the outline that was drawn crosses itself.
    """

    rings: tuple[Points, ...]
    repaired: bool = False

    @property
    def bounds(self) -> Bounds:
        """Of the corners of all rings."""
        points = np.concatenate(self.rings)
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return left, top, right, bottom

    def reduced(self, down: float, across: float) -> Outline:
        """The same area where a pixel stands for so many pixels of a column and of a row."""
        return replace(self, rings=tuple(ring / (across, down) for ring in self.rings))


@dataclass(frozen=True, eq=False)
class Bitmap:
    """An area that the file gives pixel by pixel.

    Attributes:
        row, column: of the first pixel of `inside` in the image.
        inside: (h, w) which pixels belong to the area; those at each of its four sides hold at least one.
    """

    row: int
    column: int
    inside: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pixels: npt.NDArray[np.bool_], row: int = 0, column: int = 0) -> Bitmap:
        """The area of the pixels (h, w) that are set; raises `ValueError` where none is."""
        rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            raise ValueError("holds no pixel")
        inside = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        return cls(row + int(rows[0]), column + int(columns[0]), inside)

    @property
    def bounds(self) -> Bounds:
        """Of the outer corners of its pixels."""
        height, width = self.inside.shape
        return self.column, self.row, self.column + width, self.row + height

    def reduced(self, down: float, across: float) -> Bitmap:
        """See `Outline.reduced`; raises `ValueError`: what is given pixel by pixel has no place between the pixels."""
        raise ValueError(f"is given pixel by pixel, which fits no level of {across:g} x {down:g} pixels a pixel")


@dataclass(frozen=True, eq=False)
class Stroke:
    """What a round pen draws along a line.

    Attributes:
        points: one or more.
        width: of the pen, in pixels.
    """

    points: Points
    width: float

    @property
    def bounds(self) -> Bounds:
        """Of all that the pen draws."""
        (left, top), (right, bottom) = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        radius = self.width / 2
        return left - radius, top - radius, right + radius, bottom + radius

    def reduced(self, down: float, across: float) -> Stroke:
        """See `Outline.reduced`; the pen stays round."""
        return Stroke(self.points / (across, down), self.width / math.sqrt(across * down))


Area = Outline | Stroke | Bitmap


@dataclass(frozen=True)
class Shape:
    """One shape that somebody drew.

    Attributes:
        name: what messages call it.
        class_name: of its class; None: it has none.
        area: the pixels that it covers.
        frame: the frame of the image that it was drawn on, from 0; None: the file does not say.
        thin: it was drawn as a line or a point.
    """

    name: str
    class_name: str | None
    area: Area
    frame: int | None = None
    thin: bool = False


@dataclass(frozen=True)
class Annotation:
    """What was drawn on one image.

    Attributes:
        source: the file or folder that says so.
        shapes: in the order of the file.
        image: the name of the image without its suffix; None: the image is named like the file.
        size: height and width of the image; None: the file does not say.
    """

    source: Path
    shapes: tuple[Shape, ...]
    image: str | None = None
    size: tuple[int, int] | None = None

    def reduced(self, down: float, across: float) -> Annotation:
        """The same on a level of a pyramid, of which a pixel stands for so many pixels of a column and of a row.

        Raises:
            DataError: a shape is given pixel by pixel.
        """
        shapes = []
        for shape in self.shapes:
            with shape_errors(self.source, shape.name):
                shapes.append(replace(shape, area=shape.area.reduced(down, across)))
        return replace(self, shapes=tuple(shapes))


@contextmanager
def shape_errors(source: Path, name: str) -> Iterator[None]:
    """Raise a `ValueError`, and what values of a wrong type cause, as a `DataError` that names the shape."""
    try:
        yield
    except BiosegError:
        raise
    except ValueError as error:
        raise DataError(f"{name[:1].upper()}{name[1:]} {error}", where=source, fix=REDRAW) from None
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(f"The values of {name} cannot be read ({error!r})", where=source, fix=DAMAGED) from None


def frame_of(time: int, depth: int) -> int:
    """The frame of a time point and a plane, both from 0; raises `ValueError` where both are later than the first."""
    if time and depth:
        raise ValueError(f"lies on time point {time} of plane {depth}, and an image here has one of the two axes")
    return time + depth
