"""Pseudo-labels of a random forest: labels for unlabelled images that the training learns beside those that were drawn.

The forest is grown on the labelled pixels. In unlabelled images, and where labelled images were not drawn, a pixel gets
the class that the forest is sure of, and stays without a label where the forest is not. This is one round of offline
self-training (Yang et al. 2022, ST++; Xie et al. 2020, noisy student), in which the first teacher is no network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.training.forest import fit_forest

SURE = 0.95
"""Least share of the trees that a pseudo-label needs."""

MOST_IMAGES = 200
"""Images that get pseudo-labels, evenly spaced among more: the forest takes about a second per image."""


def forest_labels(dataset: Dataset, labelled: IntArray, pool: IntArray, seed: int) -> Mapping[int, Pixels]:
    """Labels (H, W) by the index of their image: those that were drawn and, elsewhere, those that a forest is sure of.

    Args:
        dataset: open.
        labelled: indices of the images that the forest is grown on.
        pool: indices of the images that get labels; those that are among `labelled` keep what was drawn.
        seed: of the forest.
    """
    forest = fit_forest(dataset, labelled, seed)
    drawn = frozenset(labelled.tolist())

    def labels_of(index: int) -> Pixels:
        extent = dataset.extent(index)
        labels = np.full(dataset.image_shape[1:], dataset.ignore, dtype=np.min_scalar_type(dataset.ignore))
        shares = forest.probabilities(dataset.normalised(index)[:, *extent])
        labels[extent] = np.where(shares.max(axis=0) >= SURE, forest.codes[shares.argmax(axis=0)], dataset.ignore)
        if index not in drawn:
            return labels
        given = dataset.labels(index)
        return np.where(given == dataset.ignore, labels, given)

    spaced = np.unique(np.linspace(0, len(pool) - 1, MOST_IMAGES).round().astype(int))
    images = pool[spaced].tolist()
    with prefetched_map(labels_of, images, most=WORKERS) as found:
        return dict(zip(images, found, strict=True))
