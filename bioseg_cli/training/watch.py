"""What looks on while a network trains, and may ask it to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is, after a step or at the end of an epoch.

    Attributes:
        step: updates of the network so far.
        steps: updates of the whole budget.
        epoch: in which the training is, from 1.
        losses: of the step, or at the end of an epoch the means over it, by name; `total` is what is minimised.
        metrics: of the validation by name; None but at the end of an epoch.
    """

    step: int
    steps: int
    epoch: int
    losses: Mapping[str, float]
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Watch:
    """Who is told of the progress of a training, and who may stop it.

    Attributes:
        stop_requested: asked before each step; true: the state is saved and the training ends as `Interrupted`.
        progressed: told after each step and at the end of each epoch.
    """

    stop_requested: Callable[[], bool] = lambda: False
    progressed: Callable[[TrainingProgress], None] = lambda progress: None
