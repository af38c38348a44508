"""A guard against harm by unlabelled images, for runs without a validation image that could show it.

A consistency can make a network agree with itself on something wrong. After the training the guard looks at the
predictions for unlabelled images, which needs no further label, beside the masks that the run learnt from. Where they
look wrong it trains the supervised control, which has the same settings without the unsupervised loss, and compares:
where the two differ by much, the run hands out the control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bioseg_cli.metrics.shapes import ObjectShapes
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import GuardRecord
from bioseg_cli.training.alike import CONTROL
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.look import Look, Masks, look_at, masks_of
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import TrainingRun, UnwrittenRun
from bioseg_cli.training.uda import UDA

IMAGES = 30
"""Unlabelled images that are looked at, evenly spaced."""

SUSPECT_FACTOR = 3.0
"""A class may have so many times the share of the unlabelled images that it has in the masks, or this part: images
differ. So may its objects have so many times the size."""

ALIKE = (0.67, 1.5)
"""Share of a class by one over that by another, of the same pixels: outside, the two disagree. Of the run and its
control it is asked for each image, of the run and the masks that it learnt from for all of them together, and of the
sizes of objects by the run and its control."""

MANY = 0.25
"""Share of the images that decides."""

LESS_STEADY = 0.02
"""The run may agree less with itself under turns and reflections than the control does, by this share of the pixels."""

SMALLEST_SHARE = 0.001
"""A class with less than this share counts as having it: of none there is no ratio."""

LESS_SOLID = 0.1
"""Objects may have so much less solidity than those of the masks, or of the control. Only less is a harm: ragged,
holed and merged objects have less, and smooth ones more than a hand draws."""

TOGETHER = "A training in several processes has no guard: nothing was looked at"
RESUMED = "A resumed run that began with the weights of another has no guard: a control would begin with others"


def guard_run(
    run: TrainingRun,
    trainer: Trainer,
    method: UDA,
    output: Output,
    stop_requested: Callable[[], bool],
    processes: int,
) -> Iterator[GuardRecord]:
    """Look at what a run that has ended says of unlabelled images, and let it hand out the safer state.

    Nothing is done for a run that the validation images have chosen the states of, and for a supervised one.

    Args:
        run: gets the state `control` where that is the safer one.
        trainer: of the run, at its end.
        method: of the run.
        output: is told what is done.
        stop_requested: asked while a control is trained.
        processes: that trained the run together; several have no guard, and that is said.

    Yields:
        What the manifest says of it: once after the look, and where a control was trained once more.

    Raises:
        Interrupted: the user stopped the training of the control.
    """
    dataset, config, precision = method.dataset, method.config, trainer.precision
    run.checkpoint("control").unlink(missing_ok=True)  # of a run that was resumed
    if not (config.guard and (method.consistency or method.pseudo_labels) and not method.criteria):
        return
    begun_anew = config.init_from is None or trainer.initial_weights is not None
    if processes > 1 or not begun_anew:
        reason = TOGETHER if processes > 1 else RESUMED
        output.say(reason)
        yield GuardRecord(reason=reason)
        return
    images = method.unlabelled[np.linspace(0, len(method.unlabelled) - 1, IMAGES).round().astype(int)]
    images = np.unique(images)
    learnt = method.labelled[:IMAGES]
    masks = masks_of(dataset, learnt)
    look = look_at(trainer.kept, dataset, images, learnt, precision, masks.shapes)
    names = [info.name for info in dataset.classes]
    suspicions = suspicious(look, masks, names)
    record = GuardRecord(
        images=len(images),
        labelled=masks.figures(),
        run=look.figures(),
        suspicions=tuple(suspicions),
        hands_out="last",
    )
    yield record
    if not suspicions:
        return
    output.warn(
        f"The predictions for unlabelled images look wrong: {'; '.join(suspicions)}. The supervised control is trained "
        "to compare (--no-guard leaves it)."
    )
    control = _train_control(run, trainer, method, output, stop_requested)
    beside = look_at(control.kept, dataset, images, learnt, precision, masks.shapes)
    doubts = suspicious(beside, masks, names)
    found = harm(look, beside, masks, names)
    record = record.having(control=beside.figures().having(suspicions=doubts), alarms=found)
    if not found:
        worse = len(doubts) > len(suspicions)
        seems = f"looks worse still ({'; '.join(doubts)})" if worse else "predicts much the same"
        output.say(f"The supervised control {seems}: the run hands out its last state")
        yield record
        return
    run.save_checkpoint("control", control.kept.state_dict(), control.card("control"))
    output.warn(
        f"The unlabelled images have done harm: {'; '.join(found)}. The run hands out its supervised "
        "control, the state control; `bioseg predict --state last` takes the one with the unlabelled images."
    )
    yield record.having(hands_out="control")


def _train_control(
    run: TrainingRun, trainer: Trainer, method: UDA, output: Output, stop_requested: Callable[[], bool]
) -> Trainer:
    """The run's own settings, labels, initial weights, seed and updates, without the unlabelled images."""
    config = method.config.model_copy(update=CONTROL)
    supervised = UDA(method.dataset, config, trainer.precision.device)
    unwritten = UnwrittenRun(run.path, run.manifest.model_copy(deep=True))
    control = Trainer(
        supervised, method.dataset, config, trainer.precision, unwritten, output, stop_requested, Alone(),
        trainer.initial_weights,
    )  # fmt: skip
    control.fit()
    return control


