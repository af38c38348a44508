"""How far a number can be trusted: t intervals over repeats, bootstrap intervals over images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_WEIGHTS = 1 << 22
"""Resampling weights held in memory at once, about 32 MiB."""

KEPT_WEIGHTS = 1 << 25
"""Weights that are kept for the next interval over as many images, a byte each: drawing them is most of the work."""


class MeanInterval(NamedTuple):
    """A mean with its standard deviation (ddof 1) and the limits of its confidence interval."""

    mean: float
    sd: float
    low: float
    high: float


def as_text(low: float, high: float, form: str = ".4f") -> str:
    """The limits of an interval as every table writes them, `0.9120 to 0.9340`; `form` is of each limit."""
    return f"{low:{form}} to {high:{form}}"


def t_interval(values: Sequence[float] | NDArray[np.float64], confidence: float = 0.95) -> MeanInterval:
    """Student's t interval of the mean of independent repeats, such as seeds.

    Of equal values it has no width.

    Raises:
        ValueError: fewer than two values, from which no spread can be told, or one that is not a finite number.
    """
    from scipy.stats import t

    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        raise ValueError("an interval needs at least two values")
    if not np.isfinite(sample).all():
        raise ValueError("an interval needs finite values")
    mean, sd = float(sample.mean()), float(sample.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, sample.size - 1)) * sd / sample.size**0.5
    return MeanInterval(mean, sd, mean - half, mean + half)


def bootstrap_interval(
    items: NDArray[Any],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    groups: Sequence[str] | NDArray[Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> NDArray[np.float64]:
    """Percentile bootstrap interval of a statistic of a sum over images (Efron and Tibshirani 1993, chapter 13).

    Images are drawn with replacement, what they contribute is added up, and the statistic is taken of the sum. With
    confusion counts this gives the interval of a pooled IoU, with the counts of two models side by side that of their
    difference (both see the same draws, so the comparison is paired).

    Args:
        items: (N, ...) what each image contributes to the sum.
        statistic: sums (draws, ...) -> values (draws, *S); NaN where a draw leaves it undefined.
        groups: (N,) whole groups are drawn instead of images: frames of one sequence are not independent.
        draws: number of resamples.
        seed: of the draws.
        confidence: share of the draws between the limits.

    Returns:
        (2, *S) lower and upper limit; NaN with fewer than two images or groups, and for a value undefined in every
        draw. Draws that leave a value undefined (a class they do not contain) are left out for that value.

    Raises:
        ValueError: an item that is not finite, groups of other images, no draw, or a confidence outside (0, 1).
    """
    if not np.isfinite(items).all():
        raise ValueError("a bootstrap needs finite items")
    if groups is not None and len(groups) != len(items):
        raise ValueError(f"there are {len(groups)} groups for {len(items)} images")
    if draws < 1 or not 0 < confidence < 1:
        raise ValueError(f"a bootstrap needs draws and a confidence between 0 and 1, got {draws} and {confidence}")
    units = np.asarray(items, dtype=np.float64) if groups is None else _sum_by_group(items, groups)
    sampled = statistic(np.zeros((1, *units.shape[1:])))
    limits = np.full((2, *sampled.shape[1:]), np.nan)
    if len(units) < 2:
        return limits
    kept = len(units) * draws <= KEPT_WEIGHTS
    blocks = _kept_weights(len(units), draws, seed) if kept else _weights(len(units), draws, seed)
    sampled = np.concatenate([statistic(np.tensordot(weights, units, axes=1)) for weights in blocks])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for index in np.ndindex(sampled.shape[1:]):
        defined = sampled[(slice(None), *index)]
        defined = defined[~np.isnan(defined)]
        if defined.size:
            limits[(slice(None), *index)] = np.quantile(defined, tails)
    return limits


def _weights(units: int, draws: int, seed: int) -> Iterator[NDArray[Any]]:
    """How often each unit is drawn in each resample, (draws, units) in blocks of rows."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_WEIGHTS // units)
    for start in range(0, draws, block):
        yield rng.multinomial(units, np.full(units, 1 / units), size=min(block, draws - start))


@lru_cache(maxsize=1)
def _kept_weights(units: int, draws: int, seed: int) -> tuple[NDArray[Any], ...]:
    """The same, in the smallest type."""
    return tuple(block.astype(np.min_scalar_type(block.max())) for block in _weights(units, draws, seed))


def bootstrap_mean(
    values: Sequence[float] | NDArray[np.float64],
    *,
    groups: Sequence[str] | NDArray[Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over images, values (N,); NaN values are left out."""
    sample = np.asarray(values)
    defined = ~np.isnan(sample)
    low, high = bootstrap_interval(
        np.stack([np.where(defined, sample, 0.0), defined], axis=1),
        mean_of_sums,
        groups=groups,
        draws=draws,
        seed=seed,
        confidence=confidence,
    )
    return float(low), float(high)


def mean_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean from sums (..., 2) of values and of their number; NaN where the number is 0."""
    means = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., 1], out=means, where=sums[..., 1] > 0)
    return means


def _sum_by_group(items: NDArray[Any], groups: Sequence[str] | NDArray[Any]) -> NDArray[np.float64]:
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), *np.shape(items)[1:]))
    np.add.at(sums, member_of, items)
    return sums
