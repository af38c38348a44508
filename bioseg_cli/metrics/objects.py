"""Scores of single objects, where the masks number them.

SEG of the Cell Tracking Challenge (Maska et al., Bioinformatics 30:1609, 2014): the mean over the true objects R of the
Jaccard index |R ∩ S| / |R ∪ S| with the predicted object S that covers more than half of R, 0 where none does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.confusion import joint_counts


def seg_score(truth: NDArray[Any], prediction: NDArray[Any], border: int = 0) -> float:
    """SEG of one image; NaN where the truth holds no object.

    Args:
        truth: (H, W) numbers of the true objects, 0 = none.
        prediction: (H, W) numbers of the predicted ones.
        border: pixels along the edge outside the field of interest: objects that lie wholly there don't count.

    Raises:
        DataError: the shapes differ.
    """
    scores = seg_scores(truth, prediction, border)
    return float(scores.mean()) if len(scores) else np.nan


def seg_scores(truth: NDArray[Any], prediction: NDArray[Any], border: int = 0) -> NDArray[np.float64]:
    """The Jaccard index of each true object, ascending by its number; see `seg_score`."""
    if truth.shape != prediction.shape:
        raise DataError(f"The masks differ in shape: {truth.shape} and {prediction.shape}")
    true_ids, rows = np.unique(inside_field(truth, border), return_inverse=True)
    predicted_ids, columns = np.unique(inside_field(prediction, border), return_inverse=True)
    counts = joint_counts(rows, columns, (len(true_ids), len(predicted_ids)))
    true_areas, predicted_areas = counts.sum(axis=1), counts.sum(axis=0)
    # More than half of an object can lie in one other only, so the largest overlap is the match or there is none.
    overlaps = np.where(predicted_ids > 0, counts, 0)
    best = overlaps.argmax(axis=1)
    shared = overlaps[np.arange(len(true_ids)), best]
    scores = shared / (true_areas + predicted_areas[best] - shared)
    matched: NDArray[np.float64] = np.where(2 * shared > true_areas, scores, 0.0)[true_ids > 0]
    return matched


def inside_field(objects: NDArray[Any], border: int) -> NDArray[Any]:
    """A copy of (H, W) numbered objects without those that lie wholly within `border` pixels of the edge."""
    if border == 0:
        return objects.copy()
    seen = np.unique(objects[border : objects.shape[0] - border, border : objects.shape[1] - border])
    return np.where(np.isin(objects, seen), objects, 0)
