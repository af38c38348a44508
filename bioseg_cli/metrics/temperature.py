"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes a network as sure as it is right.

The logits are divided by a temperature before the softmax. Above 1 it takes certainty away, below 1 it adds some; which
class is the most probable stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMITS = (0.1, 10.0)
"""Temperatures are sought in between. Of pixels that are all right the likelihood rises without end towards 0."""
TOLERANCE = 1e-6


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The probabilities (..., K, H, W) that the logits would have had, divided by the temperature.

    They need no logits: p ** (1 / T), over their sum. So a mean of tiles or of views has its order kept too.
    """
    if temperature == 1:
        return probabilities
    # The largest stands at 0, so that no sum is ever 0.
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    logs -= logs.max(axis=-3, keepdims=True)
    logs *= np.float32(1 / temperature)
    np.exp(logs, out=logs)
    logs /= logs.sum(axis=-3, keepdims=True)
    return logs


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature of the least negative log-likelihood, within `LIMITS`.

    Args:
        logits: (N, K) of N pixels.
        labels: (N,) their true classes 0..K-1.
    """
    from scipy.optimize import brentq

    scores = logits.astype(np.float64)
    right = np.take_along_axis(scores, labels[:, None].astype(np.intp), axis=1).mean()

    def slope(inverse: float) -> float:
        """Of the negative log-likelihood by 1 / T, in which it is convex: rising."""
        return float((_softmax(scores * inverse) * scores).sum(axis=1).mean() - right)

    low, high = 1 / LIMITS[1], 1 / LIMITS[0]
    if slope(low) >= 0:
        return LIMITS[1]
    if slope(high) <= 0:
        return LIMITS[0]
    return float(1 / brentq(slope, low, high, xtol=TOLERANCE))


def negative_log_likelihood(logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0) -> float:
    """Mean over pixels of minus the logarithm of the probability of the true class, in nats.

    Args:
        logits: (N, K) of N pixels.
        labels: (N,) their true classes.
        temperature: that the logits are divided by.
    """
    scores = logits.astype(np.float64) / temperature
    scores -= scores.max(axis=1, keepdims=True)
    right = np.take_along_axis(scores, labels[:, None].astype(np.intp), axis=1)[:, 0]
    return float((np.log(np.exp(scores).sum(axis=1)) - right).mean())


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    raised: NDArray[np.float64] = np.exp(scores - scores.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised
