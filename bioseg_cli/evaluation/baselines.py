"""What any method has to beat: classical divisions by brightness, and calling everything background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.evaluation.forest import forest_note, forest_prediction
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, GroundTruth, Predict, count_images
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, score_images
from bioseg_cli.evaluation.thresholding import DIVISIONS
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.metrics.mapping import contingency, hungarian
from bioseg_cli.runs.output import Output
from bioseg_cli.training.forest import fit_forest

if TYPE_CHECKING:
    from bioseg_cli.dataset.reader import Dataset

FITTING_IMAGES = 20
"""Labelled training images that decide which brightness is which class; the decision is the same with more."""


@dataclass(frozen=True)
class BrightnessBaseline:
    """A division of each image into brightness bands, with a fixed class for each of the bands.

    Attributes:
        name: of the division, see `thresholding.DIVISIONS`.
        mapping: (K,) class of each band, the darkest first.
        fitted_on: number of labelled training images that decided it; 0 = assumed, darkest band = class 0.
    """

    name: str
    mapping: NDArray[np.int64]
    fitted_on: int

    def predictor(self, truth: GroundTruth) -> Predict:
        """The baseline's prediction for each image of `truth`."""

        classes = self.mapping.astype(np.min_scalar_type(len(self.mapping)))

        def predict(number: int) -> Pixels:
            return np.take(classes, brightness_bands(self.name, truth, number, len(classes)))

        return predict

    @property
    def note(self) -> str:
        """What it is, and who decided on the classes."""
        decided = f"which side is which class was decided on {self.fitted_on} labelled training images"
        assumed = "the brighter side is taken for the higher class, as no training images are given to decide it"
        return f"{self.name}: {DIVISIONS[self.name].about}; {decided if self.fitted_on else assumed}."


def fit_baseline(name: str, dataset: Dataset) -> BrightnessBaseline:
    """Decide on labelled training images which band is which class, one to one, most pixels matching.

    Where no training image has a mask the brighter band is taken for the higher class.
    """
    classes = len(dataset.classes)
    if not len(dataset.label_order):
        return assumed_baseline(name, classes)
    truth = DatasetGroundTruth(dataset, "train", dataset.label_budgets().first(FITTING_IMAGES))

    def table(number: int) -> NDArray[np.int64]:
        bands = brightness_bands(name, truth, number, classes)
        return contingency(bands, truth.labels(number), classes, classes, truth.ignore)

    numbers = range(len(truth.names))
    with prefetched_map(table, numbers, most=WORKERS) as tables:
        return BrightnessBaseline(name, hungarian(np.sum(list(tables), axis=0)), len(numbers))


def assumed_baseline(name: str, classes: int) -> BrightnessBaseline:
    """Where there is nothing to decide on: the brighter, the higher the class."""
    return BrightnessBaseline(name, np.arange(classes), 0)


def can_divide(name: str, classes: int) -> bool:
    """Whether a division can tell that many classes apart."""
    most = DIVISIONS[name].most
    return most is None or classes <= most


def all_background(images: ImageCounts) -> ImageCounts:
    """The counts that class 0 everywhere would have on the images of `images`."""
    counts = np.zeros_like(images.counts)
    counts[:, :, 0] = images.counts.sum(axis=2)
    return ImageCounts(images.names, images.groups, counts)


def score_baselines(
    wanted: Sequence[str],
    truth: GroundTruth,
    dataset: Dataset | None,
    images: ImageCounts,
    resampling: Resampling,
    output: Output,
    budgets: Sequence[IntArray] = (),
) -> tuple[tuple[Evaluation, ...], tuple[str, ...]]:
    """Score the baselines.

    Args:
        wanted: their names.
        truth: the images; those of a folder of masks may be unknown.
        dataset: its training images decide which band is which class; None = there are none.
        images: anybody's counts on them.
        resampling: for the intervals.
        output: for the progress bar.
        budgets: labelled training images of `dataset`, by index; a forest is grown on each, and on all that there are
            where no budget is given.

    Returns:
        The rows, and what a reader must know of them.
    """
    notes = []
    counts: dict[str, ImageCounts] = {}
    classes = len(truth.classes)
    for name in wanted:
        if name == "all-background":
            counts[name] = all_background(images)
        elif name == "forest":
            if dataset is None or not len(dataset.label_order):
                notes.append("forest is left out: it needs labelled training images, which a data set has.")
                continue
            grown: list[IntArray] = []
            for labelled in budgets or (dataset.label_order,):
                forest = fit_forest(dataset, labelled, resampling.seed)
                plural = "" if len(labelled) == 1 else "s"
                row = f"forest, {len(labelled)} label{plural}" if len(budgets) > 1 else name
                alike = sum(len(other) == len(labelled) for other in grown)
                grown.append(labelled)
                if alike:  # other images, and as many of them
                    row = f"{row} ({alike + 1})"
                    notes.append("Forests of as many labels are numbered in the order of the runs.")
                counts[row] = count_images(
                    truth, forest_prediction(forest, truth), output, description="Scoring a forest"
                )
                notes.append(forest_note(forest))
        elif not can_divide(name, classes):
            notes.append(f"{name} is left out: {classes} classes are too many for it.")
        elif truth.image(0) is None:
            notes.append(f"{name} is left out: it needs the images.")
        else:
            fitted = assumed_baseline(name, classes) if dataset is None else fit_baseline(name, dataset)
            counts[name] = count_images(truth, fitted.predictor(truth), output, description=f"Scoring {name}")
            notes.append(fitted.note)
    names = [class_info.name for class_info in truth.classes]
    rows = tuple(Evaluation(name, images, score_images(images, names, resampling)) for name, images in counts.items())
    return rows, tuple(notes)


def brightness_bands(name: str, truth: GroundTruth, number: int, bands: int) -> Pixels:
    """Divide an image of `truth` into brightness bands (H, W), 0..K-1, darkest first; 0 in the padding."""
    image = truth.image(number)
    if image is None:
        raise ValueError("a brightness baseline needs images")
    extent = truth.extent(number)
    result = np.zeros(image.shape[1:], dtype=np.min_scalar_type(bands))
    result[extent] = DIVISIONS[name].divide(image[:, *extent], bands)
    return result
