"""Which of several runs to use, by what they score on the same labelled images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.evaluation.scores import Difference, Resampling, difference
from bioseg_cli.metrics.intervals import as_text


def choose(runs: Sequence[Evaluation], control: Evaluation | None, resampling: Resampling) -> tuple[Evaluation, str]:
    """The run to use, and a sentence that says why, with how much the images decide.

    A run is preferred to the control only where its mean IoU is not below that of the control. Of several such runs,
    and of all where there is no control, the one with the highest mean IoU is taken; of equal ones the first.

    Args:
        runs: the others than the control, at least one; without a control at least two.
        control: scored on the same images.
        resampling: for the interval of the difference that decides.
    """
    best = max(runs, key=lambda run: run.score.mean_iou)
    if control is None:
        second = max((run for run in runs if run is not best), key=lambda run: run.score.mean_iou)
        gain = difference(best.images, second.images, resampling)
        why = f"it has the highest mIoU of the {len(runs)} runs, {_said(gain)} to {second.name}"
        return best, f"Use {best.name}: {why}. {_decided_by(gain, best)}"
    gain = difference(best.images, control.images, resampling)
    if gain.mean_iou >= 0:
        why = f"its mIoU is not below that of the control {control.name} ({_said(gain)})"
        return best, f"Use {best.name}: {why}. {_decided_by(gain, best)}"
    highest = f"the highest, {best.name}" if len(runs) > 1 else best.name
    why = f"no run reaches its mIoU ({highest}: {_said(gain)})"
    return control, f"Use the control {control.name}: {why}. {_decided_by(gain, best)}"


def _said(gain: Difference) -> str:
    low, high = gain.limits
    interval = "" if np.isnan(low) else f", 95 % interval {as_text(low, high, '+.4f')}"
    return f"difference {gain.mean_iou:+.4f}{interval}"


def _decided_by(gain: Difference, run: Evaluation) -> str:
    """How much the images decide."""
    if run.score.images == 1:
        return "Parts of a single labelled image give no interval: the mean alone has decided."
    if np.isnan(gain.limits[0]):
        return "Images of a single group give no interval: the mean alone has decided."
    low, high = gain.limits
    few = f"{run.score.images} images decide little"
    return f"The interval holds 0, and {few}." if low <= 0 <= high else f"{few[0].upper()}{few[1:]}."
