"""Numbered objects of two maps matched one to one, and the scores of the matches.

Counts are sums over images, like confusion counts: what is computed from them takes any leading axes, so that counts of
one image, of all images and of resamples go through the same lines.

AP at a threshold is TP / (TP + FP + FN), as in the 2018 Data Science Bowl and in StarDist (Schmidt et al. 2018,
arXiv:1806.03535), and no area under a precision-recall curve. Panoptic quality PQ = SQ x RQ is that of Kirillov et al.
(2019, arXiv:1801.00868), of the matches with an IoU above one half.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.objects import seg_scores

THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))
"""IoU from which a true and a predicted object are one: 0.5, 0.55, ..., 0.95."""
PANOPTIC_IOU = 0.5
"""PQ counts matches of a larger IoU, which are unique."""


class Count(IntEnum):
    """The places of an image's counts; those after `MATCHED` are the matches at each of `THRESHOLDS`."""

    TRUE = 0
    PREDICTED = 1
    PANOPTIC = 2
    """Matches for PQ."""
    PANOPTIC_IOU = 3
    """The sum of their IoU."""
    SEG = 4
    """The sum of SEG over the true objects."""
    MERGES = 5
    """Predicted objects that hold several true ones."""
    SPLITS = 6
    """True objects that hold several predicted ones."""
    MATCHED = 7


COUNTS = len(Count) - 1 + len(THRESHOLDS)
"""Counts of an image."""


class Overlaps(NamedTuple):
    """How two maps of numbered objects overlap; objects are in the order of their numbers.

    Attributes:
        shared: (n, m) pixels that true object i and predicted object j have in common.
        true_areas: (n,) pixels.
        predicted_areas: (m,) pixels.
    """

    shared: NDArray[np.int64]
    true_areas: NDArray[np.int64]
    predicted_areas: NDArray[np.int64]

    def iou(self) -> NDArray[np.float64]:
        """(n, m) intersection over union."""
        union = self.true_areas[:, None] + self.predicted_areas - self.shared
        quotient: NDArray[np.float64] = self.shared / union
        return quotient


def overlaps(truth: NDArray[Any], prediction: NDArray[Any]) -> Overlaps:
    """Count the pixels that numbered objects (H, W) share; 0 is no object.

    Raises:
        DataError: the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise DataError(f"The masks differ in shape: {truth.shape} and {prediction.shape}")
    true_numbers, rows = np.unique(truth, return_inverse=True)
    predicted_numbers, columns = np.unique(prediction, return_inverse=True)
    shape = len(true_numbers), len(predicted_numbers)
    cells = np.bincount(rows.ravel() * shape[1] + columns.ravel(), minlength=shape[0] * shape[1])
    counts = cells.reshape(shape)
    counted = np.ix_(true_numbers > 0, predicted_numbers > 0)
    true_areas, predicted_areas = counts.sum(axis=1), counts.sum(axis=0)
    return Overlaps(counts[counted], true_areas[true_numbers > 0], predicted_areas[predicted_numbers > 0])


def matches(iou: NDArray[np.float64], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One to one matches of true with predicted objects: as many as there can be, and of these the largest sum of IoU.

    Args:
        iou: (n, m).
        threshold: the least IoU of a match, above 0.

    Returns:
        The rows and the columns of the matches.
    """
    from scipy.optimize import linear_sum_assignment

    possible = iou >= threshold
    # Above an IoU of a half an object has one candidate at most. What is left to assign is small.
    alone = possible & (possible.sum(axis=1, keepdims=True) == 1) & (possible.sum(axis=0) == 1)
    rows, columns = np.nonzero(alone)
    disputed = possible & ~alone
    several, wanted = np.flatnonzero(disputed.any(axis=1)), np.flatnonzero(disputed.any(axis=0))
    within = np.ix_(several, wanted)
    # One match more weighs more than any sum of IoU.
    worth = np.where(disputed[within], iou[within] + min(len(several), len(wanted)), 0)
    chosen_rows, chosen_columns = linear_sum_assignment(worth, maximize=True)
    kept = worth[chosen_rows, chosen_columns] > 0
    return (
        np.concatenate([rows, several[chosen_rows[kept]]]),
        np.concatenate([columns, wanted[chosen_columns[kept]]]),
    )


def object_counts(truth: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.float64]:
    """The counts (COUNTS,) of one image, see `Count`, from numbered objects (H, W).

    Raises:
        DataError: the shapes differ.
    """
    found = overlaps(truth, prediction)
    iou = found.iou()
    panoptic = iou[iou > PANOPTIC_IOU]
    counts = np.zeros(COUNTS)
    counts[Count.TRUE], counts[Count.PREDICTED] = iou.shape
    counts[Count.PANOPTIC], counts[Count.PANOPTIC_IOU] = len(panoptic), panoptic.sum()
    counts[Count.SEG] = seg_scores(truth, prediction).sum()
    # An object lies in another one with more than half of its pixels, so in one at most.
    counts[Count.MERGES] = ((2 * found.shared > found.true_areas[:, None]).sum(axis=0) > 1).sum()
    counts[Count.SPLITS] = ((2 * found.shared > found.predicted_areas).sum(axis=1) > 1).sum()
    counts[Count.MATCHED :] = [len(matches(iou, threshold)[0]) for threshold in THRESHOLDS]
    return counts


def average_precision(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) at each threshold, (..., COUNTS) -> (..., thresholds); NaN without any object."""
    matched, true, predicted = _by_threshold(counts)
    return _ratio(matched, true + predicted - matched)


def precision(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """TP / (TP + FP) at each threshold, (..., COUNTS) -> (..., thresholds); NaN without a predicted object."""
    matched, _, predicted = _by_threshold(counts)
    return _ratio(matched, predicted)


def recall(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """TP / (TP + FN) at each threshold, (..., COUNTS) -> (..., thresholds); NaN without a true object."""
    matched, true, _ = _by_threshold(counts)
    return _ratio(matched, true)


def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) at each threshold, (..., COUNTS) -> (..., thresholds); NaN without any object."""
    matched, true, predicted = _by_threshold(counts)
    return _ratio(2 * matched, true + predicted)


def panoptic_quality(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """PQ, SQ and RQ, (..., COUNTS) -> (..., 3); NaN without any object, and SQ without a match."""
    matched, total = counts[..., Count.PANOPTIC], counts[..., Count.PANOPTIC_IOU]
    objects = (counts[..., Count.TRUE] + counts[..., Count.PREDICTED]) / 2
    return np.stack([_ratio(total, objects), _ratio(total, matched), _ratio(matched, objects)], axis=-1)


def seg(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """SEG of the Cell Tracking Challenge, (..., COUNTS) -> (...); NaN without a true object."""
    return _ratio(counts[..., Count.SEG], counts[..., Count.TRUE])


def _by_threshold(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Matches, true objects and predicted objects at each threshold."""
    matched = counts[..., Count.MATCHED :]
    true, predicted = (
        np.broadcast_to(counts[..., place, None], matched.shape) for place in (Count.TRUE, Count.PREDICTED)
    )
    return matched, true, predicted


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
