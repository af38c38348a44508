"""SEG of numbered objects, worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.objects import inside_field, seg_score, seg_scores


def objects(*areas: tuple[int, slice, slice], shape: tuple[int, int] = (12, 12)) -> np.ndarray:
    """A mask with each number in its rectangle."""
    mask = np.zeros(shape, dtype=np.uint16)
    for number, rows, columns in areas:
        mask[rows, columns] = number
    return mask


LEFT = (slice(1, 5), slice(1, 5))  # 16 pixels
RIGHT = (slice(6, 10), slice(6, 8))  # 8 pixels


def test_the_same_masks_score_one_whatever_the_numbers() -> None:
    truth, prediction = objects((3, *LEFT), (7, *RIGHT)), objects((90, *LEFT), (2, *RIGHT))
    np.testing.assert_array_equal(seg_scores(truth, prediction), [1, 1])
    assert seg_score(truth, prediction) == 1


def test_a_score_is_the_shared_part_of_the_union_in_the_order_of_the_true_numbers() -> None:
    truth = objects((9, *LEFT), (4, *RIGHT))
    # Of the first object 12 of 16 pixels are found, with 12 others; of the second all 8, with 4 others.
    prediction = objects((1, slice(2, 8), slice(1, 5)), (2, slice(6, 10), slice(6, 9)))
    np.testing.assert_allclose(seg_scores(truth, prediction), [8 / 12, 12 / 28])
    assert seg_score(truth, prediction) == pytest.approx((8 / 12 + 12 / 28) / 2)


def test_half_of_an_object_is_no_match_and_one_pixel_more_is() -> None:
    truth = objects((1, *LEFT))
    half = objects((1, slice(1, 3), slice(1, 5)))
    np.testing.assert_array_equal(seg_scores(truth, half), [0])
    half[3, 1] = 1
    np.testing.assert_allclose(seg_scores(truth, half), [9 / 16])


def test_background_is_no_match_and_no_object() -> None:
    truth = objects((1, *LEFT), (2, *RIGHT))
    np.testing.assert_array_equal(seg_scores(truth, np.zeros_like(truth)), [0, 0])
    assert seg_score(truth, objects((5, *LEFT))) == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(seg_score(np.zeros_like(truth), truth))
    assert seg_scores(np.zeros_like(truth), truth).shape == (0,)
    # What fills the image has no background beside it.
    full = np.full((4, 4), 3)
    assert seg_score(full, full) == 1


def test_an_object_of_one_pixel_that_is_not_found_scores_nothing() -> None:
    truth = objects((1, slice(3, 4), slice(3, 4)))
    np.testing.assert_array_equal(seg_scores(truth, objects((1, *RIGHT))), [0])
    np.testing.assert_array_equal(seg_scores(truth, objects((1, slice(3, 4), slice(3, 5)))), [0.5])


def test_one_predicted_object_may_match_several_true_ones_but_covers_each_in_part() -> None:
    truth = objects((1, slice(0, 4), slice(0, 4)), (2, slice(4, 8), slice(0, 4)))
    merged = objects((1, slice(0, 8), slice(0, 4)))
    np.testing.assert_allclose(seg_scores(truth, merged), [0.5, 0.5])
    split = objects((1, slice(0, 3), slice(0, 4)), (2, slice(3, 4), slice(0, 4)))
    np.testing.assert_allclose(seg_scores(truth, split), [0.75, 0])


def test_objects_wholly_in_the_border_do_not_count_and_others_count_whole() -> None:
    truth = objects((1, slice(0, 2), slice(0, 12)), (2, slice(1, 5), slice(4, 8)), (3, slice(11, 12), slice(0, 3)))
    assert sorted(np.unique(inside_field(truth, 2))) == [0, 2]
    np.testing.assert_array_equal(inside_field(truth, 2) == 2, truth == 2)
    assert sorted(np.unique(inside_field(truth, 1))) == [0, 1, 2]
    prediction = truth.copy()
    prediction[prediction == 3] = 0
    assert seg_score(truth, prediction) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(seg_scores(truth, prediction), [1, 1, 0])
    assert seg_score(truth, prediction, border=2) == 1


@pytest.mark.parametrize(("row", "column"), [(1, 5), (8, 5), (5, 1), (5, 18)])
def test_the_border_is_as_wide_on_every_side_of_an_oblong_image(row: int, column: int) -> None:
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[row, column] = 1
    assert inside_field(mask, 1).any()
    assert not inside_field(mask, 2).any()


def test_the_masks_are_left_as_they_are() -> None:
    mask = objects((1, *LEFT))
    kept = inside_field(mask, 0)
    kept[:] = 0
    assert mask.any()


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(12, 12\) and \(12, 13\)"):
        seg_score(objects(), objects(shape=(12, 13)))
