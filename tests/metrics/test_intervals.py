"""Bootstrap intervals: what is drawn, what is pooled, and where there is nothing to tell."""

from __future__ import annotations

import numpy as np
import pytest

from bioseg_cli.metrics import intervals
from bioseg_cli.metrics.confusion import iou_per_class
from bioseg_cli.metrics.intervals import bootstrap_interval, bootstrap_mean, mean_of_sums, t_interval


def pooled_iou(sums):
    return iou_per_class(sums)


def test_pooled_iou_equals_a_bootstrap_written_out_image_by_image():
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 60, size=(40, 2, 2))
    drawn = rng.integers(0, 40, size=(20000, 40))
    expected = np.quantile(iou_per_class(counts[drawn].sum(axis=1)), [0.025, 0.975], axis=0)
    found = bootstrap_interval(counts, pooled_iou, draws=20000, seed=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3)


def test_each_draw_takes_as_many_images_as_there_are_with_replacement():
    taken = []

    def record(sums):
        taken.append(sums)
        return sums[:, 0]

    bootstrap_interval(np.eye(6), record, draws=5000)
    times = np.concatenate(taken[1:])
    assert times.shape == (5000, 6)
    assert (times.sum(axis=1) == 6).all()
    # Six draws of one in six: mean 1, variance 5/6.
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(times.var(axis=0), 5 / 6, atol=0.06)


def test_equal_images_leave_no_doubt_and_different_ones_do():
    same = np.tile(np.array([[50, 5], [5, 40]]), (8, 1, 1))
    low, high = bootstrap_interval(same, pooled_iou, draws=100)
    np.testing.assert_allclose(low, high)
    same[0] = [[10, 40], [40, 10]]
    low, high = bootstrap_interval(same, pooled_iou, draws=100)
    assert (low < high).all()


def test_the_number_of_draws_held_at_once_does_not_matter(monkeypatch):
    counts = np.random.default_rng(0).integers(0, 50, size=(9, 2, 2))
    whole = bootstrap_interval(counts, pooled_iou, draws=50, seed=3)
    monkeypatch.setattr(intervals, "BLOCK_WEIGHTS", 9 * 7)
    # Weights that were kept would be used again, in the block that they were drawn in.
    monkeypatch.setattr(intervals, "KEPT_WEIGHTS", 0)
    np.testing.assert_array_equal(bootstrap_interval(counts, pooled_iou, draws=50, seed=3), whole)


def test_no_more_weights_are_held_at_once_than_there_may_be_or_those_of_one_draw(monkeypatch):
    monkeypatch.setattr(intervals, "KEPT_WEIGHTS", 0)
    for weights, expected in ((9 * 20, [20]), (9 * 8 + 8, [8, 8, 4]), (9, [1] * 20), (5, [1] * 20)):
        monkeypatch.setattr(intervals, "BLOCK_WEIGHTS", weights)
        at_once = []

        def record(sums, at_once=at_once):
            at_once.append(len(sums))
            return sums

        bootstrap_interval(np.ones((9, 2)), record, draws=20)
        # The first sum asks for the shape alone.
        assert at_once[1:] == expected


@pytest.mark.parametrize(("may_be_kept", "expected"), [(9 * 50, 1), (9 * 50 - 1, 2)])
def test_as_many_weights_as_may_be_kept_are_drawn_once(monkeypatch, may_be_kept, expected):
    drawn = []
    draw = intervals._weights

    def record(*asked):
        drawn.append(asked)
        return draw(*asked)

    monkeypatch.setattr(intervals, "_weights", record)
    monkeypatch.setattr(intervals, "KEPT_WEIGHTS", may_be_kept)
    intervals._kept_weights.cache_clear()
    for counts in (np.ones((9, 2, 2)), np.ones((9, 3, 3))):
        bootstrap_interval(counts, pooled_iou, draws=50)
    assert drawn == [(9, 50, 0)] * expected


def test_groups_are_drawn_whole():
    # Within a group all images agree, so drawing images understates the doubt that drawing groups shows.
    values = np.repeat([0.5, 0.6, 0.9], 20)
    groups = np.repeat(["a", "b", "c"], 20)
    by_image = bootstrap_mean(values, seed=2)
    by_group = bootstrap_mean(values, groups=groups, seed=2)
    assert by_group[1] - by_group[0] > 2 * (by_image[1] - by_image[0])
    shuffled = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(bootstrap_mean(values[shuffled], groups=groups[shuffled], seed=2), by_group)


def test_each_image_its_own_group_is_the_same_as_no_groups():
    values = np.random.default_rng(1).random(10)
    names = [f"{i:02d}" for i in range(10)]
    np.testing.assert_allclose(bootstrap_mean(values, groups=names), bootstrap_mean(values))


def test_a_mean_leaves_out_images_without_a_value():
    values = np.array([0.1, np.nan, 0.4, 0.8, np.nan])
    low, high = bootstrap_mean(values, draws=4000)
    assert 0.1 <= low < np.nanmean(values) < high <= 0.8


@pytest.mark.parametrize("images", [0, 1])
def test_one_image_has_no_interval(images):
    counts = np.ones((images, 2, 2))
    assert np.isnan(bootstrap_interval(counts, pooled_iou)).all()
    assert np.isnan(bootstrap_interval(np.ones((5, 2, 2)), pooled_iou, groups=["one"] * 5)).all()


