"""How far the certainty of a prediction can be taken at its word: reliability, and expected calibration error.

Pixels are sorted into `BINS` bins of equal width by their confidence, the probability of the class that was predicted:
bin b of 1..15 holds confidences in ((b - 1) / 15, b / 15]. Sums of bins add up over images. The expected calibration
error (Naeini et al. 2015; Guo et al. 2017) is the mean over pixels of the distance between a bin's share of right
pixels and its mean confidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15

Sums = NDArray[np.float64]
"""(BINS, 3): of each bin the number of pixels, the sum of their confidences, and how many of them are right."""


def reliability_sums(
    probabilities: NDArray[np.float32], predicted: NDArray[Any], labels: NDArray[Any], ignore: int | None = None
) -> Sums:
    """Sort the pixels of an image into bins.

    Args:
        probabilities: (K, H, W) of the classes.
        predicted: (H, W) predicted classes.
        labels: (H, W) true classes.
        ignore: the label whose pixels are left out.
    """
    confidence = np.take_along_axis(probabilities, predicted[None].astype(np.intp), axis=0)[0].ravel()
    right = (predicted == labels).ravel()
    if ignore is not None:
        counted = labels.ravel() != ignore
        confidence, right = confidence[counted], right[counted]
    bins = np.clip(np.ceil(confidence * np.float32(BINS)).astype(np.int64) - 1, 0, BINS - 1)
    return np.stack(
        [
            np.bincount(bins, minlength=BINS).astype(np.float64),
            np.bincount(bins, weights=confidence, minlength=BINS),
            np.bincount(bins, weights=right, minlength=BINS),
        ],
        axis=1,
    )


def expected_calibration_error(sums: Sums) -> float:
    """Sum over bins of |right pixels - sum of confidences|, over the number of pixels; NaN without a pixel."""
    pixels, confidence, right = sums.T
    total = pixels.sum()
    return float(np.abs(right - confidence).sum() / total) if total else float("nan")
