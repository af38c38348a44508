"""A picture of a data set, to see at a glance whether the masks fit: images, labels, and outlines over the images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.figures.contact_sheet import (
    GAP,
    GREY,
    LINE,
    SWATCH,
    TEXT_SIZE,
    TITLE_SIZE,
    ContactSheet,
    fitted,
    plain_swatch,
)
from bioseg_cli.figures.palette import IGNORED_COLOUR, in_class_colours
from bioseg_cli.figures.pictures import as_rgb, draw_outlines, font
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.prepare.splits import SPLITS

COLUMNS = 6
NARROWEST = 200
"""Least width of a column, in pixels."""
STRIPE_COLOUR = (150, 150, 150)
STRIPE_DISTANCE, STRIPE_WIDTH = 10, 3

Canvas = npt.NDArray[np.uint8]


def write_picture(path: Path, dataset: Dataset) -> None:
    """Draw images of every split into a PNG: a column an image, and under them the colours of the classes.

    The images are shown with the stored normalisation, as a network gets them. What is ignored is striped.

    Raises:
        DataError: an image that cannot be read, or a full disk.
    """
    chosen = [(split, index) for split in SPLITS for index in _spread(dataset, split).tolist()]
    columns = [_panels(dataset, index) for _, index in chosen]
    height, width = columns[0][0].shape[:2]
    step, top = max(width, NARROWEST) + GAP, GAP + 2 * LINE
    sheet_width = GAP + step * len(columns)
    legend = list(_legend(dataset, sheet_width))
    bottom = top + max(map(len, columns)) * (height + GAP)
    sheet = ContactSheet(sheet_width, bottom + LINE * (1 + legend[-1][1]) + GAP)
    for place, ((split, index), panels) in enumerate(zip(chosen, columns, strict=True)):
        left = GAP + step * place
        title = split if dataset.labelled[index] else f"{split}, no mask"
        sheet.write(title, left, GAP, width=step - GAP, size=TITLE_SIZE)
        sheet.write(dataset.name(index), left, GAP + LINE, width=step - GAP, colour=GREY)
        for row, panel in enumerate(panels):
            sheet.paste(panel, left, top + row * (height + GAP))
    for x, line, name, swatch in legend:
        y = bottom + line * LINE
        sheet.swatch(swatch, x, y)
        sheet.write(name, x + LINE, y, width=sheet_width - x - LINE)
    write_png(path, sheet.pixels())


def _spread(dataset: Dataset, split: SplitName) -> IntArray:
    """Images from all over a split, of those with a mask if there are any."""
    splits = sum(len(dataset.indices(name)) > 0 for name in SPLITS)
    found = dataset.indices(split, labelled=True)
    if not len(found):
        found = dataset.indices(split)
    places = (np.arange(COLUMNS // splits) + 0.5) / (COLUMNS // splits) * len(found)
    return found[np.unique(places.astype(np.int64))] if len(found) else found


def _panels(dataset: Dataset, index: int) -> list[Canvas]:
    """The image, and if it has a mask, the labels and the image with outlines, at the size they have in the picture."""
    image = fitted(as_rgb(dataset.normalised(index)), smooth=True)
    if not dataset.labelled[index]:
        return [image]
    labels = fitted(dataset.labels(index), smooth=False)
    colours, outlined = in_class_colours(labels, dataset.classes, dataset.ignore), image.copy()
    draw_outlines(outlined, labels, dataset.classes)
    for panel in (colours, outlined):
        _stripe(panel, labels == dataset.ignore)
    return [image, colours, outlined]


def _stripe(panel: Canvas, where: npt.NDArray[np.bool_]) -> None:
    rows, columns = np.indices(where.shape)
    panel[where & ((rows + columns) % STRIPE_DISTANCE < STRIPE_WIDTH)] = STRIPE_COLOUR


def _legend(dataset: Dataset, width: int) -> Iterator[tuple[int, int, str, Canvas]]:
    """Left edge, line, name and swatch of each class, and of what is ignored, in as many lines as they need."""
    swatches = [(class_info.name, plain_swatch(class_info.colour)) for class_info in dataset.classes]
    ignored = plain_swatch(IGNORED_COLOUR)
    _stripe(ignored, np.ones((SWATCH, SWATCH), dtype=bool))
    x, line = GAP, 0
    for name, swatch in [*swatches, ("ignored", ignored)]:
        taken = LINE + round(font(TEXT_SIZE).getlength(name)) + 2 * GAP
        if x + taken > width and x > GAP:
            x, line = GAP, line + 1
        yield x, line, name, swatch
        x += taken
