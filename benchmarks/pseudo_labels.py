"""Data sets in which a teacher has labelled what nobody drew: one round of offline self-training.

Labelled images keep their masks. In every other training image a pixel gets the class that the teacher is sure of, and
stays without a label where the teacher is not (Yang et al. 2022, ST++; Xie et al. 2020, noisy student).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, IntArray, Item
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.evaluation.forest import fit_forest, pixel_features
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.directory import RunDirectory

SURE = 0.95
"""Least probability of a pseudo-label."""

Teacher = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Probabilities (K, H, W) of an image (C, H, W) in its own type."""


def network(run: Path) -> Teacher:
    """The last state of a run as a teacher."""
    device = resolve_device("cpu")
    state = RunDirectory.open(run).checkpoint("last")
    return Predictor(load_model(state, device), resolve_precision("auto", device)).probabilities


def forest(dataset: Dataset, labelled: IntArray) -> Teacher:
    """A random forest on the labelled images as a teacher; its probabilities are shares of the trees."""
    classifier = fit_forest(dataset, labelled, seed=0).classifier

    def probabilities(image: NDArray[Any]) -> NDArray[np.float32]:
        features = pixel_features(dataset.info.normalisation.apply(image))
        found = classifier.predict_proba(features.reshape(-1, features.shape[-1]))
        by_class: NDArray[np.float32] = np.moveaxis(found.reshape(*features.shape[:2], -1), -1, 0).astype(np.float32)
        return by_class

    return probabilities


def write(source: Dataset, labelled: IntArray, teacher: Teacher, path: Path) -> None:
    """Write the data set `source` anew, with the teacher's labels in its training images but the labelled ones."""
    with DatasetWriter(
        path, count=source.size, image_shape=source.image_shape, image_dtype=source.image_dtype
    ) as writer:
        for index in range(source.size):
            image, labels, split = source.image(index), source.labels(index), source.split[index]
            if split == "train" and index not in labelled:
                probabilities = teacher(image)
                labels = probabilities.argmax(axis=0).astype(np.uint8)
                labels[probabilities.max(axis=0) < SURE] = source.ignore
            drawn = labels if (labels != source.ignore).any() else None
            writer.add(Item(image, drawn, split, source.group[index], source.source(index)))
        writer.finish(DatasetInfo(source.info.recipe, {}, source.info.classes, source.info.normalisation))
