"""The worst and the best images of an evaluation, with what went wrong in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bioseg_cli.evaluation.ground_truth import GroundTruth, Predict
from bioseg_cli.evaluation.scores import ImageCounts
from bioseg_cli.figures.difference import DIFFERENCE_COLOURS, DIFFERENCE_NAMES, difference_map
from bioseg_cli.figures.display_range import for_display
from bioseg_cli.figures.palette import in_class_colours
from bioseg_cli.io.files import replacing
from bioseg_cli.printable import printable

ROWS_EACH = 3
"""Worst images shown, and best ones."""
COLUMN_INCHES, TITLE_INCHES, KEY_INCHES, DPI = 2.6, 0.35, 0.9, 110
HEIGHT_TO_WIDTH = (0.3, 2.0)
"""Images outside these proportions are shown smaller than their column."""
LONGEST_NAME = 60


def write_worst_best(path: Path, truth: GroundTruth, predict: Predict, images: ImageCounts) -> None:
    """Draw the images of lowest and of highest mean IoU: image, truth, prediction, difference.

    Args:
        path: PNG to write.
        truth: holds the images.
        predict: class codes (H, W) of an image.
        images: their counts, by which they are ranked.
    """
    iou = images.image_iou()
    order = np.argsort(iou, kind="stable").tolist()
    worst = order[: min(ROWS_EACH, (len(order) + 1) // 2)]
    best = order[len(worst) :][-ROWS_EACH:][::-1]
    number_of = {name: number for number, name in enumerate(truth.names)}
    rows = [
        (f"{which}: {shortened(images.names[i])}, mean IoU {iou[i]:.4f}", number_of[images.names[i]])
        for which, chosen in (("worst", worst), ("best", best))
        for i in chosen
    ]
    figure = _draw(rows, truth, predict)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=DPI, format="png")


def _draw(rows: Sequence[tuple[str, int]], truth: GroundTruth, predict: Predict) -> Figure:
    with_image = truth.image(rows[0][1]) is not None
    headings = (*(("image",) if with_image else ()), "truth", "prediction", "difference")
    height, width = truth.labels(rows[0][1]).shape
    row_inches = COLUMN_INCHES * float(np.clip(height / width, *HEIGHT_TO_WIDTH)) + TITLE_INCHES
    size = (COLUMN_INCHES * len(headings), row_inches * len(rows) + KEY_INCHES)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(headings), squeeze=False)
    for (title, number), row in zip(rows, axes, strict=True):
        labels, predictions = truth.labels(number), predict(number)
        pictures: list[NDArray[Any]] = [
            in_class_colours(labels, truth.classes, truth.ignore),
            in_class_colours(predictions, truth.classes, truth.ignore),
            DIFFERENCE_COLOURS[difference_map(labels, predictions, truth.ignore)],
        ]
        if with_image:
            pictures.insert(0, shown_image(truth, number))
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture)
            axis.set_xticks([])
            axis.set_yticks([])
        write_row_title(row[0], title)
    for axis, heading in zip(axes[-1], headings, strict=True):
        axis.set_xlabel(heading, fontsize=8)
    classes = colour_key([(class_info.name, class_info.colour) for class_info in truth.classes])
    differences = colour_key(zip(DIFFERENCE_NAMES, DIFFERENCE_COLOURS[1:].tolist(), strict=True))
    figure.legend(handles=classes, loc="outside lower left", ncols=3, fontsize=7, frameon=False)
    figure.legend(handles=differences, loc="outside lower right", ncols=3, fontsize=7, frameon=False)
    return figure


def write_row_title(axis: Axes, title: str) -> None:
    """Write what a row of pictures shows above its first one."""
    # The layout reserves the height of an empty title; by the real one, which spans the row, it would part the columns.
    axis.set_title(" ", fontsize=8)
    # Names of images are in it, and a dollar sign in a name begins no formula.
    text = axis.text(0, 1.02, printable(title), fontsize=8, va="bottom", transform=axis.transAxes, parse_math=False)
    text.set_in_layout(False)


def colour_key(entries: Iterable[tuple[str, Sequence[int]]]) -> list[Patch]:
    """A patch of colour for each name, for a legend."""
    return [Patch(facecolor=f"#{bytes(rgb).hex()}", edgecolor="black", label=name) for name, rgb in entries]


def shown_image(truth: GroundTruth, number: int) -> NDArray[np.float32]:
    """An image of the truth for display, (H, W, 3)."""
    image = truth.image(number)
    if image is None:
        raise ValueError("the truth holds images for some numbers only")
    return for_display(image, truth.extent(number))


def shortened(name: str) -> str:
    """A name of bearable length: its middle is left out."""
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 3) // 2
    return f"{name[:half]}...{name[-half:]}"
