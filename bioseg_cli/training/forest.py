"""A random forest on filter responses, which ilastik and LabKit train: what few labels reach without a network.

Each labelled pixel is a sample; its features are intensities, edges and texture at several scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import IntArray

if TYPE_CHECKING:
    from bioseg_cli.dataset.reader import Dataset  # not at start: folders of masks are scored without h5py

TREES = 100
SAMPLES = 60_000
"""Labelled pixels that the forest is grown on, drawn at random from all of them."""
SIGMAS = (0.7, 11.2)
"""The finest and the coarsest scale in pixels; the others lie between them, each twice the one before."""


@dataclass(frozen=True)
class Forest:
    """A random forest that tells the classes of pixels apart.

    Attributes:
        classifier: of scikit-learn, on the features that `pixel_features` gives.
        images: number of labelled images that it was grown on.
        pixels: number of their pixels that it was grown on.
    """

    classifier: Any
    images: int
    pixels: int

    def probabilities(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """The share of the trees (K', H, W) for each of the classes `codes`, in an image (C, H, W) in [0, 1]."""
        features = pixel_features(image)
        shares = self.classifier.predict_proba(features.reshape(-1, features.shape[-1]))
        return np.moveaxis(shares.reshape(*features.shape[:2], -1), -1, 0)

    @property
    def codes(self) -> IntArray:
        """(K',) codes of the classes that it was grown on, ascending."""
        codes: IntArray = self.classifier.classes_
        return codes


def fit_forest(dataset: Dataset, labelled: IntArray, seed: int) -> Forest:
    """Grow a forest on the labelled pixels of images of a data set.

    Args:
        dataset: open.
        labelled: indices of the images.
        seed: of the drawing of the pixels, and of the trees.
    """
    from sklearn.ensemble import RandomForestClassifier  # slow to import, and not always needed

    random = np.random.default_rng(seed)
    features, codes = [], []
    each = -(-SAMPLES // len(labelled))
    for index in labelled.tolist():
        extent = dataset.extent(index)
        labels = dataset.labels(index)[extent].reshape(-1)
        places = np.flatnonzero(labels != dataset.ignore)
        places = random.choice(places, min(each, len(places)), replace=False)
        image = dataset.normalised(index)[:, *extent]
        features.append(pixel_features(image).reshape(len(labels), -1)[places])
        codes.append(labels[places])
    classifier = RandomForestClassifier(TREES, random_state=seed % 2**32, n_jobs=-1)  # it takes no more
    classifier.fit(np.concatenate(features), np.concatenate(codes))
    classifier.n_jobs = 1  # Several images are predicted at once.
    return Forest(classifier, len(labelled), sum(map(len, codes)))


def pixel_features(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (H, W, F) of an image (C, H, W): smoothed intensity, gradient and Hessian eigenvalues at each scale."""
    from skimage.feature import multiscale_basic_features

    found: NDArray[np.float32] = multiscale_basic_features(  # type: ignore[no-untyped-call]
        image, sigma_min=SIGMAS[0], sigma_max=SIGMAS[1], channel_axis=0
    )
    return found
