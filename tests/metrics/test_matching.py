"""Matching of objects beside every assignment there is, and scores worked out by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from helpers.blobs import random_objects

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.matching import (
    COUNTS,
    THRESHOLDS,
    Count,
    average_precision,
    f1,
    matches,
    object_counts,
    overlaps,
    panoptic_quality,
    precision,
    recall,
    seg,
)
from bioseg_cli.metrics.objects import seg_score


def best_by_trying(iou: np.ndarray, threshold: float) -> tuple[int, float]:
    """Number and sum of IoU of the best one to one assignment, of all that there are."""
    if iou.shape[0] > iou.shape[1]:
        iou = iou.T
    rows = range(iou.shape[0])
    possible = np.where(iou >= threshold, iou, -1.0)
    values = (possible[list(rows), list(columns)] for columns in permutations(range(iou.shape[1]), iou.shape[0]))
    return max(((int((value > 0).sum()), float(value[value > 0].sum())) for value in values), default=(0, 0.0))


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_matches_are_the_best_assignment(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    iou = random.uniform(0, 1, (random.integers(1, 6), random.integers(1, 7)))
    iou[random.uniform(size=iou.shape) < 0.4] = 0
    rows, columns = matches(iou, threshold)
    assert len({*rows.tolist()}) == len(rows) and len({*columns.tolist()}) == len(columns)
    assert (iou[rows, columns] >= threshold).all()
    count, total = best_by_trying(iou, threshold)
    assert len(rows) == count and iou[rows, columns].sum() == pytest.approx(total)


def test_one_more_match_is_worth_more_than_any_overlap() -> None:
    rows, columns = matches(np.array([[0.99, 0.3], [0.3, 0.0]]), 0.3)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_half_an_iou_is_a_match_at_the_first_threshold_and_none_for_panoptic_quality() -> None:
    truth, prediction = np.zeros((2, 1, 8), int)
    truth[0, :4], prediction[0, :2] = 1, 1
    counts = object_counts(truth, prediction)
    assert (counts[Count.MATCHED], counts[Count.MATCHED + 1], counts[Count.PANOPTIC]) == (1, 0, 0)
    # Two halves have an IoU of one half each, and one of them is the match.
    truth[0], prediction[0] = [1] * 8, [1] * 4 + [2] * 4
    counts = object_counts(truth, prediction)
    assert (counts[Count.MATCHED], counts[Count.PREDICTED], counts[Count.SPLITS]) == (1, 2, 1)


def test_scores_of_a_small_image() -> None:
    truth = np.zeros((10, 20), int)
    truth[0:4, 0:5], truth[5:9, 0:5], truth[0:4, 10:15], truth[8:10, 18:20] = 4, 7, 9, 2
    prediction = np.zeros_like(truth)
    prediction[0:4, 0:4] = 1  # 16 of 20 pixels: IoU 0.8
    prediction[5:9, 0:5] = 2  # IoU 1
    prediction[0:4, 13:19] = 3  # 8 shared of 36: no match
    counts = object_counts(truth, prediction)
    assert (counts[Count.TRUE], counts[Count.PREDICTED]) == (4, 3)
    two_of, one_of = 2 / 5, 1 / 6  # TP / (TP + FP + FN)
    np.testing.assert_allclose(average_precision(counts), [two_of] * 7 + [one_of] * 3)
    assert precision(counts)[0] == pytest.approx(2 / 3) and recall(counts)[0] == pytest.approx(2 / 4)
    assert f1(counts)[0] == pytest.approx(4 / 7) and f1(counts)[9] == pytest.approx(2 / 7)
    np.testing.assert_allclose(panoptic_quality(counts), [1.8 / 3.5, 0.9, 2 / 3.5])
    assert seg(counts) == pytest.approx(1.8 / 4) == pytest.approx(seg_score(truth, prediction))


def test_merges_and_splits_are_of_more_than_half_an_object() -> None:
    truth = np.zeros((1, 24), int)
    truth[0, 0:4], truth[0, 5:9], truth[0, 12:22] = 1, 2, 3
    prediction = np.zeros_like(truth)
    prediction[0, 1:8] = 5  # three of four pixels of 1 and of 2
    prediction[0, 12:16], prediction[0, 16:22] = 6, 7  # both in 3
    counts = object_counts(truth, prediction)
    assert (counts[Count.MERGES], counts[Count.SPLITS]) == (1, 1)
    prediction[0, 1:3], prediction[0, 12:14] = 0, 0  # one of four pixels of 1; 6 is smaller and still within 3
    counts = object_counts(truth, prediction)
    assert (counts[Count.MERGES], counts[Count.SPLITS]) == (0, 1)
    swapped = object_counts(prediction, truth)
    assert (swapped[Count.MERGES], swapped[Count.SPLITS]) == (1, 0)


def test_half_of_an_object_is_neither_a_merge_nor_a_split() -> None:
    truth, other = np.zeros((2, 1, 12), int)
    truth[0, 2:8], other[0, 2:5], other[0, 6:10] = 1, 1, 2
    assert object_counts(truth, other)[Count.SPLITS] == 0 == object_counts(other, truth)[Count.MERGES]
    other[0, 9] = 0
    assert object_counts(truth, other)[Count.SPLITS] == 1 == object_counts(other, truth)[Count.MERGES]


def test_overlaps_count_the_pixels_of_every_pair() -> None:
    truth, prediction = random_objects(1), random_objects(2)
    found = overlaps(truth, prediction)
    for i, true in enumerate(np.unique(truth[truth > 0])):
        for j, predicted in enumerate(np.unique(prediction[prediction > 0])):
            both, either = (truth == true) & (prediction == predicted), (truth == true) | (prediction == predicted)
            assert found.shared[i, j] == both.sum()
            assert found.iou()[i, j] == pytest.approx(both.sum() / either.sum())


def test_an_image_matches_itself_whatever_the_numbers() -> None:
    truth = random_objects(3)
    counts = object_counts(truth, np.where(truth > 0, 100 - truth, 0))
    assert (average_precision(counts) == 1).all() and (panoptic_quality(counts) == 1).all() and seg(counts) == 1
    assert counts[Count.MERGES] == counts[Count.SPLITS] == 0
    assert len(counts) == COUNTS and len(THRESHOLDS) == 10 and THRESHOLDS[-1] == 0.95


def test_what_does_not_exist_has_no_score() -> None:
    nothing, something = np.zeros((4, 4), int), np.eye(4, dtype=int)
    empty = object_counts(nothing, nothing)
    for score in (average_precision, precision, recall, f1, panoptic_quality, seg):
        assert np.isnan(score(empty)).all()
    missed, invented = object_counts(something, nothing), object_counts(nothing, something)
    assert (average_precision(missed) == 0).all() and (average_precision(invented) == 0).all()
    assert np.isnan(precision(missed)).all() and np.isnan(recall(invented)).all() and np.isnan(seg(invented))


def test_counts_add_up_over_images() -> None:
    counts = np.stack([object_counts(random_objects(seed), random_objects(seed + 1)) for seed in range(3)])
    assert average_precision(counts).shape == (3, 10) and panoptic_quality(counts).shape == (3, 3)
    both = average_precision(counts[:2].sum(axis=0))
    matched, objects = counts[:2, Count.MATCHED], counts[:2, Count.TRUE] + counts[:2, Count.PREDICTED]
    assert both[0] == pytest.approx(matched.sum() / (objects.sum() - matched.sum()))


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(4, 4\) and \(4, 5\)"):
        object_counts(np.zeros((4, 4), int), np.zeros((4, 5), int))
