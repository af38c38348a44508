"""What the values of a label TIFF mean: their names and colours, written for viewers and read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile

from bioseg_cli.printable import printable

COLOURS = 256
"""Entries of the colour table of a mask, at 8 bits."""
_COLOUR_MAP_TAG = 320
_LINE = re.compile(r"([0-9]+) = (.+)")


@dataclass(frozen=True)
class Legend:
    """What the values 0, 1, 2, ... of a mask mean, for the viewers that show the mask.

    Attributes:
        names: of the values. A viewer shows 0 black and the last value white.
        colours: of the values, red, green and blue; None leaves the mask grey. Only 8-bit masks can have colours.
    """

    names: tuple[str, ...]
    colours: Sequence[tuple[int, int, int]] | None = None

    @property
    def text(self) -> str:
        """A line per value; a line break in a name is written as its escape, see `printable`."""
        return "\n".join(f"{value} = {printable(name)}" for value, name in enumerate(self.names))

    def metadata(self) -> dict[str, Any]:
        """The names and the display range in the metadata of an ImageJ TIFF."""
        last = len(self.names) if self.colours is None else COLOURS
        return {"Info": self.text, "min": 0.0, "max": float(max(1, last - 1))}

    def tags(self) -> list[tuple[Any, ...]]:
        """The colours as a tag of each page, as tifffile takes tags.

        ImageJ takes the colours of a single channel from the colour map of a page that is grey by its photometric
        interpretation. Programs that know nothing of it see a grey page, and not the colours instead of the values.
        """
        if self.colours is None:
            return []
        table = np.zeros((3, COLOURS), np.uint16)
        table[:, : len(self.colours)] = np.array(self.colours, np.uint16).T * 257  # from 8 to 16 bits
        return [(_COLOUR_MAP_TAG, "H", table.size, table.tobytes(), False)]

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The legend of an ImageJ TIFF; None for a file without one, whatever it is.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with tifffile.TiffFile(path, _multifile=False) as tif:
                text = str((tif.imagej_metadata or {}).get("Info", "")) if tif.is_imagej else ""
                table = np.ravel(tif.pages.first.tags.valueof(_COLOUR_MAP_TAG, ()))
        except (OSError, MemoryError):
            raise
        except Exception:  # another format, or whatever tifffile meets in a damaged file
            return None
        lines = [_LINE.fullmatch(line) for line in text.splitlines()]
        names = tuple(line[2] for value, line in enumerate(lines) if line is not None and line[1] == str(value))
        if not names or len(names) != len(lines):
            return None
        if table.dtype != np.uint16 or len(table) != 3 * COLOURS or len(names) > COLOURS:
            return cls(names)
        colours = np.reshape(table, (3, COLOURS))[:, : len(names)].T // 257
        return cls(names, [(red, green, blue) for red, green, blue in colours.tolist()])
