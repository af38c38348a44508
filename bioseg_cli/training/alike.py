"""In what two trainings differ, by their manifests: whether one is the control of the other, or its repeat.

The supervised control of a run has its data, labelled images, seed and settings, and no unlabelled image: only then is
the difference of their scores the work of the unlabelled images. A repeat differs in its seed and labelled images.
Where and in how many processes they were trained is of no account; nor is the precision, which is rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioseg_cli.runs.manifest import NO_MATTER, Manifest
from bioseg_cli.training.registry import METHODS
from bioseg_cli.training.uda_settings import TrainUDAConfig

CONTROL = {"unsup_loss": "none", "denoise": 0, "pseudo_labels": "none"}
"""The settings of a control, which learns nothing from unlabelled images."""

DENOISED = "denoise"
"""What tables know a run by that learns from unlabelled images by its denoising head alone."""

PSEUDO_LABELLED = "pseudo-labels"
"""What tables know a run by that learns from unlabelled images by the labels of a forest, without a consistency."""

OF_THE_MACHINE = frozenset({"device", "precision"})

FILLED_IN = frozenset({"preset", "minutes"})
"""Settings that others have come of before the training began."""

SAID_BY_IMAGES = frozenset({"ratio", "labels", "label_draw", "label_images"})
"""Settings that may differ where they come to the same labelled images."""

BUDGET = ("steps", "epochs", "patience")
"""Settings that may differ where they come to the same number of updates."""

OF_A_REPEAT = frozenset({"seed", "labelled images"})


def unlike_control(run: Manifest, control: Manifest) -> list[str]:
    """In what a run and what may be its control differ, such as `width (4 and 2)`; empty for its control.

    Args:
        run: manifest of any run.
        control: manifest of any run.
    """
    if not run.command == control.command == TrainUDAConfig.command:
        return [f"the command ({run.command} and {control.command})"]
    # Statistics of all images make a control no weaker: what a run gains over it is not theirs.
    of_all = control.config.get("norm_images") == "all"
    leaving_out = TrainUDAConfig.of_unlabelled | ({"norm_images"} if of_all else frozenset())
    return not_supervised(control) + _unlike(run, control, leaving_out)


def not_supervised(control: Manifest) -> list[str]:
    """The settings by which what may be a control learns from unlabelled images; empty for a supervised run."""
    settings = control.config
    return [
        f"{name} ({settings[name]}, and that of a control is {value})"
        for name, value in CONTROL.items()
        if settings.get(name, value) != value
    ]


def flags_of_control(config: Mapping[str, Any]) -> str:
    """The flags that make the control of a run with these settings, such as `--unsup-loss none --denoise 0`."""
    changed = (name for name, value in CONTROL.items() if name == "unsup_loss" or config.get(name, value) != value)
    return " ".join(f"--{name.replace('_', '-')} {CONTROL[name]}" for name in changed)


def learnt_by(config: Mapping[str, Any], otherwise: str) -> str:
    """By what a run learns from unlabelled images: its unsupervised loss, or one of the names above, or `none`.

    Args:
        config: of its manifest.
        otherwise: for a run of another command.
    """
    loss: str = config.get("unsup_loss", otherwise)
    if loss != CONTROL["unsup_loss"]:
        return loss
    if config.get("pseudo_labels", "none") != "none":
        return PSEUDO_LABELLED
    return DENOISED if config.get("denoise") else loss


def unlike_repeat(first: Manifest, second: Manifest) -> list[str]:
    """In what two runs of one command differ beside their seed and labelled images; empty for repeats."""
    return _unlike(first, second, OF_A_REPEAT)


def _unlike(first: Manifest, second: Manifest, leaving_out: frozenset[str]) -> list[str]:
    budgets = all(map(_spent_its_budget, (first, second)))
    ours, theirs = _facts(first, by_updates=budgets), _facts(second, by_updates=budgets)
    names = [name for name in ours if name not in leaving_out and ours[name] != theirs[name]]
    return [_said(name, ours[name], theirs[name]) for name in names]


def _spent_its_budget(manifest: Manifest) -> bool:
    return manifest.status.ended and manifest.progress is not None and manifest.config.get("patience") is None


def _facts(manifest: Manifest, *, by_updates: bool) -> dict[str, Any]:
    """All that a result depends on, by its name; `by_updates`: its budget is the number of updates it came to."""
    model = METHODS.of_command(manifest.command)
    # A manifest of an earlier version lacks the settings that are younger.
    known = {name: field.default for name, field in model.model_fields.items()}
    config = model.model_construct(**{**known, **manifest.config})
    left_out = (
        NO_MATTER
        | OF_THE_MACHINE
        | FILLED_IN
        | SAID_BY_IMAGES
        | {"init_from"}
        | (frozenset(BUDGET) if by_updates else frozenset())
    )
    values = {name: getattr(config, name) for name in model.model_fields if name not in left_out}
    # Left to its default, or given as what the default is.
    network = config.architecture(1, {})
    values |= {"norm": network.norm, "dropout": network.dropout}
    labels, progress, weights = manifest.labels, manifest.progress, manifest.initial_weights
    return {
        "data": manifest.data.content_hash,
        "labelled images": frozenset((labels and labels.images) or ()),
        **({"updates": progress.updates} if by_updates and progress is not None else {}),
        "initial weights": weights and weights.hash,
        **values,
    }


def _said(name: str, ours: Any, theirs: Any) -> str:
    if name == "data":
        return "the data set"
    if name == "initial weights":
        return "the weights they start from"
    if name == "labelled images":
        if len(ours) != len(theirs):
            return f"the number of labelled images ({len(ours)} and {len(theirs)})"
        return f"the labelled images ({len(ours & theirs)} of {len(ours)} are the same)"
    return f"{name} ({shown(ours)} and {shown(theirs)})"


def shown(value: Any) -> str:
    """The value of a setting in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value)