def suspicious(look: Look, masks: Masks, classes: Sequence[str]) -> list[str]:
    """What of a look is unlike the labelled images, in sentences; empty where nothing is.

    That objects have to be shaped like those of the masks is the morphology prior by which Franco-Barranco et al. stop
    an adaptation (Deep learning based domain adaptation for mitochondria segmentation on EM volumes, 2022).

    Args:
        look: of the run.
        masks: of the labelled images.
        classes: their names.
    """
    found = []
    if look.constant > masks.constant + MANY:
        found.append(f"{look.constant:.0%} of them are one class throughout, of the labelled ones {masks.constant:.0%}")
    for name, share, known in zip(classes, look.shares.mean(axis=0), masks.shares, strict=True):
        if not 1 / SUSPECT_FACTOR <= _ratio(share, known) <= SUSPECT_FACTOR:
            found.append(f"{name!r} has {share:.1%} of their pixels, of the labelled ones {known:.1%}")
    for name, learnt, taught in zip(classes, look.learnt, look.taught, strict=True):
        if not ALIKE[0] <= _ratio(learnt, taught) <= ALIKE[1]:
            found.append(f"where there are labels {name!r} has {learnt:.1%}, in the masks {taught:.1%}")
    for value, drawn in masks.shapes.items():
        name, ours = classes[value], look.shapes[value]
        if not 1 / SUSPECT_FACTOR <= ours.size / drawn.size <= SUSPECT_FACTOR:
            found.append(f"objects of {name!r} have {ours.size:.0f} pixels, in the masks {drawn.size:.0f}")
        if _less_solid(ours, drawn):
            found.append(
                f"objects of {name!r} have a solidity of {ours.solidity:.2f}, in the masks {drawn.solidity:.2f}"
            )
    return found


def harm(look: Look, control: Look, masks: Masks, classes: Sequence[str]) -> list[str]:
    """The alarms that speak for the control; none where it looks worse itself, however far the two are apart.

    Args:
        look: of the run.
        control: of its control.
        masks: of the labelled images.
        classes: their names.
    """
    doubtful = len(suspicious(control, masks, classes)) > len(suspicious(look, masks, classes))
    return [] if doubtful else alarms(look, control, masks, classes)


def alarms(look: Look, control: Look, masks: Masks, classes: Sequence[str]) -> list[str]:
    """In what a run is worse than its control, or far from it, in sentences; empty where in nothing."""
    found = []
    ratios = _ratio(look.shares, control.shares)
    apart = float(np.mean(((ratios < ALIKE[0]) | (ratios > ALIKE[1])).any(axis=1)))
    if apart > MANY:
        found.append(
            f"on {apart:.0%} of the images a class has not {ALIKE[0]} to {ALIKE[1]} times the control's pixels"
        )
    if look.constant > control.constant + MANY:
        found.append(
            f"{look.constant:.0%} of the images are one class throughout, by the control {control.constant:.0%}"
        )
    if look.steadiness < control.steadiness - LESS_STEADY:
        found.append(
            f"turned and reflected, {look.steadiness:.1%} of the pixels keep their class, by the control "
            f"{control.steadiness:.1%}"
        )
    for value, drawn in masks.shapes.items():
        name, ours, theirs = classes[value], look.shapes[value], control.shapes[value]
        apart_in_size = not ALIKE[0] <= _size_ratio(ours, theirs) <= ALIKE[1]
        if apart_in_size and _distance(ours, drawn) > _distance(theirs, drawn):
            found.append(
                f"objects of {name!r} have {ours.size:.0f} pixels, by the control {theirs.size:.0f}, "
                f"in the masks {drawn.size:.0f}"
            )
        if _less_solid(ours, theirs) and _less_solid(ours, drawn):
            found.append(
                f"objects of {name!r} have a solidity of {ours.solidity:.2f}, by the control {theirs.solidity:.2f}, "
                f"in the masks {drawn.solidity:.2f}"
            )
    return found


def _ratio(first: Any, second: Any) -> Any:
    return np.maximum(first, SMALLEST_SHARE) / np.maximum(second, SMALLEST_SHARE)


def _size_ratio(first: ObjectShapes, second: ObjectShapes) -> float:
    """Of two sizes; no object counts as one pixel."""
    return max(first.size, 1.0) / max(second.size, 1.0)


def _distance(first: ObjectShapes, second: ObjectShapes) -> float:
    return abs(math.log(_size_ratio(first, second)))


def _less_solid(first: ObjectShapes, second: ObjectShapes) -> bool:
    """Whether objects have clearly less solidity than others; where either has none, their sizes tell."""
    if first.solidity is None or second.solidity is None:
        return False
    return first.solidity < second.solidity - LESS_SOLID
