"""A guard against harm by unlabelled images, for runs without a validation image that could show it.

A consistency can make a network agree with itself on something wrong. After the training the guard looks at the
predictions for unlabelled images, which needs no further label, beside the masks that the run learnt from. Where they
look wrong it trains the supervised control, which has the same settings without the unsupervised loss, and compares:
where the two differ by much, the run hands out the control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision
from bioseg_cli.dataset.batches import IGNORE, ImageBatch, ImageSource, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.console import Output
from bioseg_cli.training.alike import CONTROL
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import TrainingRun, UnwrittenRun
from bioseg_cli.training.uda import UDA

IMAGES = 30
"""Unlabelled images that are looked at, evenly spaced."""

SIDE = 512
"""Of larger images a square of so many pixels is looked at: a training on crops may have no memory for all of them."""

SUSPECT_FACTOR = 3.0
"""A class may have so many times the share of the unlabelled images that it has in the masks, or this part: images
differ."""

ALIKE = (0.67, 1.5)
"""Share of a class by one over that by another, of the same pixels: outside, the two disagree. Of the run and its
control it is asked for each image, of the run and the masks that it learnt from for all of them together."""

MANY = 0.25
"""Share of the images that decides."""

LESS_STEADY = 0.02
"""The run may agree less with itself under turns and reflections than the control does, by this share of the pixels."""

SMALLEST_SHARE = 0.001
"""A class with less than this share counts as having it: of none there is no ratio."""

DIGITS = 4

TOGETHER = "A training in several processes has no guard: nothing was looked at"
RESUMED = "A resumed run that began with the weights of another has no guard: a control would begin with others"


@dataclass(frozen=True)
class Look:
    """What a network says of unlabelled images.

    Attributes:
        shares: (N, K) share of each image that is given to each class.
        constant: share of the images that are one class throughout.
        steadiness: share of the pixels whose class stays as it is when the image is reflected, and when it is turned.
        learnt: (K,) share of each class that it gives to labelled pixels that it learnt from.
        taught: (K,) share that each class has of these pixels.
    """

    shares: NDArray[np.float64]
    constant: float
    steadiness: float
    learnt: NDArray[np.float64]
    taught: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """The figures of the manifest; the shares in the mean over images, by class."""
        return {
            "shares": [round(share, DIGITS) for share in self.shares.mean(axis=0).tolist()],
            "constant": round(self.constant, DIGITS),
            "steadiness": round(self.steadiness, DIGITS),
            "learnt": [round(share, DIGITS) for share in self.learnt.tolist()],
        }


def guard_run(
    run: TrainingRun,
    trainer: Trainer,
    method: UDA,
    output: Output,
    stop_requested: Callable[[], bool],
    processes: int,
) -> None:
    """Look at what a run that has ended says of unlabelled images, and let it hand out the safer state.

    Nothing is done for a run that the validation images have chosen the states of, and for a supervised one.

    Args:
        run: gets `guard` in its manifest, and the state `control` where that is the safer one.
        trainer: of the run, at its end.
        method: of the run.
        output: is told what is done.
        stop_requested: asked while a control is trained.
        processes: that trained the run together; several have no guard, and that is said.

    Raises:
        Interrupted: the user stopped the training of the control.
    """
    dataset, config, precision = method.dataset, method.config, trainer.precision
    run.checkpoint("control").unlink(missing_ok=True)  # of a run that was resumed
    if not (config.guard and method.consistency and not method.criteria):
        return
    begun_anew = config.init_from is None or trainer.initial_weights is not None
    if processes > 1 or not begun_anew:
        reason = TOGETHER if processes > 1 else RESUMED
        run.manifest["guard"] = {"reason": reason}
        output.say(reason)
        return
    images = method.unlabelled[np.linspace(0, len(method.unlabelled) - 1, IMAGES).round().astype(int)]
    images = np.unique(images)
    learnt = method.labelled[:IMAGES]
    shares, constant = labelled_shares(dataset, learnt)
    look = look_at(trainer.kept, dataset, images, learnt, precision)
    names = [one.name for one in dataset.classes]
    suspicions = suspicious(look, shares, constant, names)
    record: dict[str, Any] = {
        "images": len(images),
        "labelled": {"shares": [round(one, DIGITS) for one in shares.tolist()], "constant": round(constant, DIGITS)},
        "run": look.to_json(),
        "suspicions": suspicions,
        "hands_out": "last",
    }
    run.manifest["guard"] = record
    if not suspicions:
        return
    output.warn(
        f"The predictions for unlabelled images look wrong: {'; '.join(suspicions)}. The supervised control is trained "
        "to compare (--no-guard leaves it)."
    )
    control = _train_control(run, trainer, method, output, stop_requested)
    beside = look_at(control.kept, dataset, images, learnt, precision)
    doubts = suspicious(beside, shares, constant, names)
    record["control"] = {**beside.to_json(), "suspicions": doubts}
    record["alarms"] = harm(look, beside, suspicions, doubts)
    if not record["alarms"]:
        worse = len(doubts) > len(suspicions)
        seems = f"looks worse still ({'; '.join(doubts)})" if worse else "predicts much the same"
        output.say(f"The supervised control {seems}: the run hands out its last state")
        return
    record["hands_out"] = "control"
    run.save_checkpoint("control", control.kept.state_dict(), control.card("control"))
    output.warn(
        f"The unlabelled images have done harm: {'; '.join(record['alarms'])}. The run hands out its supervised "
        "control, the state control; `bioseg predict --state last` takes the one with the unlabelled images."
    )


def _train_control(
    run: TrainingRun, trainer: Trainer, method: UDA, output: Output, stop_requested: Callable[[], bool]
) -> Trainer:
    """The run's own settings, labels, initial weights, seed and updates, without the unlabelled images."""
    config = method.config.model_copy(update=CONTROL)
    supervised = UDA(method.dataset, config, trainer.precision.device)
    unwritten = UnwrittenRun(run.path, {})
    control = Trainer(
        supervised, method.dataset, config, trainer.precision, unwritten, output, stop_requested, Alone(),
        trainer.initial_weights,
    )  # fmt: skip
    control.fit()
    return control


def labelled_shares(dataset: Dataset, labelled: IntArray) -> tuple[NDArray[np.float64], float]:
    """Share of each class (K,) in the labelled pixels, and share of the labelled images that are one class."""
    counts = np.zeros((len(labelled), len(dataset.classes)))
    for place, index in enumerate(labelled.tolist()):
        labels = dataset.labels(index)
        counts[place] = np.bincount(labels[labels != dataset.ignore], minlength=counts.shape[1])
    return counts.sum(axis=0) / counts.sum(), float(np.mean((counts > 0).sum(axis=1) == 1))


@torch.inference_mode()
def look_at(network: UNet, dataset: Dataset, images: IntArray, labelled: IntArray, precision: Precision) -> Look:
    """What a network says of images, or of a square of each, the same for every network; padding is left out.

    Args:
        network: predicts classes with the head `main`.
        dataset: with the images.
        images: unlabelled ones; masks that they have are not read.
        labelled: images that the network learnt from.
        precision: with the device.
    """
    network.eval()
    shares, steady = [], []

    def classes(pixels: torch.Tensor) -> torch.Tensor:
        with precision.autocast():
            found: torch.Tensor = network(pixels.contiguous(memory_format=torch.channels_last))["main"]
        return found.float().argmax(dim=1)

    for batch in _squares(dataset, images, labels=False):
        batch = batch.to(precision.device)
        shown, plain = batch.shown[:, 0] > 0, classes(batch.images)
        counts = torch.bincount(plain[shown], minlength=len(dataset.classes)).double()
        shares.append((counts / counts.sum()).cpu().numpy())
        reflected = classes(batch.images.flip(-1)).flip(-1)
        turned = torch.rot90(classes(torch.rot90(batch.images, 1, (-2, -1))), -1, (-2, -1))
        steady += [float((other == plain)[shown].float().mean()) for other in (reflected, turned)]
    learnt, taught = np.zeros(len(dataset.classes)), np.zeros(len(dataset.classes))
    for batch in _squares(dataset, labelled, labels=True):
        batch = batch.to(precision.device)
        counted = batch.labels != IGNORE
        for sums, said in ((learnt, classes(batch.images)), (taught, batch.labels)):
            sums += torch.bincount(said[counted], minlength=len(sums)).cpu().numpy()
    every = np.array(shares)
    return Look(
        every,
        float(np.mean(every.max(axis=1) == 1)),
        float(np.mean(steady)),
        learnt / learnt.sum(),
        taught / taught.sum(),
    )


def _squares(dataset: Dataset, images: IntArray, *, labels: bool) -> Iterator[ImageBatch]:
    """Each image by itself, or a square of it that its index alone decides on; with `labels` around labelled pixels."""
    source = ImageSource(dataset, 0, labels=labels)
    for index in images.tolist():
        where = random_stream(0, "crop", index)
        yield source.batch(np.array([index]), crop=SIDE, random=where, around_labels=labels)


def suspicious(look: Look, labelled: NDArray[np.float64], constant: float, classes: Sequence[str]) -> list[str]:
    """What of a look is unlike the labelled images, in sentences; empty where nothing is.

    Args:
        look: of the run.
        labelled: (K,) share of each class in the labelled pixels.
        constant: share of the labelled images that are one class.
        classes: their names.
    """
    found = []
    if look.constant > constant + MANY:
        found.append(f"{look.constant:.0%} of them are one class throughout, of the labelled ones {constant:.0%}")
    for name, share, known in zip(classes, look.shares.mean(axis=0), labelled, strict=True):
        if not 1 / SUSPECT_FACTOR <= _ratio(share, known) <= SUSPECT_FACTOR:
            found.append(f"{name!r} has {share:.1%} of their pixels, of the labelled ones {known:.1%}")
    for name, learnt, taught in zip(classes, look.learnt, look.taught, strict=True):
        if not ALIKE[0] <= _ratio(learnt, taught) <= ALIKE[1]:
            found.append(f"where there are labels {name!r} has {learnt:.1%}, in the masks {taught:.1%}")
    return found


def harm(look: Look, control: Look, suspicions: Sequence[str], doubts: Sequence[str]) -> list[str]:
    """The alarms that speak for the control; none where it looks worse itself, however far the two are apart.

    Args:
        look: of the run.
        control: of its control.
        suspicions: of the run.
        doubts: suspicions of the control.
    """
    return [] if len(doubts) > len(suspicions) else alarms(look, control)


def alarms(look: Look, control: Look) -> list[str]:
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
    return found


def _ratio(first: Any, second: Any) -> Any:
    return np.maximum(first, SMALLEST_SHARE) / np.maximum(second, SMALLEST_SHARE)
