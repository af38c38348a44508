"""What a run without labels has found: images, truth, and of each head the clusters and the classes they became.

In the manner of Figure 6 of Horlava et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bioseg_cli.evaluation.figures import (
    COLUMN_INCHES,
    DPI,
    HEIGHT_TO_WIDTH,
    TITLE_INCHES,
    colour_key,
    shortened,
    shown_image,
    write_row_title,
)
from bioseg_cli.evaluation.ground_truth import GroundTruth, Segment
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.figures.palette import cluster_colours, in_class_colours
from bioseg_cli.io.files import replacing

KEY_LINE_INCHES = 0.16
KEY_MARGIN_INCHES = 0.35


def write_clusters(path: Path, truth: GroundTruth, segment: Segment, rows: Sequence[Evaluation]) -> None:
    """Draw the images of lowest, middle and highest mean IoU in the row that scores best.

    Args:
        path: PNG to write.
        truth: holds the images.
        segment: clusters (H, W) of an image, by head.
        rows: all that was scored of a run and state; the first of each head says what its clusters became.
    """
    heads = {row.head: row for row in reversed(rows)}
    columns = [heads[head] for head in dict.fromkeys(row.head for row in rows)]
    best = max(rows, key=lambda row: row.score.mean_iou)
    figure = _draw(_chosen(best, truth), truth, segment, columns)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=DPI, format="png")


def _chosen(row: Evaluation, truth: GroundTruth) -> list[tuple[str, int]]:
    """Title and number of the worst, the median and the best image; fewer where there are fewer.

    Images of nothing but background show nothing of clusters: they are passed over where there are others.
    """
    iou = row.images.image_iou()
    order = np.argsort(iou, kind="stable")
    telling = row.images.counts[order, 1:].sum(axis=(1, 2)) > 0
    order = order[telling] if telling.any() else order
    places = {0: "worst", len(order) // 2: "median", len(order) - 1: "best"}
    names = {name: number for number, name in enumerate(truth.names)}
    found = [(which, int(order[place])) for place, which in sorted(places.items())]
    return [
        (
            f"{which}: {shortened(row.images.names[i])}, mean IoU {iou[i]:.4f} ({row.head} head, {row.mapping})",
            names[row.images.names[i]],
        )
        for which, i in found
    ]


def _draw(
    chosen: Sequence[tuple[str, int]], truth: GroundTruth, segment: Segment, columns: Sequence[Evaluation]
) -> Figure:
    headings = ["image", "truth"]
    for column in columns:
        headings += [f"{column.head} head, clusters", f"{column.head} head, classes, {column.mapping}"]
    height, width = truth.labels(chosen[0][1]).shape
    lines = max(len(truth.classes), *(len(column.mapping.classes) for column in columns if column.mapping is not None))
    key_inches = KEY_LINE_INCHES * lines + KEY_MARGIN_INCHES
    row_inches = COLUMN_INCHES * float(np.clip(height / width, *HEIGHT_TO_WIDTH)) + TITLE_INCHES
    size = (COLUMN_INCHES * len(headings), row_inches * len(chosen) + key_inches)
    figure = Figure(figsize=size, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(size[1] - key_inches, key_inches), squeeze=False)[:, 0]
    axes = above.subplots(len(chosen), len(headings), squeeze=False)
    for (title, number), row in zip(chosen, axes, strict=True):
        for axis, picture in zip(row, _pictures(number, truth, segment, columns), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        write_row_title(row[0], title)
    for axis, heading in zip(axes[-1], headings, strict=True):
        axis.set_xlabel(heading, fontsize=8)
    _draw_keys(below.subplots(1, len(headings), squeeze=False)[0], truth, columns)
    return figure


def _pictures(number: int, truth: GroundTruth, segment: Segment, columns: Sequence[Evaluation]) -> list[NDArray[Any]]:
    pictures: list[NDArray[Any]] = [
        shown_image(truth, number),
        in_class_colours(truth.labels(number), truth.classes, truth.ignore),
    ]
    maps = segment(number)
    for column in columns:
        if column.head is None or column.mapping is None:
            raise ValueError("a row of clusters has a head and a mapping")
        clusters, classes = maps[column.head], np.array(column.mapping.classes)
        none = len(classes)
        pictures.append(in_class_colours(clusters, cluster_colours(none), none))
        pictures.append(in_class_colours(classes[clusters], truth.classes, truth.ignore))
    return pictures


def _draw_keys(axes: Sequence[Axes], truth: GroundTruth, columns: Sequence[Evaluation]) -> None:
    """Below the truth the classes, below each head's clusters what they became."""
    keys = {1: colour_key([(class_info.name, class_info.colour) for class_info in truth.classes])}
    for place, column in enumerate(columns):
        codes = () if column.mapping is None else column.mapping.classes
        entries = zip(cluster_colours(len(codes)), codes, strict=True)
        keys[2 + 2 * place] = colour_key(
            [(f"{each.name}: {truth.classes[code].name}", each.colour) for each, code in entries]
        )
    for place, axis in enumerate(axes):
        axis.axis("off")
        if place in keys:
            axis.legend(handles=keys[place], loc="upper left", fontsize=7, frameon=False, borderpad=0)
