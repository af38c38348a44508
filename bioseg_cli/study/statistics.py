"""What repeated runs amount to: means with intervals, paired differences, and which reversals are noise.

Runs that share their labelled images are not independent of each other: where there are several label draws, the
seeds of a draw are averaged first and the draw is the unit; within one draw the seed is, and the interval says nothing
of other draws. Nothing is claimed of a single run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.metrics.intervals import MeanInterval, t_interval
from bioseg_cli.metrics.paired import PairedTest, all_alike, differences, paired_t, wilcoxon_signed_rank

Repeat = tuple[int, int]
"""Label draw and seed of a run."""

SINGLE = "no interval: it is a single run, and one run has no spread"


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats.

    Attributes:
        mean: over units.
        runs: how many runs are in it.
        units: their values, after averaging the seeds of each label draw.
        unit: what a unit is: "label draw" or "seed".
        interval: Student's 95 % interval of the mean; None with a single unit.
    """

    mean: float
    runs: int
    units: tuple[float, ...]
    unit: str
    interval: MeanInterval | None

    @property
    def reservation(self) -> str | None:
        """Why there is no interval, or what it does not cover."""
        if self.interval is None:
            return SINGLE if self.runs == 1 else f"no interval: the {self.runs} runs share one {self.unit}"
        if self.unit == "seed":
            return "the interval is over seeds alone"
        return None


@dataclass(frozen=True)
class Comparison:
    """A mean difference over repeats that both have, one minus the other.

    Attributes:
        difference: with its interval.
        t: paired t test; None with a single unit, or where all differences are equal.
        wilcoxon: signed-rank test; None as well.
        unpaired: runs of one that the other has no match for.
    """

    difference: Estimate
    t: PairedTest | None
    wilcoxon: PairedTest | None
    unpaired: int

    @property
    def clear(self) -> bool | None:
        """Whether the interval leaves 0 out; None where there is no interval."""
        interval = self.difference.interval
        return None if interval is None else not interval.low <= 0 <= interval.high


def estimate(values: Mapping[Repeat, float]) -> Estimate:
    """The mean of at least one run.

    Raises:
        ValueError: no run, or a value that is not a finite number.
    """
    if not values:
        raise ValueError("an estimate needs at least one run")
    if not np.isfinite(list(values.values())).all():
        raise ValueError("an estimate needs finite values")
    units, unit = _units(values)
    sample = np.array(units)
    interval = t_interval(sample) if len(units) > 1 else None
    return Estimate(float(sample.mean()), len(values), units, unit, interval)


def compare(values: Mapping[Repeat, float], control: Mapping[Repeat, float]) -> Comparison | None:
    """`values` minus `control`, draw and seed alike; None where they share no repeat.

    Raises:
        ValueError: a value that is not a finite number.
    """
    shared = [repeat for repeat in values if repeat in control]
    if not shared:
        return None
    unpaired = len(values) + len(control) - 2 * len(shared)
    first, _ = _units({repeat: values[repeat] for repeat in shared})
    second, _ = _units({repeat: control[repeat] for repeat in shared})
    gains = differences([values[repeat] for repeat in shared], [control[repeat] for repeat in shared])
    difference = estimate(dict(zip(shared, gains.tolist(), strict=True)))
    # Without spread t is undefined; that differences are all equal is then said instead of a p value.
    tested = not all_alike(first, second)
    return Comparison(
        difference,
        t=paired_t(first, second) if tested else None,
        wilcoxon=wilcoxon_signed_rank(first, second) if tested else None,
        unpaired=unpaired,
    )


@dataclass(frozen=True)
class Reversal:
    """A mean that falls although there are more labels.

    Attributes:
        less, more: the two label budgets, by their number of images.
        comparison: more labels minus less.
    """

    less: int
    more: int
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """What may be said of it."""
        clear = self.comparison.clear
        if clear is None:
            return "cannot be told from noise: single runs"
        return "holds over the repeats" if clear else "noise: its interval contains 0"


def reversals(by_budget: Mapping[int, Mapping[Repeat, float]]) -> list[Reversal]:
    """Neighbouring label budgets of which the larger has the lower mean; smaller ones lie inside larger ones."""
    budgets = sorted(by_budget)
    found = []
    for less, more in pairwise(budgets):
        comparison = compare(by_budget[more], by_budget[less])
        if comparison is not None and comparison.difference.mean < 0:
            found.append(Reversal(less, more, comparison))
    return found


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Corrected p values of n tests made together, so that a false one among all stays rare (Holm 1979).

    Raises:
        ValueError: a p value that is not in [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError("p values are in [0, 1]")
    order = np.argsort(raw)
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _units(values: Mapping[Repeat, float]) -> tuple[tuple[float, ...], str]:
    """Independent values: means of each label draw, or where there is one draw, the runs."""
    draws = sorted({draw for draw, _ in values})
    if len(draws) == 1:
        return tuple(values[repeat] for repeat in sorted(values)), "seed"
    return tuple(
        float(np.mean([value for (draw, _), value in sorted(values.items()) if draw == each])) for each in draws
    ), "label draw"
