"""What `train-uda --preset best` sets; docs/training.md says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEST: dict[str, Any] = {
    "unsup_loss": "none",
    "sup_loss": "ce-dice",
    "dice": "batch",
    "dice_smooth": 1.0,
    "augment": "microscopy",
    "geometry": "wide",
    "crop_around": "labels",
    "batch_size": 2,
    "lr": 0.002,
    "schedule": "cosine",
    "warmup": 50,
    "ema": 0.99,
}
"""Set where nothing else was given."""

CHOSEN_BY_BEST = frozenset({"width", "crop", "exposure", "epoch_steps"})
"""Settings that fit the images and the machine, where nothing was given; see `training.fit`."""

BEST_STEPS = 1000
"""Its updates where no budget was given."""

BEST_RAMP = 0.3
"""Its `ramp` with `teacher: average`: the teacher of the first updates knows little."""


def with_best(given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings, and those of the preset where nothing was given."""
    budget = {} if {"steps", "epochs", "minutes"} & given.keys() else {"steps": BEST_STEPS}
    labels = {} if {"ratio", "labels", "label_images"} & given.keys() else {"ratio": 1.0}
    taught = {"ramp": BEST_RAMP} if given.get("teacher") == "average" else {}
    return {**BEST, **budget, **labels, **taught, **given}
