"""What changes of exposure take from the grey levels: how well these alone tell the classes apart, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bioseg_cli.augment.microscopy import LABELLED_SEVERITY, draw_capture
from bioseg_cli.dataset.batches import grey_level_spread
from bioseg_cli.dataset.reader import Dataset

DRAWS = 16
"""Changed exposures of each image."""
MEASURED_PIXELS = 2**16
"""Labelled pixels of an image that are looked at, evenly spaced: up to twice as many."""
MOST_LEVELS = 32
"""Levels that one channel is divided into: with more, those of a few strokes are nearly all empty."""
MOST_CELLS = 512
"""Joint levels of all channels, at most."""


def accuracy_lost(dataset: Dataset, indices: Iterable[int], exposures: Sequence[float]) -> list[float]:
    """For each of `exposures`, by how much changing the labelled images so makes a classifier by grey level worse.

    The classifier is the best that sees nothing but the grey levels of one pixel, and a single one for all changed
    exposures. It is made of every second labelled pixel and scored on the others, by its balanced accuracy (the mean
    of the shares of each class that are found), so that a rare class counts as much as a common one.

    Args:
        dataset: open data set.
        indices: labelled images.
        exposures: as `exposure` of `draw_capture`.
    """
    spread = grey_level_spread(dataset)
    channels = dataset.image_shape[0]
    levels = min(MOST_LEVELS, int(MOST_CELLS ** (1 / channels)))
    shape = 2, len(dataset.classes), levels**channels
    histograms = np.zeros((1 + len(exposures), *shape), np.int64)
    for number, index in enumerate(indices):
        codes = dataset.labels(index)
        drawn = np.flatnonzero(codes != dataset.ignore)
        drawn = drawn[:: max(1, len(drawn) // MEASURED_PIXELS)]
        classes = codes.reshape(-1)[drawn].astype(np.int64)
        # (1, C, 1, pixels): an exposure changes each pixel by itself.
        pixels = torch.from_numpy(dataset.normalised(index).reshape(1, channels, 1, -1)[..., drawn])
        histograms[0] += _counted(pixels, classes, shape, levels)
        for place, exposure in enumerate(exposures, start=1):
            # The same changes, the smaller the share.
            random = np.random.default_rng(number)
            capture = draw_capture(DRAWS, spread, random, severity=LABELLED_SEVERITY, exposure=exposure)
            changed = capture.expose(pixels.expand(DRAWS, -1, -1, -1))
            histograms[place] += _counted(changed, classes, shape, levels)
    unchanged, *after = (_balanced_accuracy(*halves) for halves in histograms)
    return [unchanged - accuracy for accuracy in after]


def _counted(images: Tensor, classes: NDArray[np.int64], shape: tuple[int, int, int], levels: int) -> NDArray[np.int64]:
    """Pixels of images (B, C, 1, pixels) in [0, 1]: (2, K, joint levels), those at even and at odd places."""
    digits = (images[:, :, 0] * levels).long().clamp(0, levels - 1)
    joint = torch.zeros_like(digits[:, 0])
    for channel in digits.unbind(dim=1):
        joint = joint * levels + channel
    half = np.arange(len(classes)) % 2
    places = np.ravel_multi_index((half, classes, joint.numpy()), shape)
    return np.bincount(places.reshape(-1), minlength=int(np.prod(shape))).reshape(shape)


def _balanced_accuracy(fitted: NDArray[np.int64], scored: NDArray[np.int64]) -> float:
    """Of the classifier that one histogram (K, joint levels) makes, on the pixels of the other; 0 where there are none.

    In each joint level, it says the class of which the largest share lies there.
    """
    chosen = (fitted / fitted.sum(axis=1, keepdims=True).clip(1)).argmax(axis=0)
    right = np.array([of_class[chosen == number].sum() for number, of_class in enumerate(scored)])
    there = scored.sum(axis=1)
    return float(np.mean(right[there > 0] / there[there > 0])) if there.any() else 0.0
