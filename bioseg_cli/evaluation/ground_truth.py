"""What predictions are compared with, and the comparison itself: one confusion matrix an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.area import per_cent
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.scores import ImageCounts
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.metrics.confusion import confusion_counts
from bioseg_cli.objects.instances import Objects
from bioseg_cli.objects.labelled import connected_objects, objects_of_classes
from bioseg_cli.runs.output import Output

if TYPE_CHECKING:
    # Not at start: folders of masks are scored without h5py.
    from bioseg_cli.dataset.reader import Dataset

NUMBERED = "True objects have the numbers of the masks."
CONNECTED = "True objects are the connected components of each class: objects that touch count as one."

Window = tuple[slice, slice]
Predict = Callable[[int], Pixels]
"""Class codes (H, W) predicted for image number i of a truth."""
Segment = Callable[[int], Mapping[str, Pixels]]
"""Clusters (H, W) of image number i of a truth, by head."""


class GroundTruth(Protocol):
    """N labelled images, by number.

    Attributes:
        classes: what the codes mean, the background first.
        ignore: the label of pixels that are not counted.
        names: (N,) unique names.
        groups: (N,) what an image belongs to: frames of one sequence share a group.
        drawn_in: pixels of the images, where they were drawn in part; None where every pixel was drawn.
        objects_are: what an object of the truth is, in a sentence.
    """

    @property
    def drawn_in(self) -> int | None: ...  # noqa: D102
    @property
    def objects_are(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[ClassInfo, ...]: ...  # noqa: D102
    @property
    def ignore(self) -> int: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def groups(self) -> tuple[str, ...]: ...  # noqa: D102

    def labels(self, number: int) -> Pixels:
        """(H, W) class codes or `ignore`."""

    def objects(self, number: int) -> Objects:
        """The true objects of each class."""

    def image(self, number: int) -> NDArray[np.float32] | None:
        """(C, H, W) in [0, 1]; None where no image is known."""

    def extent(self, number: int) -> Window:
        """Rows and columns that show the source; the rest is padding."""


class DatasetGroundTruth:
    """The labelled images of a split of a data set, or those of it that `indices` names; a `GroundTruth`.

    Attributes:
        unlabelled: number of images of the split without a mask.

    Raises:
        DataError: the split holds no labelled image.
    """

    def __init__(self, dataset: Dataset, split: SplitName, indices: IntArray | None = None) -> None:
        self.dataset = dataset
        self.indices = dataset.indices(split, labelled=True) if indices is None else indices
        if not len(self.indices):
            raise DataError(
                f"The {split} split holds no labelled image", where=dataset.path, fix="Choose another --split."
            )
        self.unlabelled = len(dataset.indices(split, labelled=False)) if indices is None else 0
        self.classes = dataset.classes
        self.ignore = dataset.ignore
        self.names = tuple(dataset.name(int(index)) for index in self.indices)
        self.groups = tuple(str(dataset.group[index]) for index in self.indices)
        areas = (dataset.labelled_area(int(index))[1] for index in self.indices) if dataset.drawn_in_part else ()
        self.drawn_in = sum(areas) or None
        self.objects_are = NUMBERED if dataset.numbers_objects else CONNECTED

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of the split."""
        if not self.unlabelled:
            return ()
        return (f"{self.unlabelled} images of the split have no mask and were left out.",)

    def labels(self, number: int) -> Pixels:
        """(H, W) class codes or `ignore`."""
        return self.dataset.labels(int(self.indices[number]))

    def objects(self, number: int) -> Objects:
        """The true objects: those that the masks numbered, or the connected components of each class."""
        codes, count = self.labels(number), len(self.classes)
        if self.dataset.numbers_objects:
            return objects_of_classes(self.dataset.objects(int(self.indices[number])), codes, count)
        return connected_objects(codes, count)

    def stored(self, number: int) -> Pixels:
        """(C, H, W) in the data set's own type."""
        return self.dataset.image(int(self.indices[number]))

    def image(self, number: int) -> NDArray[np.float32]:
        """(C, H, W) in [0, 1], by the data set's normalisation."""
        return self.dataset.normalised(int(self.indices[number]))

    def extent(self, number: int) -> Window:
        """Rows and columns that show the source; the rest is padding."""
        return self.dataset.extent(int(self.indices[number]))


def remarks(truth: GroundTruth, images: ImageCounts, *, by_group: bool) -> list[str]:
    """What a reader must know of the images that were scored."""
    notes = drawn_remarks(truth, images)
    if empty := len(truth.names) - len(images.names):
        notes.append(f"{empty} images hold nothing but ignored pixels and were left out.")
    groups = len(set(images.groups))
    if by_group:
        notes.append(f"Intervals: bootstrap over {groups} groups." if groups > 1 else "One group: no intervals.")
    elif len(images.names) > 1:
        plural = "s" if groups > 1 else ""
        alike = f"; they come from {groups} group{plural} (sequences, files), which --by-group allows for"
        notes.append(f"Intervals: bootstrap over images{alike if groups < len(images.names) else ''}.")
    else:
        notes.append("One image: no intervals.")
    return notes


def drawn_remarks(truth: GroundTruth, images: ImageCounts) -> list[str]:
    """What a reader must know of the pixels that were scored, where the truth was drawn in part."""
    if truth.drawn_in is None:
        return []
    pixels = int(images.counts.sum())
    return [
        f"Scored are the {pixels} pixels that were drawn, {per_cent(pixels / truth.drawn_in)} % of the images. Who "
        "draws strokes avoids what is hard to tell: all pixels might score lower."
    ]


def count_images(truth: GroundTruth, predict: Predict, output: Output, *, description: str) -> ImageCounts:
    """Compare every image, several at once; those without a counted pixel are left out.

    Args:
        truth: what is right.
        predict: what is to be scored; called from several threads.
        output: for the progress bar.
        description: of the work, for the progress bar.

    Raises:
        DataError: a prediction has another shape than its image, or holds a class that there is not.
    """

    def compare(number: int) -> NDArray[np.int64]:
        with naming(truth, number):
            return confusion_counts(truth.labels(number), predict(number), len(truth.classes), truth.ignore)

    numbers = range(len(truth.names))
    with prefetched_map(compare, numbers, most=2 * WORKERS) as done:
        return counts_of_images(truth, output.track(done, description, len(numbers)))


def counts_of_images(truth: GroundTruth, counts: Iterable[NDArray[np.int64]]) -> ImageCounts:
    """The images of a truth with their counts (K, K), in its order; without those that have no counted pixel."""
    every = np.stack(list(counts))
    scored = np.flatnonzero(every.sum(axis=(1, 2)))
    return ImageCounts(
        names=tuple(truth.names[i] for i in scored),
        groups=tuple(truth.groups[i] for i in scored),
        counts=every[scored],
    )


@contextmanager
def naming(truth: GroundTruth, number: int) -> Iterator[None]:
    """Within it, a `DataError` that names no file is raised with the name of image `number`."""
    try:
        yield
    except DataError as error:
        if error.where is not None:
            raise
        raise DataError(error.what, where=truth.names[number], fix=error.fix) from None
