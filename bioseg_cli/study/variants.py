"""The settings of train-uda that a plan compares: what tells them apart, and what the control of each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.config import build_config
from bioseg_cli.errors import UsageError
from bioseg_cli.study.settings import Plan
from bioseg_cli.training import alike
from bioseg_cli.training.preset import CHOSEN_BY_BEST
from bioseg_cli.training.uda_settings import TrainUDAConfig


@dataclass(frozen=True)
class Variant:
    """One entry of the plan's `uda`.

    Attributes:
        name: the settings by which it differs from the others, such as `width 16`; empty where it is the only one.
        settings: of its runs.
        control: of its controls. What is learnt from unlabelled images has no effect on them: of such settings, those
            that vary are left out, so that variants share their controls where these are the same.
        losses: unsupervised losses of its runs.
    """

    name: str
    settings: Mapping[str, Any]
    control: Mapping[str, Any]
    losses: tuple[str, ...]


def variants_of(plan: Plan, source: Path) -> tuple[Variant, ...]:
    """The variants of a plan.

    Args:
        plan: see `docs/study.md`.
        source: its file, for messages.

    Raises:
        UsageError: settings that do not exist, or entries that are the same.
    """
    entries = plan.variants
    shown = [_shown(entry, plan, source) for entry in entries]
    given = dict.fromkeys(name for entry in entries for name in entry)
    varying = [name for name in given if len({values[name] for values in shown}) > 1]
    names = [", ".join(f"{name} {values[name]}" for name in varying) for values in shown]
    _refuse_twins(names, source)
    of_control = set(varying) & TrainUDAConfig.of_unlabelled
    return tuple(
        Variant(
            name=name,
            settings=entry,
            control={key: value for key, value in entry.items() if key not in of_control},
            losses=(entry["unsup_loss"],) if "unsup_loss" in entry else plan.losses,
        )
        for name, entry in zip(names, entries, strict=True)
    )


def _shown(entry: Mapping[str, Any], plan: Plan, source: Path) -> dict[str, str]:
    """Every setting in words; `default` for what a preset chooses when the images are known."""
    # Without a loss, no setting has to fit one: the plan may name several.
    config = build_config(TrainUDAConfig, {**entry, **plan.budget, "unsup_loss": "none"}, source=source)
    values = {name: alike.shown(getattr(config, name)) for name in TrainUDAConfig.model_fields}
    if config.preset == "best":
        values |= dict.fromkeys(CHOSEN_BY_BEST - config.model_fields_set, "default")
    return {**values, "unsup_loss": str(entry.get("unsup_loss", "of the plan"))}


def _refuse_twins(names: Sequence[str], source: Path) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(
                f"uda: the entries {names.index(name) + 1} and {place + 1} are the same",
                where=source,
                fix="Remove one of them, or change a setting of it.",
            )
