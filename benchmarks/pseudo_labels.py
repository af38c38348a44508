"""Data sets in which a trained network has labelled what nobody drew: one round of offline self-training.

Labelled images keep their masks. In every other training image a pixel gets the class that the network is sure of, and
stays without a label where the network is not (Yang et al. 2022, ST++; Xie et al. 2020, noisy student).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, IntArray, Item
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.training.pseudo_labels import SURE


def write(source: Dataset, labelled: IntArray, run: Path, path: Path) -> None:
    """Write the data set `source` anew: in its training images but the labelled ones, labels of a run's last state."""
    device = resolve_device("cpu")
    state = RunDirectory.open(run).checkpoint("last")
    teacher = Predictor(load_model(state, device), resolve_precision("auto", device))
    with DatasetWriter(
        path, count=source.size, image_shape=source.image_shape, image_dtype=source.image_dtype
    ) as writer:
        for index in range(source.size):
            image, labels, split = source.image(index), source.labels(index), source.split[index]
            if split == "train" and index not in labelled:
                probabilities = teacher.probabilities(image)
                labels = probabilities.argmax(axis=0).astype(np.uint8)
                labels[probabilities.max(axis=0) < SURE] = source.ignore
            drawn = labels if (labels != source.ignore).any() else None
            writer.add(Item(image, drawn, split, source.group[index], source.source(index)))
        writer.finish(DatasetInfo(source.info.recipe, {}, source.info.classes, source.info.normalisation))
