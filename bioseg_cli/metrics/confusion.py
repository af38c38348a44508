"""Confusion counts and what is computed from them: IoU, Dice, accuracy.

Counts are integers that add up: those of a data set are the sum of those of its images. The functions that take
counts accept any leading axes, so that per-image and resampled counts go through the same lines as pooled ones.

A class that neither the labels nor the predictions contain has no IoU: NaN, left out of means. A class that only one
of them contains has IoU 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError

FEW_CELLS = 32
"""Tables of up to so many cells are counted cell by cell: passes over bytes, which are quicker than one histogram."""


def confusion_counts(
    labels: NDArray[Any], predictions: NDArray[Any], classes: int, ignore: int | None = None
) -> NDArray[np.int64]:
    """Count pixels by true and predicted class.

    Args:
        labels: true classes, integers of any shape.
        predictions: predicted classes, integers of the same shape.
        classes: number of classes K; both hold 0..K-1.
        ignore: the label whose pixels are left out, whatever is predicted there.

    Returns:
        (K, K): rows are true classes, columns predicted ones.

    Raises:
        DataError: shapes differ, values are not integers, or a counted pixel's class is out of range.
    """
    return joint_counts(labels, predictions, (classes, classes), ignore)


def joint_counts(
    labels: NDArray[Any],
    assigned: NDArray[Any],
    sizes: tuple[int, int],
    ignore: int | None = None,
    what: str = "predictions",
) -> NDArray[np.int64]:
    """Count pixels by label and by what was assigned to them, be it classes or clusters.

    Args:
        labels: 0..sizes[0]-1, integers of any shape.
        assigned: 0..sizes[1]-1, integers of the same shape.
        sizes: numbers of classes and of assigned values.
        ignore: the label whose pixels are left out.
        what: the assigned values' name, for messages.

    Returns:
        (sizes[0], sizes[1])

    Raises:
        DataError: shapes differ, values are not integers, or a counted pixel's value is out of range.
    """
    if labels.shape != assigned.shape:
        raise DataError(f"The labels have shape {labels.shape}, the {what} {assigned.shape}")
    kept_labels, kept = labels.ravel(), assigned.ravel()
    if ignore is not None:
        counted = kept_labels != ignore
        if np.count_nonzero(counted) < counted.size:
            kept_labels, kept = kept_labels[counted], kept[counted]
    _check_range(kept_labels, sizes[0], "labels")
    _check_range(kept, sizes[1], what)
    cells = sizes[0] * sizes[1]
    # Of the smallest type: time goes with the bytes that pass through memory.
    narrow = np.min_scalar_type(cells)
    joint = kept_labels.astype(narrow) * narrow.type(sizes[1])
    joint += kept.astype(narrow)
    if cells <= FEW_CELLS:
        return np.fromiter((np.count_nonzero(joint == cell) for cell in range(cells)), np.int64).reshape(sizes)
    return np.bincount(joint, minlength=cells).astype(np.int64).reshape(sizes)


def iou_per_class(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union (Jaccard index) of each class, counts (..., K, K) -> (..., K); NaN where absent."""
    intersection, in_labels, in_predictions = _margins(counts)
    return _ratio(intersection, in_labels + in_predictions - intersection)


def dice_per_class(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Dice coefficient (F1 over pixels) of each class, counts (..., K, K) -> (..., K); NaN where absent."""
    intersection, in_labels, in_predictions = _margins(counts)
    return _ratio(2 * intersection, in_labels + in_predictions)


def pixel_accuracy(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the counted pixels whose class is right, counts (..., K, K) -> (...); NaN where none was counted."""
    intersection, in_labels, _ = _margins(counts)
    return _ratio(intersection.sum(axis=-1), in_labels.sum(axis=-1))


def mean_over_classes(values: NDArray[np.float64], *, background: bool = True) -> NDArray[np.float64]:
    """Mean over the classes that have a value, (..., K) -> (...); without class 0 unless `background`."""
    values = values if background else values[..., 1:]
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1))


def mean_iou(counts: NDArray[Any], *, background: bool = True) -> float:
    """Mean IoU over the classes present in pooled counts (K, K); NaN where none is."""
    return float(mean_over_classes(iou_per_class(counts), background=background))


def _margins(counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Right pixels, labelled pixels and predicted pixels of each class, each (..., K)."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _check_range(values: NDArray[Any], size: int, what: str) -> None:
    if not (np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_):
        raise DataError(f"The {what} are {values.dtype} numbers, not integers")
    if values.size and (values.min() < 0 or values.max() >= size):
        strange = np.unique(values[(values < 0) | (values >= size)])
        shown = ", ".join(map(str, strange[:5].tolist())) + (", ..." if strange.size > 5 else "")
        raise DataError(f"The {what} hold {shown}; 0..{size - 1} are possible")
