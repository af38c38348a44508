"""What each training of a cross-validation leaves out: a labelled image, or part of the labels of a single one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError

PARTS_OF_ONE = 4
"""Parts that the labels of a single image are cut into."""


@dataclass(frozen=True)
class Fold:
    """What one training leaves out.

    Attributes:
        index: of the labelled image that is scored.
        part: (H, W), true where its labels are left out and scored; everywhere, but for a run with a single image.
    """

    index: int
    part: NDArray[np.bool_]


class DatasetWithout(Dataset):
    """A data set as a training sees it that leaves a fold out: without those labels, and without validation.

    Args:
        path: of the data set.
        labelled: the labelled images of the run.
        fold: what is left out.
    """

    def __init__(self, path: Path, labelled: IntArray, fold: Fold) -> None:
        super().__init__(path)
        self._fold = fold
        self.label_order = labelled[labelled != fold.index] if fold.part.all() else labelled
        self.split = np.where(self.split == "train", "train", "test")

    def labels(self, index: int) -> Pixels:
        """The labels, `ignore` in the part that is left out."""
        labels = super().labels(index)
        return (
            np.where(self._fold.part, self.ignore, labels).astype(labels.dtype) if index == self._fold.index else labels
        )


def leave_out(dataset: Dataset, labelled: IntArray) -> list[Fold]:
    """A fold for each labelled image; of a single one, for each of its parts with about as many labelled pixels.

    The parts are bands across the longer side: pixels of a part then have few neighbours that were trained on.

    Raises:
        DataError: without one of the images, or of the parts of a single image, the others show one class alone.
    """
    shape = dataset.image_shape[1:]
    if len(labelled) > 1:
        for index in labelled.tolist():
            if len(dataset.label_budgets().classes_in(labelled[labelled != index])) < 2:
                raise DataError(
                    f"Without labels of {dataset.name(index)} the others show a single class: they teach nothing",
                    where=dataset.path,
                    fix="Label another image too.",
                )
        return [Fold(index, np.ones(shape, dtype=bool)) for index in labelled.tolist()]
    index = int(labelled[0])
    labels = dataset.labels(index)
    along = int(np.argmax(shape))
    # Of a few strokes one part may be all there is of a class: then the other way round may leave some of each.
    for bands in (_bands(labels != dataset.ignore, along), _bands(labels != dataset.ignore, 1 - along)):
        parts = [bands == part for part in np.unique(bands)]
        rests = [labels[~part] for part in parts]
        if all(len(np.unique(rest[rest != dataset.ignore])) > 1 for rest in rests):
            return [Fold(index, part) for part in parts]
    raise DataError(
        f"{dataset.name(index)} is the only labelled image, and without one of {PARTS_OF_ONE} parts of its labels it "
        "shows a single class",
        where=dataset.path,
        fix="Draw each class in several places, or label another image too.",
    )


def _bands(drawn: NDArray[np.bool_], along: int) -> NDArray[np.int64]:
    """(H, W) the band of each pixel across an axis, by how many of the labelled pixels come before its middle."""
    before = drawn.sum(axis=1 - along).cumsum()
    bands = np.minimum(PARTS_OF_ONE * (before - 0.5) / before[-1], PARTS_OF_ONE - 1).astype(np.int64).clip(0)
    return np.broadcast_to(np.expand_dims(bands, 1 - along), drawn.shape)
