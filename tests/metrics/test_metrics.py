"""Confusion counts and IoU against scikit-learn, by hand, and where classes are empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.confusion import (
    confusion_counts,
    dice_per_class,
    iou_per_class,
    joint_counts,
    mean_iou,
    mean_over_classes,
    pixel_accuracy,
)
from bioseg_cli.metrics.objects import seg_score, seg_scores

K = 3
masks = arrays(np.uint8, (7, 5), elements=st.integers(0, K - 1))


@given(masks, masks)
def test_counts_iou_and_dice_equal_scikit_learn(labels, predictions):
    counts = confusion_counts(labels, predictions, K)
    flat = labels.ravel(), predictions.ravel()
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, confusion_matrix(*flat, labels=range(K)))
    present = np.union1d(labels, predictions)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(iou_per_class(counts))), present)
    expected = jaccard_score(*flat, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(iou_per_class(counts)[present], expected, rtol=0, atol=1e-12)
    expected = f1_score(*flat, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(dice_per_class(counts)[present], expected, rtol=0, atol=1e-12)
    assert pixel_accuracy(counts) == pytest.approx((labels == predictions).mean())


@given(arrays(np.uint8, (7, 5), elements=st.sampled_from([0, 1, 2, 255])), masks)
def test_ignored_pixels_count_nowhere(labels, predictions):
    counted = labels != 255
    expected = confusion_counts(labels[counted], predictions[counted], K)
    np.testing.assert_array_equal(confusion_counts(labels, predictions, K, ignore=255), expected)


@given(st.integers(1, 4), st.data())
def test_counts_of_images_add_up_to_those_of_the_set(images, data):
    labels = data.draw(arrays(np.uint8, (images, 4, 4), elements=st.integers(0, K - 1)))
    predictions = data.draw(arrays(np.uint8, (images, 4, 4), elements=st.integers(0, K - 1)))
    each = np.stack([confusion_counts(*pair, K) for pair in zip(labels, predictions, strict=True)])
    pooled = confusion_counts(labels, predictions, K)
    np.testing.assert_array_equal(each.sum(axis=0), pooled)
    # Leading axes are carried through.
    np.testing.assert_array_equal(iou_per_class(each)[0], iou_per_class(each[0]))
    np.testing.assert_array_equal(pixel_accuracy(each)[-1], pixel_accuracy(each[-1]))


EMPTIES = {
    # (labels, predictions): IoU of background, IoU of foreground
    "both empty": ([0, 0, 0, 0], [0, 0, 0, 0], [1.0, np.nan]),
    "empty labels, full prediction": ([0, 0, 0, 0], [1, 1, 1, 1], [0.0, 0.0]),
    "full labels, empty prediction": ([1, 1, 1, 1], [0, 0, 0, 0], [0.0, 0.0]),
    "both full": ([1, 1, 1, 1], [1, 1, 1, 1], [np.nan, 1.0]),
    "one false positive": ([0, 0, 0, 0], [0, 0, 0, 1], [0.75, 0.0]),
    "one missed": ([0, 0, 0, 1], [0, 0, 0, 0], [0.75, 0.0]),
    "all ignored": ([255, 255, 255, 255], [0, 1, 0, 1], [np.nan, np.nan]),
}


@pytest.mark.parametrize(("labels", "predictions", "expected"), EMPTIES.values(), ids=EMPTIES)
def test_empty_classes(labels, predictions, expected):
    counts = confusion_counts(np.array(labels), np.array(predictions), 2, ignore=255)
    np.testing.assert_array_equal(iou_per_class(counts), expected)
    defined = [value for value in expected if not np.isnan(value)]
    np.testing.assert_equal(mean_iou(counts), np.mean(defined) if defined else np.nan)
    np.testing.assert_equal(mean_iou(counts, background=False), expected[1])


def test_a_class_that_is_nowhere_is_no_division_by_zero():
    counts = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0]] * 3])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(iou_per_class(counts), [[3 / 4, 2 / 3, np.nan], [np.nan] * 3])
        np.testing.assert_allclose(dice_per_class(counts), [[6 / 7, 4 / 5, np.nan], [np.nan] * 3])
        np.testing.assert_allclose(pixel_accuracy(counts), [5 / 6, np.nan])
        np.testing.assert_allclose(mean_over_classes(iou_per_class(counts)), [17 / 24, np.nan])


def test_mean_over_classes_leaves_out_absent_ones_row_by_row():
    values = np.array([[1.0, np.nan, 0.5], [0.2, 0.4, 0.6], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(mean_over_classes(values), [0.75, 0.4, np.nan])
    np.testing.assert_allclose(mean_over_classes(values, background=False), [0.5, 0.5, np.nan])


def test_every_integer_type_and_bool_count_alike():
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    expected = confusion_counts(labels, predictions, 2)
    for dtype in (np.bool_, np.uint8, np.uint16, np.int32):
        np.testing.assert_array_equal(confusion_counts(labels.astype(dtype), predictions.astype(dtype), 2), expected)


def test_many_classes_of_one_byte_do_not_overflow():
    labels = np.full(5, 200, dtype=np.uint8)
    assert confusion_counts(labels, labels, 201)[200, 200] == 5


@pytest.mark.parametrize("clusters", [5, 11, 40, 300])
def test_tables_of_any_size_are_counted_alike(clusters):
    random = np.random.default_rng(clusters)
    labels = random.choice([0, 1, 2, 255], (30, 40)).astype(np.uint8)
    assigned = random.integers(0, clusters, (30, 40)).astype(np.uint16)
    expected = np.zeros((K, clusters), dtype=np.int64)
    counted = labels != 255
    np.add.at(expected, (labels[counted], assigned[counted]), 1)
    found = joint_counts(labels, assigned, (K, clusters), 255)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("labels", "predictions", "words"),
    [
        ([0, 1], [0, 2], "predictions hold 2; 0..1 are possible"),
        ([0, 7], [0, 1], "labels hold 7"),
        ([0, -1], [0, 1], "labels hold -1"),
        ([0, 1], [0, 254], "predictions hold 254"),
        ([0, 1, 0], [0, 1], "shape"),
        ([0.0, 1.0], [0, 1], "float64"),
    ],
)
def test_what_cannot_be_counted_is_refused(labels, predictions, words):
    with pytest.raises(DataError, match=words.replace(".", r"\.")):
        confusion_counts(np.array(labels), np.array(predictions), 2, ignore=254)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        # The true object is four pixels of six. More than half of it has to be covered; half is not enough.
        ([5, 5, 5, 5, 0, 0], [1.0]),
        ([5, 5, 5, 0, 0, 0], [3 / 4]),
        ([5, 5, 5, 5, 5, 5], [4 / 6]),
        ([5, 5, 0, 0, 0, 0], [0.0]),
        ([5, 5, 7, 7, 0, 0], [0.0]),
        ([5, 7, 7, 7, 7, 0], [3 / 5]),
        # What nothing was predicted on is missed, however much of it that is.
        ([0, 0, 0, 0, 0, 0], [0.0]),
    ],
)
def test_an_object_is_found_by_what_covers_more_than_half_of_it(predicted, expected):
    truth = np.array([[3, 3, 3, 3, 0, 0]])
    np.testing.assert_allclose(seg_scores(truth, np.array([predicted])), expected)
    assert np.isnan(seg_score(np.zeros((1, 6), dtype=int), np.array([predicted])))


def test_objects_wholly_in_the_border_do_not_count():
    truth = np.zeros((6, 6), dtype=int)
    truth[0, :3], truth[1:4, 4] = 1, 2
    assert seg_scores(truth, truth, border=1).tolist() == [1.0]
    assert seg_scores(truth, np.zeros_like(truth), border=1).tolist() == [0.0]
    assert seg_scores(truth, truth).tolist() == [1.0, 1.0]


def test_labels_are_held_to_the_classes_and_clusters_to_the_clusters():
    two, four = np.array([0, 1]), np.array([0, 3])
    assert joint_counts(two, four, (2, 4)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    with pytest.raises(DataError, match=r"labels hold 3; 0\.\.1 are possible"):
        joint_counts(four, two, (2, 4))
    with pytest.raises(DataError, match=r"clusters hold 3; 0\.\.1 are possible"):
        joint_counts(two, four, (2, 2), what="clusters")


@pytest.mark.parametrize(
    ("strange", "shown"), [([9, 7, 8, 7, 6, 5], "5, 6, 7, 8, 9;"), ([9, 4, 8, 7, 6, 5], "4, 5, 6, 7, 8, ...;")]
)
def test_of_many_values_out_of_range_the_first_five_are_named(strange, shown):
    with pytest.raises(DataError) as caught:
        confusion_counts(np.array([0, *strange]), np.zeros(7, dtype=int), 2)
    assert caught.value.what == f"The labels hold {shown} 0..1 are possible"
