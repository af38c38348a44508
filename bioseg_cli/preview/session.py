"""From settings to the picture: images are chosen, their views are drawn, and the picture is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bioseg_cli.augment.microscopy import strongest_captures
from bioseg_cli.config import MAGNITUDE_MAX
from bioseg_cli.dataset.batches import ImageSource, grey_level_spread, random_stream
from bioseg_cli.dataset.reader import Dataset, find_dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import refuse_existing
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.preview.figure import Sheet, write_sheet
from bioseg_cli.preview.result import PreviewResult
from bioseg_cli.preview.settings import PreviewConfig
from bioseg_cli.preview.views import (
    Panel,
    capture_meaning,
    microscopy_panels,
    single_operations,
    strong_panels,
    weak_panels,
)
from bioseg_cli.printable import printable
from bioseg_cli.runs.output import Output

ORIGINAL = "original"
STRONG_DRAWS, WEAK_DRAWS = 2, 5
"""Views of each image drawn at random as in training."""
WEAK_CAPTION_LINES = 3
CAPTURE_CAPTION_LINES = 9
"""An image is blurred or sharpened, not both: eight changes, and the rotation."""


def run(config: PreviewConfig, output: Output, *, overwrite: bool) -> PreviewResult:
    """Draw the picture.

    Raises:
        UsageError: no data set was given and `data/` does not hold exactly one, or the picture exists already.
        DataError: the data set cannot be read or has no training image, or the disk is full.
    """
    data = find_dataset(config.data)
    path = config.out or Path(f"preview-{data.stem}-{config.view}.png")
    with owned_file(path, say=output.say), Dataset(data) as dataset:
        refuse_existing(path, overwrite=overwrite)
        indices = chosen_images(dataset, config)
        sheet, rows = draw_views(dataset, indices, config)
        write_sheet(path, sheet, output.track(rows, "Preview", len(indices)))
    magnitude = config.magnitude if config.view == "strong" else None
    return PreviewResult(path, data, config.view, sheet.names, magnitude)


def chosen_images(dataset: Dataset, config: PreviewConfig) -> IntArray:
    """Random images of the training split; of the weak view, whose masks are shown, those with a mask first.

    Raises:
        DataError: there is no training image.
    """
    training = dataset.indices("train")
    if not len(training):
        raise DataError("The training split has no image", where=dataset.path, fix="Prepare it again with more images.")
    order = random_stream(config.seed, "order").permutation(training)
    if not config.strong:
        order = order[np.argsort(~dataset.labelled[order], kind="stable")]
    return order[: config.images]


def draw_views(dataset: Dataset, indices: IntArray, config: PreviewConfig) -> tuple[Sheet, Iterable[Iterable[Panel]]]:
    """What the picture says, and the panels of each row, which are made one by one as they are asked for."""
    source = ImageSource(dataset, 0, labels=not config.strong)
    crops, random = random_stream(config.seed, "crop"), random_stream(config.seed, "augment")
    batches = (source.batch(np.array([index]), crop=config.crop, random=crops) for index in indices.tolist())
    channels, height, width = dataset.image_shape
    outlined = False
    if config.view == "microscopy":
        spread = grey_level_spread(dataset)
        captures = strongest_captures(spread, exposure=config.exposure)
        rows = (
            microscopy_panels(batch, captures, spread, STRONG_DRAWS, random, exposure=config.exposure)
            for batch in batches
        )
        title = "what a microscope changes, each at its strongest, and views drawn in training"
        alone = [capture_meaning(capture)[0].replace(" ", "\n") for capture in captures]
        drawn = ["labelled image\nhalf range"] * STRONG_DRAWS + ["strong view\nfull range"] * STRONG_DRAWS
        captioned, lines = 2 * STRONG_DRAWS, CAPTURE_CAPTION_LINES
    elif config.strong:
        count = config.strong_ops
        operations = single_operations(config.magnitude, random.uniform(0, 360), channels)
        rows = (strong_panels(batch, operations, STRONG_DRAWS, count, random, deep=dataset.deep) for batch in batches)
        title = f"strong operations alone, magnitude {config.magnitude} of {MAGNITUDE_MAX}, and views drawn in training"
        alone = [f"{operation.name}\n{operation.meaning}" for operation in operations]
        drawn = [f"strong view\n{count} operation{'s' if count > 1 else ''}"] * STRONG_DRAWS
        captioned, lines = STRONG_DRAWS, count
    else:
        wide = config.view == "wide"
        rows = (
            weak_panels(batch, WEAK_DRAWS, random, labelled=bool(dataset.labelled[batch.indices[0]]), wide=wide)
            for batch in batches
        )
        title = f"{'wide' if wide else 'weak'} views drawn in training"
        alone, drawn = [], [f"{'wide' if wide else 'weak'} view"] * WEAK_DRAWS
        outlined = bool(dataset.labelled[indices].any())
        captioned, lines = WEAK_DRAWS, WEAK_CAPTION_LINES
    headings = (ORIGINAL, *alone, *drawn)
    longest = max(height, width) if config.crop is None else config.crop
    sheet = Sheet(
        title=f"{printable(dataset.path.stem)}: {title}",
        headings=headings,
        names=tuple(printable(dataset.name(index)) for index in indices.tolist()),
        shape=(min(height, longest), min(width, longest)),
        without_caption=len(headings) - captioned,
        caption_lines=lines,
        classes=dataset.classes if outlined else (),
    )
    return sheet, rows