def test_a_class_absent_everywhere_has_none_and_one_absent_from_some_draws_does():
    counts = np.zeros((4, 3, 3))
    counts[:, 0, 0] = 10
    counts[0, 1, 1] = 5
    limits = bootstrap_interval(counts, pooled_iou, draws=200)
    np.testing.assert_array_equal(limits[:, 0], [1, 1])
    np.testing.assert_array_equal(limits[:, 1], [1, 1])
    assert np.isnan(limits[:, 2]).all()


def test_the_seed_decides_the_draws():
    values = np.random.default_rng(1).random(30)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_a_t_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        t_interval([0.9])


def test_a_t_interval_of_two_values_is_that_of_the_table():
    # Student's t of one degree of freedom: 12.706 at 95 %, 6.314 at 90 %.
    assert t_interval([3, 1]) == pytest.approx((2, 2**0.5, 2 - 12.7062, 2 + 12.7062), abs=1e-4)
    assert t_interval([3, 1], 0.9) == pytest.approx((2, 2**0.5, 2 - 6.3138, 2 + 6.3138), abs=1e-4)


def test_two_images_have_an_interval_from_one_to_the_other():
    np.testing.assert_allclose(bootstrap_mean([0.25, 0.75]), [0.25, 0.75])
    sums = np.array([[[6, 2], [2, 2]], [[1, 1], [1, 1]]])
    np.testing.assert_allclose(bootstrap_interval(sums, pooled_iou), [[1 / 3, 1 / 3], [0.6, 1 / 3]])


def test_a_single_draw_has_equal_limits_and_is_the_seeds():
    drawn = {bootstrap_mean([0.25, 0.75], draws=1, seed=seed) for seed in range(12)}
    assert drawn == {(0.25, 0.25), (0.5, 0.5), (0.75, 0.75)}


def test_less_confidence_is_a_narrower_interval():
    values = np.arange(101) / 100
    wide, narrow = bootstrap_mean(values, draws=4000), bootstrap_mean(values, draws=4000, confidence=0.5)
    # The mean of 101 such values has a standard deviation of 0.029: 1.96 and 0.674 of those on either side.
    deviation = values.std() / 101**0.5
    assert wide == pytest.approx((0.5 - 1.96 * deviation, 0.5 + 1.96 * deviation), abs=0.003)
    assert narrow == pytest.approx((0.5 - 0.674 * deviation, 0.5 + 0.674 * deviation), abs=0.003)


def test_without_other_numbers_it_is_a_thousand_draws_of_seed_0():
    values = np.random.default_rng(1).random(30)
    assert bootstrap_mean(values) == bootstrap_mean(values, draws=1000, seed=0)
    assert bootstrap_mean(values) != bootstrap_mean(values, draws=1001)
    assert bootstrap_mean(values) != bootstrap_mean(values, draws=999)
    counts = np.random.default_rng(0).integers(1, 50, size=(9, 2, 2))
    whole = bootstrap_interval(counts, pooled_iou, draws=1000, seed=0, confidence=0.95)
    np.testing.assert_array_equal(bootstrap_interval(counts, pooled_iou), whole)


def test_values_of_single_precision_are_added_up_in_double():
    values = np.array([0.1, 0.2, 0.4, 0.7], dtype=np.float32)
    exact = values.astype(np.float64)
    assert t_interval(values) == t_interval(exact)
    for groups in (None, ["a", "b", "b", "c"]):
        assert bootstrap_mean(values, groups=groups) == bootstrap_mean(exact, groups=groups)
        sums = [bootstrap_interval(some, np.copy, groups=groups) for some in (values, exact)]
        assert sums[0].tolist() == sums[1].tolist()


def test_counts_of_a_byte_are_added_up_beyond_it():
    # Weights are a byte each as well.
    counts = np.full((5, 1), 200, dtype=np.uint8)
    assert bootstrap_interval(counts, np.copy).tolist() == [[1000], [1000]]


def test_a_mean_of_no_values_is_not_a_number_and_no_division_by_zero():
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(mean_of_sums(np.array([[3.0, 2.0], [0.0, 0.0], [0.5, 1.0]])), [1.5, np.nan, 0.5])
    sums = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_allclose(mean_of_sums(sums), [[0, 2 / 3, 4 / 5], [6 / 7, 8 / 9, 10 / 11]])


@pytest.mark.parametrize("seed", [0, 7])
def test_weights_that_are_kept_change_nothing(monkeypatch, seed):
    counts = np.random.default_rng(3).integers(1, 60, size=(50, 2, 2))
    groups = [f"g{number // 5}" for number in range(50)]
    kept = [bootstrap_interval(counts, pooled_iou, groups=some, seed=seed) for some in (None, groups, None)]
    np.testing.assert_array_equal(kept[0], kept[2])
    monkeypatch.setattr(intervals, "KEPT_WEIGHTS", 0)
    drawn = [bootstrap_interval(counts, pooled_iou, groups=some, seed=seed) for some in (None, groups)]
    np.testing.assert_array_equal(kept[:2], drawn)
