"""The optimisers, and how the learning rate changes over a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch

STEP_PHASE = 0.3
STEP_FACTOR = 0.1
"""The step schedule multiplies the rate by this after each `STEP_PHASE` of the budget: epochs 30, 60, 90 of 100."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "rmsprop": torch.optim.RMSprop,
}


def learning_rate(schedule: str, initial: float, progress: float, *, risen: float = 1.0) -> float:
    """The learning rate at a share of the budget, `progress` in [0, 1), of which `risen` is reached in the warm-up."""
    initial *= risen
    if schedule == "cosine":
        return initial * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return initial * STEP_FACTOR ** math.floor(progress / STEP_PHASE + 1e-9)
    return initial
