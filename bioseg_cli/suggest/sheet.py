"""The contact sheet: the suggested images side by side, with their ranks, names and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.figures.contact_sheet import GAP, GREY, LINE, SIDE, TITLE_SIZE, ContactSheet, fitted, plain_swatch
from bioseg_cli.figures.display_range import display_range, stretched
from bioseg_cli.figures.pictures import as_rgb, draw_outlines
from bioseg_cli.io.image_writer import write_png

if TYPE_CHECKING:
    from bioseg_cli.suggest.disagreement import Views

COLUMNS = 5
PERCENTILES = (0.5, 99.8)
"""Of all suggested images together that become black and white: what is dim beside the others stays dim."""
SAMPLES = 20_000
"""Pixels of each image that the percentiles are taken from."""


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
    sheet_width = GAP + columns * (SIDE + GAP)
    width = sheet_width - 2 * GAP
    sheet = ContactSheet(sheet_width, bottom + len(legend) * LINE + GAP)
    sheet.write(f"{dataset.path.stem}: images to label first", GAP, GAP, width=width, size=TITLE_SIZE)
    for place, (index, panel, reason) in enumerate(zip(indices, panels, reasons, strict=True)):
        x, y = GAP + place % COLUMNS * (SIDE + GAP), top + place // COLUMNS * step
        sheet.paste(panel, x, y)
        sheet.write(f"{place + 1}  {dataset.name(index)}", x, y + height, width=SIDE)
        sheet.write(reason, x, y + height + LINE, width=SIDE, colour=GREY)
    for line, class_info in enumerate(legend):
        y = bottom + line * LINE
        sheet.swatch(plain_swatch(class_info.colour), GAP, y)
        sheet.write(class_info.name, GAP + LINE, y, width=width - LINE)
    write_png(path, sheet.pixels())


def _limits(dataset: Dataset, indices: Sequence[int]) -> tuple[float, float]:
    samples = []
    for index in indices:
        values = dataset.normalised(index)[:, *dataset.extent(index)].ravel()
        samples.append(values[:: max(1, values.size // SAMPLES)])
    return display_range(np.concatenate(samples), PERCENTILES)


def _panel(dataset: Dataset, index: int, limits: tuple[float, float], views: Views | None) -> NDArray[np.uint8]:
    """An image without its padding in the size that it has on the sheet, and what a network predicts outlined."""
    image = stretched(dataset.normalised(index)[:, *dataset.extent(index)], *limits)
    panel = fitted(as_rgb(image), smooth=True)
    if views is not None:
        labels = fitted(views.labels(index), smooth=False)
        draw_outlines(panel, labels, views.values)
    return panel
