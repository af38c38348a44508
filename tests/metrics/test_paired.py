"""Paired tests: every choice of signs counted, ties and zeros among the differences, and where nothing can be told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata, ttest_rel, wilcoxon

from bioseg_cli.metrics import paired
from bioseg_cli.metrics.intervals import bootstrap_interval, bootstrap_mean, t_interval
from bioseg_cli.metrics.paired import EXACT_PAIRS, all_alike, differences, paired_t, wilcoxon_signed_rank
from bioseg_cli.study.statistics import compare, estimate, holm


def counted_by_hand(differences: list[float]) -> tuple[float, float]:
    """The smaller rank sum, and the share of all choices of signs with one as small."""
    found = np.array([difference for difference in differences if difference != 0])
    ranks = rankdata(np.abs(found))
    smaller = min(ranks[found > 0].sum(), ranks[found < 0].sum())
    as_small = 0
    for signs in itertools.product([False, True], repeat=len(found)):
        positive = ranks[np.array(signs, dtype=bool)].sum()
        as_small += min(positive, ranks.sum() - positive) <= smaller + 1e-9
    return float(smaller), as_small / 2 ** len(found)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_is_the_count_of_all_signs_with_ties_and_zeros(differences):
    found = wilcoxon_signed_rank(differences, [0] * len(differences))
    np.testing.assert_allclose(found, counted_by_hand(differences), rtol=0, atol=1e-12)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True), st.data())
def test_without_ties_wilcoxon_is_that_of_scipy(sizes, data):
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(sizes), max_size=len(sizes)))
    differences = np.multiply(sizes, signs) / 1e6
    expected = wilcoxon(differences, method="exact")
    found = wilcoxon_signed_rank(differences + 0.5, np.full(len(sizes), 0.5))
    np.testing.assert_allclose(found, (expected.statistic, expected.pvalue), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("differences", "statistic", "p_value"),
    [
        # Of the eight choices of three signs only the two all alike are as small, and every choice of one sign.
        ([1, 1, 1], 0, 0.25),
        ([-1, -1, -1], 0, 0.25),
        ([5], 0, 1.0),
        # Ranks 1.5, 1.5, 3, 4: the sums 0 and 1.5 are as small, 2 and 4 of the 16 choices.
        ([-1, 1, 2, 3], 1.5, 6 / 16),
        # As if there were no zeros.
        ([0, 0, 1, 0, 2, 3], 0, 0.25),
        ([0, 0], 0, 1.0),
    ],
)
def test_wilcoxon_by_hand(differences, statistic, p_value):
    assert wilcoxon_signed_rank(differences, np.zeros(len(differences))) == pytest.approx((statistic, p_value))
    # The other way round it is the same test.
    assert wilcoxon_signed_rank(np.zeros(len(differences)), differences) == pytest.approx((statistic, p_value))


def test_ties_that_rounding_takes_apart_are_ties():
    # 0.3 - 0.2, 0.2 - 0.1 and 0.8 - 0.7 are three different numbers, and 0.1 + 0.2 - 0.3 is not 0.
    first, second = np.array([0.3, 0.2, 0.8, 0.1 + 0.2]), np.array([0.2, 0.1, 0.7, 0.3])
    assert len(set((first - second).tolist())) == 4
    assert wilcoxon_signed_rank(first, second) == (0, 0.25)
    assert all_alike(first[:3], second[:3])
    assert not all_alike(first, second)
    with pytest.raises(ValueError, match="two different"):
        paired_t(first[:3], second[:3])


def test_differences_exactly_as_far_apart_as_rounding_may_take_them_are_equal(monkeypatch):
    # A quarter of the largest value, 1, so that the limit itself is a number without rounding.
    monkeypatch.setattr(paired, "ROUNDING", 0.25)
    assert differences([1, 0.25, -0.25, 0.375], [0, 0, 0, 0]).tolist() == [1, 0, 0, 0.375]
    assert all_alike([1, 0.75], [0, 0])
    assert not all_alike([1, 0.625], [0, 0])
    # Ranks 1.5 and 1.5: every choice of signs but those all alike has a sum of 1.5. Ranks 1 and 2: two choices have 0.
    assert wilcoxon_signed_rank([1, -0.75], [0, 0]) == (1.5, 1)
    assert wilcoxon_signed_rank([1, -0.625], [0, 0]) == (1, 1)


def test_values_of_single_precision_are_subtracted_in_double():
    first, second = np.array([0.7, 0.9, 0.8], dtype=np.float32), np.array([0.1, 0.01, 0.03], dtype=np.float32)
    exact = first.astype(np.float64) - second.astype(np.float64)
    assert (exact != first - second).all()
    assert differences(first, second).tolist() == exact.tolist()


def test_as_many_pairs_as_are_counted_are_counted_and_one_more_is_not(monkeypatch):
    monkeypatch.setattr(paired, "EXACT_PAIRS", 3)
    assert wilcoxon_signed_rank([1, 1, 1], [0, 0, 0]) == pytest.approx((0, 2 / 8))
    # Four ranks of 2.5: the sum 0 is 5 below its mean, its variance 4 * 2.5**2 / 4.
    assert wilcoxon_signed_rank([1, 1, 1, 1], [0, 0, 0, 0]) == pytest.approx((0, 2 * norm.sf(5 / 2.5)))


@pytest.mark.parametrize("signs", [76, 92])
def test_a_share_is_at_most_one_also_where_it_is_added_up_from_many(signs):
    # With as many of either sign, every choice is as small; added up, their shares are a rounding above 1.
    found = wilcoxon_signed_rank([1, -1] * (signs // 2), [0] * signs)
    assert found.statistic == signs * (signs + 1) / 4
    assert 1 - 1e-12 < found.p_value <= 1


def test_beyond_the_pairs_that_are_counted_it_is_the_normal_approximation(monkeypatch):
    random = np.random.default_rng(0)
    differences = random.integers(-20, 24, EXACT_PAIRS + 60).astype(float)
    expected = wilcoxon(differences[differences != 0], method="asymptotic", correction=False)
    found = wilcoxon_signed_rank(differences, np.zeros(len(differences)))
    np.testing.assert_allclose(found, (expected.statistic, expected.pvalue), rtol=1e-9)
    monkeypatch.setattr(paired, "EXACT_PAIRS", 10**6)
    exact = wilcoxon_signed_rank(differences, np.zeros(len(differences)))
    assert exact.p_value == pytest.approx(found.p_value, abs=2e-3)
    assert exact.p_value != found.p_value


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12))
def test_the_paired_t_test_is_that_of_scipy_or_refused(pairs):
    first, second = np.array(pairs).T
    if all_alike(first, second):
        with pytest.raises(ValueError, match="two different"):
            paired_t(first, second)
    elif np.ptp(first - second) > 1e-6:
        np.testing.assert_allclose(paired_t(first, second), tuple(ttest_rel(first, second)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("test", [wilcoxon_signed_rank, paired_t, all_alike])
@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([], [], "as many"),
        ([1, 2], [1], "as many"),
        ([1, np.nan], [1, 2], "finite"),
        ([1, 2], [np.inf, 2], "finite"),
        ([[1, 2]], [[1, 2]], "as many"),
    ],
)
def test_what_cannot_be_paired_is_refused(test, first, second, said):
    with pytest.raises(ValueError, match=said):
        test(first, second)


# Degenerate repeats ---------------------------------------------------------------------------------------------------


def test_repeats_that_differ_by_rounding_alone_are_not_tested():
    # The differences are 0.1 and twice 0.09999999999999998: their t would be 1e16.
    values = {(0, 0): 0.3, (1, 1): 0.2, (2, 2): 0.8}
    control = {(0, 0): 0.2, (1, 1): 0.1, (2, 2): 0.7}
    comparison = compare(values, control)
    assert (comparison.t, comparison.wilcoxon) == (None, None)
    assert comparison.difference.mean == pytest.approx(0.1)


def test_runs_that_are_equal_but_for_rounding_have_no_clear_difference():
    comparison = compare({(draw, draw): 0.1 + 0.2 for draw in range(3)}, {(draw, draw): 0.3 for draw in range(3)})
    assert (comparison.difference.mean, comparison.t, comparison.clear) == (0, None, False)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_never_a_clear_difference(wrong):
    good = {(0, 0): 0.5, (1, 1): 0.6}
    for values, control in (({**good, (1, 1): wrong}, good), (good, {**good, (1, 1): wrong})):
        with pytest.raises(ValueError, match="finite"):
            compare(values, control)
    with pytest.raises(ValueError, match="finite"):
        estimate({(0, 0): wrong})
    with pytest.raises(ValueError, match="finite"):
        t_interval([0.5, wrong])
    with pytest.raises(ValueError, match="at least one run"):
        estimate({})


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_smallest_level_at_which_each_is_still_rejected(p_values):
    corrected = holm(p_values)
    for level in (0.01, 0.05, 0.2, 0.5):
        rejected = np.zeros(len(p_values), dtype=bool)
        # Holm's own words: from the smallest on, as long as p is at most the level over those that are left.
        for place, which in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[which] > level / (len(p_values) - place):
                break
            rejected[which] = True
        sure = np.abs(corrected - level) > 1e-9
        np.testing.assert_array_equal((corrected <= level)[sure], rejected[sure])


def test_p_values_of_single_precision_are_corrected_in_double():
    p_values = np.array([0.019, 0.2, 0.07], dtype=np.float32)
    assert holm(p_values).tolist() == holm(p_values.tolist()).tolist()


@pytest.mark.parametrize("p_value", [np.nan, -0.1, 1.1])
def test_holm_takes_p_values_alone(p_value):
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        holm([0.1, p_value])


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_t_interval_is_that_of_scipy(values, confidence):
    from scipy.stats import t

    found = t_interval(values, confidence)
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * found.sd / np.sqrt(len(values))
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_the_bootstrap_of_a_mean_has_the_limits_of_all_resamples():
    # Every one of the 27 resamples of three values, each as likely.
    values = np.array([0.0, 1.0, 5.0])
    means = np.array([np.mean(sample) for sample in itertools.product(values, repeat=3)])
    for confidence in (0.5, 0.9):
        low, high = bootstrap_mean(values, draws=40000, confidence=confidence)
        tails = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
        assert (low, high) == pytest.approx(tuple(tails))


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"confidence": 0.0}, {"confidence": 1.0}, {"groups": ["a"]}])
def test_a_bootstrap_that_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        bootstrap_interval(np.ones((3, 2)), lambda sums: sums[:, 0], **wrong)


def test_a_bootstrap_refuses_what_is_no_number_and_a_mean_leaves_it_out():
    items = np.ones((3, 2))
    items[1, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(items, lambda sums: sums[:, 0])
    assert bootstrap_mean([np.nan, 0.5, 0.5]) == (0.5, 0.5)
    assert np.isnan(bootstrap_mean([np.nan, np.nan])).all()
    assert np.isnan(bootstrap_mean([])).all()
