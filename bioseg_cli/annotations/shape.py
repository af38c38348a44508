"""What annotation files hold: shapes, each with an area in pixels and the name of a class.

Coordinates (x, y) count pixels from the outer corner of the image's first pixel, whose centre is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shapely import MultiPolygon

from bioseg_cli.errors import BiosegError, DataError

REDRAW = "Delete the shape, or draw it again as an area (polygon, rectangle, ellipse or freehand selection)."
DAMAGED = "It is damaged, or another program wrote it: export it again."


@dataclass(frozen=True)
class Outline:
    """An area within polygons.

    Attributes:
        polygons: valid and not empty.
        repaired: the outline that was drawn crosses itself.
    """

    polygons: MultiPolygon
    repaired: bool = False

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, greatest x and y."""
        left, top, right, bottom = self.polygons.bounds
        return left, top, right, bottom


@dataclass(frozen=True)
class Shape:
    """One shape that somebody drew.

    Attributes:
        name: what messages call it.
        class_name: of its class; None: it has none.
        area: the pixels that it covers.
        frame: the frame of the image that it was drawn on, from 0; None: the file does not say.
    """

    name: str
    class_name: str | None
    area: Outline
    frame: int | None = None


@dataclass(frozen=True)
class Annotation:
    """What was drawn on one image.

    Attributes:
        source: the file that says so.
        shapes: in the order of the file.
    """

    source: Path
    shapes: tuple[Shape, ...]


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
