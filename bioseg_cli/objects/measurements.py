"""Measurements of numbered objects in physical units, with the units in the names of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.io.pixel_size import MICROMETRE, PixelSize
from bioseg_cli.objects.instances import Objects

Row = dict[str, Any]
PIXEL = "px"
"""The unit of images that do not state the size of a pixel."""


def measured(objects: Objects, pixels: NDArray[Any], size: PixelSize | None, classes: Sequence[str]) -> list[Row]:
    """A row for each object.

    Positions count from the outer corner of the first pixel, so the centre of that pixel is at half a pixel. The
    perimeter is Crofton's of four directions, which needs square pixels: it is None for others. Solidity is the area
    over that of the convex hull.

    Args:
        objects: of one image (H, W).
        pixels: (C, H, W) of the image, in its own values.
        size: of a pixel; None = lengths are in pixels.
        classes: names of the classes.
    """
    from skimage.measure import regionprops  # slow to import, and not always needed

    given = PixelSize(1.0, 1.0, PIXEL) if size is None else size
    unit = "um" if given.unit == MICROMETRE else given.unit
    square = given.y == given.x
    height, width = objects.numbers.shape
    rows = []
    for region in regionprops(objects.numbers, spacing=(given.y, given.x)):  # type: ignore[no-untyped-call]
        top, left, bottom, right = region.bbox
        y, x = region.centroid
        row: Row = {
            "object": int(region.label),
            "class": classes[objects.classes[region.label - 1]],
            "pixels": int(region.num_pixels),
            f"area_{unit}2": float(region.area),
            f"perimeter_{unit}": float(region.perimeter_crofton) if square else None,
            f"centroid_x_{unit}": float(x + given.x / 2),
            f"centroid_y_{unit}": float(y + given.y / 2),
            f"left_{unit}": left * given.x,
            f"top_{unit}": top * given.y,
            f"right_{unit}": right * given.x,
            f"bottom_{unit}": bottom * given.y,
            f"major_axis_{unit}": float(region.axis_major_length),
            f"minor_axis_{unit}": float(region.axis_minor_length),
            "eccentricity": float(region.eccentricity),
            "solidity": float(region.num_pixels / region.image_convex.sum()),
            "cut_by_edge": bool(top == 0 or left == 0 or bottom == height or right == width),
        }
        values = pixels[:, *region.slice][:, region.image]
        for channel, inside in enumerate(values, 1):
            row |= {
                f"intensity_mean_c{channel}": float(inside.mean(dtype=np.float64)),
                f"intensity_min_c{channel}": inside.min().item(),
                f"intensity_max_c{channel}": inside.max().item(),
            }
        rows.append(row)
    return rows
