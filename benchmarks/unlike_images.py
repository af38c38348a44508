"""What is said of images unlike the training images, and how often of images that are like them.

`BIOSEG_DATA=... python -m benchmarks.unlike_images FOLDER`

The grey levels of the 100 training fields of BBBC039 (`test_beds`, in FOLDER) stand for the training. The 50 validation
fields are changed in one way after the other, and compared with them as `bioseg predict` does. Other modalities are the
sections of a fly's nerve cord and the slices of a head of the same benchmarks, scaled to the range of the fields.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from benchmarks import machine, test_beds
from benchmarks.timing import printer, table_of
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.intensities import Intensities, SeenIntensities

Pixels = NDArray[Any]
Change = Callable[[Pixels], Pixels]

TRAINING_IMAGES = (100, 20, 10, 5, 3, 1)
CHOICES = 10
"""Random choices of fewer training images."""


def changes(low: float, high: float) -> dict[str, Change]:
    """Changes of a field (C, H, W) of floats by name; `low` and `high` are the limits of the normalisation."""
    noise = np.random.default_rng(0)
    span = high - low
    return {
        "offset of 0.3 of the range": lambda field: field + 0.3 * span,
        "offset of 32768": lambda field: field + 32768,
        "twice as bright": lambda field: 2 * field,
        "five times as bright": lambda field: 5 * field,
        "fifty times as bright": lambda field: 50 * field,
        "a fifth as bright": lambda field: field / 5,
        "inverted": lambda field: field.max() + field.min() - field,
        "blurred (Gaussian, 3 pixels)": lambda field: gaussian_filter(field, (0, 3, 3)),
        "noise of 0.2 of the range": lambda field: field + noise.normal(0, 0.2 * span, field.shape),
        "magnified four times": lambda field: zoom(
            field[:, : field.shape[1] // 4, : field.shape[2] // 4], (1, 4, 4), order=1
        ),
        "a quarter of the magnification": lambda field: field[:, ::4, ::4],
        "a fifth of the pixels saturated": lambda field: np.minimum(field, np.quantile(field, 0.8)),
        "one value": lambda field: np.full_like(field, field.max()),
        "empty field": lambda field: noise.normal(np.quantile(field, 0.05), 3, field.shape),
    }


def fields(dataset: Dataset, split: str) -> Iterator[Pixels]:
    """The images (C, H, W) of a split as stored."""
    for index in dataset.indices(split).tolist():  # type: ignore[arg-type]
        yield dataset.image(index)


def others(folder: Path, bed: str, low: float, high: float) -> Iterator[Pixels]:
    """Images of another data set, with its limits on those of the fields."""
    with Dataset(data_set(folder, bed)) as dataset:
        for index in dataset.indices("val").tolist():
            yield low + dataset.normalised(index) * (high - low)


def data_set(folder: Path, bed: str) -> Path:
    """The data set of a test bed, made now where it is missing."""
    path = folder / f"{bed}.h5"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        test_beds.write(bed, Path(os.environ["BIOSEG_DATA"]), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    console = printer()
    console.print(machine.describe())
    with Dataset(data_set(folder, "bbbc039")) as dataset:
        limits = dataset.info.normalisation
        low, high = limits.low[0], limits.high[0]
        training = [[Intensities.of(channel) for channel in field] for field in fields(dataset, "train")]
        validation = list(fields(dataset, "val"))
    table = table_of("Validation fields as they are, of which something is said", "training images", "fields", "share")
    chooser = random.Random(0)
    for count in TRAINING_IMAGES:
        told = [
            bool(known.deviations(field, limits))
            for known in (SeenIntensities.of(chooser.sample(training, count)) for _ in range(CHOICES))
            for field in validation
        ]
        table.add_row(str(count), f"{sum(told)} of {len(told)}", f"{np.mean(told):.1%}")
    console.print(table)
    known = SeenIntensities.of(training)
    table = table_of("Changed fields", "change", "told", "refused", "most common")
    most = np.iinfo(validation[0].dtype).max

    def row(name: str, images: Iterator[Pixels]) -> None:
        stored = [np.clip(np.rint(image), 0, most).astype(validation[0].dtype) for image in images]
        found = [known.deviations(image, limits) for image in stored]
        sentences = [deviation.sentence for deviations in found for deviation in deviations]
        starts = [" ".join(sentence.split()[-6:]) for sentence in sentences]
        refused = sum(any(deviation.meaningless for deviation in deviations) for deviations in found)
        common = max(starts, key=starts.count) if starts else ""
        table.add_row(name, f"{sum(map(bool, found))} of {len(found)}", str(refused), common)

    for name, change in changes(low, high).items():
        row(name, (change(field.astype(float)) for field in validation))
    row("sections of nerve tissue", others(folder, "membranes", low, high))
    row("slices of a head", others(folder, "head", low, high))
    console.print(table)


if __name__ == "__main__":
    main()
