"""Tests of paired values: the same seeds, images or label draws under two conditions.

Scores come from divisions, so that equal differences may be apart by rounding. Differences that are no further apart
than `ROUNDING` times the largest value are equal here, and one that small is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""Some thousand times the rounding of a difference, and far below the share of one pixel in a data set."""

EXACT_PAIRS = 200
"""Up to so many differences that are not 0, Wilcoxon's p is exact: counting all their signs takes under a second."""

Values = Sequence[float] | NDArray[Any]


class PairedTest(NamedTuple):
    """A test statistic and its two-sided p value."""

    statistic: float
    p_value: float


def differences(first: Values, second: Values) -> NDArray[np.float64]:
    """`first` - `second`, value by value, (N,); those that rounding alone keeps from 0 are 0.

    Raises:
        ValueError: no pair, values without a partner, or a value that is not a finite number.
    """
    minuend, subtrahend = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if minuend.ndim != 1 or minuend.shape != subtrahend.shape or not minuend.size:
        raise ValueError(
            f"a paired test needs as many first as second values, got {minuend.shape} and {subtrahend.shape}"
        )
    if not np.isfinite([minuend, subtrahend]).all():
        raise ValueError("a paired test needs finite values")
    found: NDArray[np.float64] = minuend - subtrahend
    return np.where(np.abs(found) <= _resolution(minuend, subtrahend), 0.0, found)


def all_alike(first: Values, second: Values) -> bool:
    """Whether all differences are equal, but for rounding: of them no spread can be told. `Raises` as `differences`."""
    return bool(np.ptp(differences(first, second)) <= _resolution(np.asarray(first), np.asarray(second)))


def paired_t(first: Values, second: Values) -> PairedTest:
    """Student's paired t test of `first` - `second`.

    Raises:
        ValueError: see `differences`; or a single pair, or differences that are all equal: t is undefined.
    """
    from scipy.stats import ttest_1samp

    if all_alike(first, second):
        raise ValueError("a paired t test needs at least two different differences")
    result = ttest_1samp(differences(first, second), 0.0)
    return PairedTest(float(result.statistic), float(result.pvalue))


def wilcoxon_signed_rank(first: Values, second: Values) -> PairedTest:
    """Wilcoxon's signed-rank test of `first` - `second` (Wilcoxon 1945), two-sided.

    Differences of 0 are left out. The others are ranked by their size, equal ones with the mean of their ranks, and
    the statistic is the smaller of the sums of the ranks of positive and of negative differences. The p value is the
    share of all choices of signs that make the statistic as small or smaller: exact with ties too. With five pairs it
    can't go below 0.0625. Of more than `EXACT_PAIRS` differences it is the normal approximation, corrected for ties.

    Returns:
        Statistic and p value; 0 and 1 where every difference is 0.

    Raises:
        ValueError: see `differences`.
    """
    found = differences(first, second)
    found = found[found != 0]
    twice = _twice_mid_ranks(np.abs(found), _resolution(np.asarray(first), np.asarray(second)))
    positive = int(twice[found > 0].sum())
    smaller = min(positive, int(twice.sum()) - positive)
    p_value = _exact_p(twice, smaller) if found.size <= EXACT_PAIRS else _normal_p(twice, smaller)
    return PairedTest(smaller / 2, p_value)


def _resolution(first: NDArray[Any], second: NDArray[Any]) -> float:
    return ROUNDING * float(max(np.abs(first).max(), np.abs(second).max()))


def _twice_mid_ranks(sizes: NDArray[np.float64], resolution: float) -> NDArray[np.int64]:
    """Twice the rank of each size, a whole number: equal sizes have the mean of the ranks that they take together."""
    order = np.argsort(sizes)
    group = np.cumsum(np.diff(sizes[order], prepend=sizes[order][:1]) > resolution)
    members = np.bincount(group)
    last = np.cumsum(members)
    first = last - members + 1
    twice = np.empty(len(sizes), dtype=np.int64)
    twice[order] = (first + last)[group]
    return twice


def _exact_p(twice: NDArray[np.int64], smaller: int) -> float:
    """Share of all choices of signs whose smaller rank sum, doubled, is at most `smaller`."""
    total = int(twice.sum())
    # share[s]: of the choices of signs, those whose positive ranks, doubled, add up to s.
    share = np.zeros(total + 1)
    share[0] = 1.0
    for rank in twice.tolist():
        moved = np.zeros_like(share)
        moved[rank:] = share[: total + 1 - rank]
        share = (share + moved) / 2
    sums = np.arange(total + 1)
    return min(1.0, float(share[np.minimum(sums, total - sums) <= smaller].sum()))


def _normal_p(twice: NDArray[np.int64], smaller: int) -> float:
    """The same from the normal distribution with the mean and the variance that the sum has over all choices."""
    from scipy.stats import norm

    # Each rank r is added or not: mean r / 2, variance r^2 / 4. Ties are in the ranks already.
    distance = twice.sum() / 2 - smaller
    return float(2 * norm.sf(distance / np.sqrt(((twice / 2) ** 2).sum())))
