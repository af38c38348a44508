"""The contact sheet: the suggested images side by side, with their ranks, names and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.figures.pictures import as_rgb, draw_outlines, font, shortened
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.printable import printable

if TYPE_CHECKING:
    from bioseg_cli.suggest.disagreement import Views

COLUMNS = 5
SIDE, GAP = 300, 12
"""Longest side of an image, and the space around it, in pixels."""
TITLE_SIZE, TEXT_SIZE, LINE, SWATCH = 17, 13, 24, 16
BLACK, GREY = (0, 0, 0), (110, 110, 110)
STRETCH = (0.005, 0.998)
"""Quantiles of all suggested images together that become black and white: what is dim beside the others stays dim."""
SAMPLES = 20_000
"""Pixels of each image that the quantiles are taken from."""


def write_sheet(
    path: Path, dataset: Dataset, indices: Sequence[int], reasons: Sequence[str], views: Views | None
) -> None:
    """Draw images into a PNG in their order, with the outlines that a network predicts where there is one.

    Raises:
        DataError: an image that cannot be read, or a full disk.
    """
    outlining = None if views is None or views.of_clusters else views
    limits = _limits(dataset, indices)
    panels = [_panel(dataset, index, limits, outlining) for index in indices]
    legend = outlining.values[1:] if outlining else ()
    height = max(len(panel) for panel in panels)
    step = height + 2 * LINE + GAP
    top, columns = GAP + LINE + GAP, min(COLUMNS, len(panels))
    bottom = top + -(-len(panels) // COLUMNS) * step
    sheet = Image.new("RGB", (GAP + columns * (SIDE + GAP), bottom + len(legend) * LINE + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    width = sheet.width - 2 * GAP
    title = f"{printable(dataset.path.stem)}: images to label first"
    draw.text((GAP, GAP), shortened(title, font(TITLE_SIZE), width), BLACK, font(TITLE_SIZE))
    for place, (index, panel, reason) in enumerate(zip(indices, panels, reasons, strict=True)):
        x, y = GAP + place % COLUMNS * (SIDE + GAP), top + place // COLUMNS * step
        sheet.paste(Image.fromarray(panel), (x, y))
        name = shortened(f"{place + 1}  {printable(dataset.name(index))}", font(TEXT_SIZE), SIDE)
        draw.text((x, y + height), name, BLACK, font(TEXT_SIZE))
        draw.text((x, y + height + LINE), shortened(reason, font(TEXT_SIZE), SIDE), GREY, font(TEXT_SIZE))
    for line, one in enumerate(legend):
        y = bottom + line * LINE
        draw.rectangle((GAP, y, GAP + SWATCH, y + SWATCH), fill=one.colour, outline=BLACK)
        name = shortened(printable(one.name), font(TEXT_SIZE), width - LINE)
        draw.text((GAP + LINE, y), name, BLACK, font(TEXT_SIZE))
    write_png(path, np.asarray(sheet))


def _limits(dataset: Dataset, indices: Sequence[int]) -> tuple[float, float]:
    samples = []
    for index in indices:
        values = dataset.normalised(index)[:, *dataset.extent(index)].ravel()
        samples.append(values[:: max(1, values.size // SAMPLES)])
    low, high = np.quantile(np.concatenate(samples), STRETCH)
    return float(low), float(high) if high > low else float(low) + 1


def _panel(dataset: Dataset, index: int, limits: tuple[float, float], views: Views | None) -> NDArray[np.uint8]:
    """An image without its padding in the size that it has on the sheet, and what a network predicts outlined."""
    low, high = limits
    image = np.clip((dataset.normalised(index)[:, *dataset.extent(index)] - low) / (high - low), 0, 1)
    panel = _fitted(Image.fromarray(as_rgb(image)), smooth=True)
    if views is not None:
        labels = _fitted(Image.fromarray(views.labels(index)), smooth=False)
        draw_outlines(panel, labels, views.values)
    return panel


def _fitted(picture: Image.Image, *, smooth: bool) -> NDArray[np.uint8]:
    """A picture in the size that it has on the sheet; a small one is enlarged by a whole number."""
    scale = SIDE / max(picture.size)
    scale = int(scale) if scale > 1 else scale
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    kind = Image.Resampling.LANCZOS if smooth and scale < 1 else Image.Resampling.NEAREST
    return np.array(picture.resize(size, kind))
