"""A random forest on filter responses, which ilastik and LabKit train: what few labels reach without a network.

Each labelled pixel is a sample; its features are intensities, edges and texture at several scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, GroundTruth, Predict

if TYPE_CHECKING:
    from bioseg_cli.dataset.reader import Dataset

TREES = 100
SAMPLES = 60_000
"""Labelled pixels that the forest is grown on, drawn at random from all of them."""
SIGMAS = (0.7, 11.2)
"""The finest and the coarsest scale in pixels; the others lie between them, each twice the one before."""


@dataclass(frozen=True)
class ForestBaseline:
    """A random forest that tells the classes of pixels apart.

    Attributes:
        classifier: of scikit-learn, on the features that `pixel_features` gives.
        images: number of labelled images that it was grown on.
        pixels: number of their pixels that were drawn.
    """

    classifier: Any
    images: int
    pixels: int

    def predictor(self, truth: GroundTruth) -> Predict:
        """The forest's prediction for each image of `truth`; 0 in the padding."""

        def predict(number: int) -> Pixels:
            image = truth.image(number)
            if image is None:
                raise ValueError("a forest needs images")
            extent = truth.extent(number)
            features = pixel_features(image[:, *extent])
            found = np.zeros(image.shape[1:], dtype=np.min_scalar_type(len(truth.classes)))
            codes = self.classifier.predict(features.reshape(-1, features.shape[-1]))
            found[extent] = codes.reshape(features.shape[:2])
            return found

        return predict

    @property
    def note(self) -> str:
        """What it is and what it was grown on."""
        plural = "s" if self.images > 1 else ""
        return (
            f"forest: {TREES} random trees on filter responses of single pixels, grown on {self.pixels} pixels of "
            f"{self.images} labelled image{plural}."
        )


def fit_forest(dataset: Dataset, labelled: IntArray, seed: int) -> ForestBaseline:
    """Grow a forest on the labelled pixels of images of a data set.

    Args:
        dataset: open.
        labelled: indices of the images, the label budget of what the forest stands beside.
        seed: of the drawing of the pixels, and of the trees.
    """
    from sklearn.ensemble import RandomForestClassifier  # slow to import, and not always needed

    truth = DatasetGroundTruth(dataset, "train", labelled)
    random = np.random.default_rng(seed)
    features, codes = [], []
    each = -(-SAMPLES // len(labelled))
    for number in range(len(truth.names)):
        extent = truth.extent(number)
        labels = truth.labels(number)[extent].reshape(-1)
        places = np.flatnonzero(labels != truth.ignore)
        places = random.choice(places, min(each, len(places)), replace=False)
        image = truth.image(number)[:, *extent]
        features.append(pixel_features(image).reshape(len(labels), -1)[places])
        codes.append(labels[places])
    classifier = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    classifier.fit(np.concatenate(features), np.concatenate(codes))
    classifier.n_jobs = 1  # Several images are predicted at once.
    return ForestBaseline(classifier, len(labelled), sum(map(len, codes)))


def pixel_features(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (H, W, F) of an image (C, H, W): smoothed intensity, gradient and Hessian eigenvalues at each scale."""
    from skimage.feature import multiscale_basic_features

    found: NDArray[np.float32] = multiscale_basic_features(  # type: ignore[no-untyped-call]
        image, sigma_min=SIGMAS[0], sigma_max=SIGMAS[1], channel_axis=0
    )
    return found
