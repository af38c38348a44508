"""What any method has to beat: Otsu's threshold of each image, and calling everything background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, score_images
from bioseg_cli.evaluation.truth import DatasetTruth, Predict, Truth, count_images
from bioseg_cli.metrics.mapping import contingency, hungarian
from bioseg_cli.runs.console import Output

FITTING_IMAGES = 20
"""Labelled training images that decide which brightness is which class; the decision is the same with more."""

HISTOGRAM_BINS = {2: 256, 3: 256, 4: 256, 5: 128}
"""Bins of Otsu's histogram by number of classes: the search grows with bins ** (classes - 1) and stops being quick."""


@dataclass(frozen=True)
class OtsuBaseline:
    """Otsu's thresholds of each image, with a fixed class for each of the brightness bands.

    Attributes:
        mapping: (K,) class of each band, the darkest first.
        fitted_on: number of labelled training images that decided it; 0 = assumed, darkest band = class 0.
    """

    mapping: NDArray[np.int64]
    fitted_on: int

    def predictor(self, truth: Truth) -> Predict:
        """The baseline's prediction for each image of `truth`."""

        def predict(number: int) -> Pixels:
            return self.mapping[brightness_bands(truth, number, len(self.mapping))]

        return predict


def fit_otsu(dataset: Dataset) -> OtsuBaseline | None:
    """Decide on labelled training images which brightness band is which class, one to one, most pixels matching.

    None where the classes are too many for Otsu's search, or no training image has a mask.
    """
    classes = len(dataset.classes)
    if classes not in HISTOGRAM_BINS or not len(dataset.label_order):
        return None
    truth = DatasetTruth(dataset, "train", dataset.label_order[:FITTING_IMAGES])
    table = np.zeros((classes, classes), dtype=np.int64)
    for number in range(len(truth.names)):
        bands = brightness_bands(truth, number, classes)
        table += contingency(bands, truth.labels(number), classes, classes, truth.ignore)
    return OtsuBaseline(hungarian(table), len(truth.names))


def assumed_otsu(classes: int) -> OtsuBaseline | None:
    """Where there is nothing to decide on: the brighter, the higher the class. None for too many classes."""
    return OtsuBaseline(np.arange(classes), 0) if classes in HISTOGRAM_BINS else None


def all_background(images: ImageCounts) -> ImageCounts:
    """The counts that class 0 everywhere would have on the images of `images`."""
    counts = np.zeros_like(images.counts)
    counts[:, :, 0] = images.counts.sum(axis=2)
    return ImageCounts(images.names, images.groups, counts)


def score_baselines(
    truth: Truth, images: ImageCounts, otsu: OtsuBaseline | None, resampling: Resampling, output: Output
) -> tuple[tuple[Evaluation, ...], tuple[str, ...]]:
    """Score the baselines.

    Args:
        truth: the images.
        images: anybody's counts on them.
        otsu: None = leave it out.
        resampling: for the intervals.
        output: for the progress bar.

    Returns:
        The rows, and what a reader must know of them.
    """
    notes = []
    counts: dict[str, ImageCounts] = {}
    if otsu is not None:
        counts["otsu"] = count_images(truth, otsu.predictor(truth), output, description="Scoring otsu")
        decided = f"which side is which class was decided on {otsu.fitted_on} labelled training images"
        assumed = "the brighter side is taken for the higher class, as no training images are given to decide it"
        notes.append(f"otsu: a threshold for each image; {decided if otsu.fitted_on else assumed}.")
    elif len(truth.classes) not in HISTOGRAM_BINS:
        notes.append(f"otsu is left out: {len(truth.classes)} classes are too many for its search.")
    counts["all-background"] = all_background(images)
    names = [one.name for one in truth.classes]
    rows = tuple(Evaluation(name, one, score_images(one, names, resampling)) for name, one in counts.items())
    return rows, tuple(notes)


def brightness_bands(truth: Truth, number: int, bands: int) -> Pixels:
    """Divide an image by Otsu's thresholds (Otsu 1979; Liao et al. 2001 for more than one).

    Args:
        truth: holds the image.
        number: of the image.
        bands: number of brightness bands K.

    Returns:
        (H, W) 0..K-1, darkest first: band of the mean over channels; 0 in the padding. An image of fewer than K
        grey levels has fewer bands.
    """
    from skimage.filters import threshold_multiotsu, threshold_otsu

    image = truth.image(number)
    if image is None:
        raise ValueError("a brightness baseline needs images")
    grey = image.mean(axis=0)
    shown = grey[truth.extent(number)]
    levels = np.unique(shown)
    if len(levels) <= bands:
        # Otsu's search has nothing to search; each level is a band.
        thresholds = (levels[1:] + levels[:-1]) / 2
    elif bands == 2:
        thresholds = np.array([threshold_otsu(shown)])  # type: ignore[no-untyped-call]
    else:
        bins = HISTOGRAM_BINS[bands]
        thresholds = threshold_multiotsu(shown, bands, nbins=bins)  # type: ignore[no-untyped-call]
    result = np.zeros(grey.shape, dtype=np.int64)
    result[truth.extent(number)] = np.searchsorted(thresholds, shown, side="left")
    return result
