"""Levels of a pyramid, which show one image with fewer and fewer pixels: level 0 is the full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioseg_cli.errors import DataError


def no_level(level: int, sizes: Sequence[tuple[int, int]], path: Path) -> DataError:
    """The error about an image that has levels of such heights and widths, and not the one that was asked for."""
    listed = ", ".join(f"{number} ({height} x {width})" for number, (height, width) in enumerate(sizes))
    return DataError(
        f"The image has no level {level}. Its levels (height x width in pixels): {listed}",
        where=path,
        fix="Give --level one of these, or leave it out for the full resolution.",
    )


def reduction(full: int, reduced: int) -> float:
    """How many pixels of a side of the full resolution a pixel of a level stands for.

    Writers cut or round the sides of levels: 1001 pixels become 500 or 501. So it is the power of two, or else the
    whole number, that gives such a side, and the ratio of the sides only where there is none.

    Args:
        full: pixels along a side of the full resolution.
        reduced: pixels along that side of the level.
    """
    halvings = (2**power for power in range(full.bit_length()))
    for factor in (*halvings, round(full / reduced)):
        if reduced in (full // factor, -(-full // factor)):
            return float(factor)
    return full / reduced
