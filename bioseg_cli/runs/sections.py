"""The sections of a run's manifest. Each is made by the function that knows it, whole, and is not changed after."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainSerializer

from bioseg_cli.config import SplitName, StateName
from bioseg_cli.runs.section import Section


class Status(StrEnum):
    """How far a run is, or how it ended."""

    RUNNING = "running"
    FINISHED = "finished"
    COLLAPSED = "collapsed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self in (Status.FINISHED, Status.COLLAPSED)


StatusName = Annotated[Status, PlainSerializer(str, return_type=str)]
"""A status, which YAML has as its name."""


class TrainingData(Section):
    """The data set that a run was trained on."""

    path: str
    content_hash: str


class InitialWeights(Section):
    """The weights that a training began with.

    Attributes:
        path: of the run or saved model, as it was given.
        hash: SHA-256 of the saved model.
        state: of that run.
        tensors: how many were taken.
        of: how many the network has.
        new_heads: heads that begin with random weights.
    """

    path: str
    hash: str
    state: str | None = None
    tensors: int | None = None
    of: int | None = None
    new_heads: tuple[str, ...] = ()


class Environment(Section):
    """Versions, processor and code revision."""

    bioseg: str | None = None
    python: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    platform: str | None = None
    processor: str | None = None
    cores: int | None = None
    git_revision: str | None = None


class Times(Section):
    """When a run began, was gone on with, and ended, in UTC."""

    started: str
    resumed: tuple[str, ...] = ()
    ended: str | None = None


class LabelledImages(Section):
    """The labelled images that a run has seen.

    Attributes:
        images: their names.
        unseen: names of the classes that they do not show. None, for both: of an earlier version, which did not say.
    """

    images: tuple[str, ...] | None = None
    unseen: tuple[str, ...] | None = None


class Labels(LabelledImages):
    """The label budget of a training.

    Attributes:
        count: labelled images that it learnt from.
        of: how many there are.
        draw: number of the draw.
        pixels: of them that have a label.
        share: of these in the area of the images.
    """

    count: int
    of: int
    draw: int = 0
    pixels: int | None = None
    share: float | None = None


class NamingImages(LabelledImages):
    """The labelled images that named the clusters."""

    split: SplitName


class TimeBudget(Section):
    """How `--minutes` became a number of updates; all in the units of the names."""

    minutes: float
    seconds_per_step: float
    seconds_per_validation: float


class Choice(Section):
    """What was chosen for the machine, and why: the precision, or the layout in memory."""

    name: str
    reason: str


class Progress(Section):
    """How far a training is; `seconds` over all its parts."""

    epochs: int
    updates: int
    seconds: float


class BestEpoch(Section):
    """The epoch that a state is of, and the value of the metric that chose it."""

    value: float
    epoch: int


class ObjectFigures(Section):
    """Objects of a class: their number per image, median size in pixels, and solidity; see `metrics.shapes`."""

    per_image: float
    size: int
    solidity: float | None


class GuardFigures(Section):
    """What the guard found in masks, or in what a network says of images; see `training.look`.

    Attributes:
        shares: of each class.
        constant: share of the images that are one class throughout.
        steadiness: share of the pixels whose class stays when the image is turned and reflected.
        learnt: share of each class where the network learnt from labels.
        objects: of each class; None for one without shapes.
        suspicions: in what it is unlike the masks, in sentences.
    """

    shares: tuple[float, ...]
    constant: float
    steadiness: float | None = None
    learnt: tuple[float, ...] = ()
    objects: tuple[ObjectFigures | None, ...] = ()
    suspicions: tuple[str, ...] = ()


class GuardRecord(Section):
    """What the guard of a run found; see `training.guard`.

    Attributes:
        reason: why nothing was looked at.
        images: unlabelled images that were looked at.
        labelled: what the masks look like.
        run: what the run says.
        suspicions: in what that is unlike the masks, in sentences.
        hands_out: the state that stands for the run.
        control: what the supervised control says.
        alarms: in what the run is worse than it, in sentences. None: there was no control to compare with.
    """

    reason: str | None = None
    images: int | None = None
    labelled: GuardFigures | None = None
    run: GuardFigures | None = None
    suspicions: tuple[str, ...] = ()
    hands_out: StateName | None = None
    control: GuardFigures | None = None
    alarms: tuple[str, ...] | None = None


class FittedState(Section):
    """The temperature of a state, and the negative log-likelihood without it and with it, in nats."""

    temperature: float
    nll: tuple[float, float]


class HeldOut(Section):
    """The cross-validation that a temperature was fitted in: its trainings, and the updates of each."""

    folds: int
    updates: int


class Calibration(Section):
    """What the temperatures of a run were fitted on.

    Attributes:
        images: labelled images that the network had not seen.
        pixels: of them.
        states: the temperature of each.
        reason: why there is none.
        cross_validation: where the images are not those of the validation split.
    """

    images: int
    pixels: int | None = None
    states: dict[StateName, FittedState]
    reason: str | None = None
    cross_validation: HeldOut | None = None


class ClusterNames(Section):
    """Which class each cluster of a head is; see `model.saved.HeadMapping`."""

    classes: tuple[int, ...]
    rule: str
    split: SplitName
    images: int
    areas: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]


class Restart(Section):
    """How one restart ended.

    Attributes:
        seed: of it.
        information: mutual information on the validation images, as a share of its bound.
        status: as of any run.
        kept: whether the run is this one.
    """

    seed: int
    information: float
    status: StatusName
    kept: bool


class TrainedOn(Section):
    """What a method learns from beside the settings.

    Attributes:
        labels: of a training with labels.
        unlabelled: images without labels that it learns from.
        validation: validation images with a mask.
        clusters: of each head, in a training without labels.
        mapped_by: what names them.
    """

    labels: Labels | None = None
    unlabelled: int | None = None
    validation: int | None = None
    clusters: dict[str, int] | None = None
    mapped_by: NamingImages | None = None


class Conclusion(Section):
    """How a training ended, and what was done with its saved states then.

    Attributes:
        status: that the run has from now on.
        norm_images: training images that the batch-norm statistics are of, where they were estimated anew.
        calibration: of states that predict classes.
        mappings: from clusters to classes, of each state and head.
        collapse: its kind, by state and head.
    """

    status: StatusName
    norm_images: int | None = None
    calibration: Calibration | None = None
    mappings: dict[StateName, dict[str, ClusterNames]] | None = None
    collapse: dict[str, dict[str, str]] = Field(default_factory=dict)
