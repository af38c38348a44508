"""The grey levels of the training images, for the model to keep: images unlike them are named when it predicts."""

from __future__ import annotations

import numpy as np

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.intensities import Intensities, SeenIntensities
from bioseg_cli.io.prefetch import WORKERS, prefetched_map

MOST_IMAGES = 500
"""Evenly drawn from all training images: reading takes some milliseconds for each."""


def training_intensities(dataset: Dataset) -> SeenIntensities:
    """Of the images of the training split, labelled or not; padding is left out."""
    images = dataset.indices("train")
    places = np.linspace(0, len(images) - 1, min(len(images), MOST_IMAGES)).astype(int)
    with prefetched_map(lambda index: _channels(dataset, index), images[places].tolist(), most=2 * WORKERS) as found:
        return SeenIntensities.of(list(found))


def _channels(dataset: Dataset, index: int) -> list[Intensities]:
    rows, columns = dataset.extent(index)
    return [Intensities.of(channel) for channel in dataset.image(index)[:, rows, columns]]
