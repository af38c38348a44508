"""What `bioseg evaluate --json` says, as a model with sections; the keys are those of docs/evaluate.md.

None is a number that does not exist. Scores that an earlier version stored lack what is younger.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from bioseg_cli.dataset.area import with_share
from bioseg_cli.runs.section import Section
from bioseg_cli.runs.sections import Environment, Labels

Limits = tuple[float | None, float | None]
"""Lower and upper limit of an interval."""

ObjectNumbers = dict[str, int | float | dict[str, Limits] | None]
"""Counts and scores of the objects of one class by their documented keys, and their `intervals`; see `objects.py`."""


class ImageWise(Section):
    """Mean and standard deviation of the images' own mean IoU."""

    mean: float | None
    sd: float | None


class Intervals(Section):
    """95 % bootstrap limits of the numbers of a score; of `iou` by class."""

    mean_iou: Limits | None = None
    mean_iou_foreground: Limits | None = None
    pixel_accuracy: Limits | None = None
    image_wise: Limits | None = None
    iou: dict[str, Limits] = Field(default_factory=dict)


class ScoreRecord(Section):
    """A score; see `scores.Score`. `iou` and `dice` are by class."""

    mean_iou: float | None = None
    mean_iou_foreground: float | None = None
    iou: dict[str, float | None] = Field(default_factory=dict)
    dice: dict[str, float | None] = Field(default_factory=dict)
    pixel_accuracy: float | None = None
    image_wise: ImageWise | None = None
    intervals: Intervals = Field(default_factory=Intervals)
    images: int = 0
    confusion: tuple[tuple[int, ...], ...] = ()


class ReliabilityBin(Section):
    """The pixels whose confidence lies above a limit and below the next.

    Attributes:
        above: the limit.
        pixels: their number.
        confidence: their mean confidence.
        accuracy: share of them that are right.
    """

    above: float
    pixels: int
    confidence: float
    accuracy: float


class CalibrationRecord(Section):
    """How far probabilities can be taken at their word; see `calibration.Calibration`.

    Attributes:
        temperature: None where none was fitted.
        ece, ece_before: expected calibration error with the temperature and without.
        reliability, reliability_before: the bins that hold pixels, in order of confidence.
    """

    temperature: float | None
    ece: float
    ece_before: float
    reliability: tuple[ReliabilityBin, ...]
    reliability_before: tuple[ReliabilityBin, ...]


class LabelBudget(Section):
    """How many labelled training images a run used, of how many; and how much of them has a label.

    Attributes:
        count: images that the run used.
        of: labelled training images that there are.
        pixels: those with a label; None: not recorded.
        share: of these in the area of the images.
    """

    count: int
    of: int
    pixels: int | None
    share: float | None

    def __str__(self) -> str:
        return with_share(self.count, [self.share])

    @classmethod
    def of_manifest(cls, labels: Labels) -> Self:
        """What the manifest of a run says of its labels."""
        return cls(count=labels.count, of=labels.of, pixels=labels.pixels, share=labels.share)


class SeenRecord(Section):
    """Names of the scored images that a run has seen; None, for both: that is not known.

    Attributes:
        trained: the run, or one whose weights it began with, has learnt from them, with or without their labels.
        validated: they were among the validation images.
    """

    trained: tuple[str, ...] | None
    validated: tuple[str, ...] | None


class ClusterMapping(Section):
    """From the clusters of a head to classes, as it was applied to score them.

    Attributes:
        kind: stored with the run, or decided on the very images that are scored, which flatters.
        rule: one to one so that the most pixels match (hungarian), or each cluster to the class it overlaps most.
        split: whence the labelled images that decided it.
        images: their number.
        classes: (K,) class of each cluster.
    """

    kind: Literal["stored", "oracle"]
    rule: Literal["hungarian", "majority"]
    split: str
    images: int
    classes: tuple[int, ...]

    def __str__(self) -> str:
        if self.kind == "oracle":
            return "oracle (seen)"
        return f"stored ({self.images} image{'' if self.images == 1 else 's'})"


class CrossValidation(Section):
    """How a run was cross-validated.

    Attributes:
        folds: trainings, each of which left an image or a part of a single one out.
        updates: of each training.
        temperature: fitted on the predictions for what was left out; None where they are means of views.
        nll: negative log-likelihood of these without the temperature and with it.
        stored: the saved states of the run have that temperature now.
    """

    folds: int
    updates: int
    temperature: float | None
    nll: tuple[float, float] | None
    stored: bool


class DifferenceRecord(Section):
    """Mean IoU of a run minus that of its control, and its interval."""

    difference: float | None
    interval: Limits


class ControlRecord(ScoreRecord):
    """The control, and the difference of the run to it."""

    run: str
    state: str | None
    difference: float | None
    interval: Limits
    objects: dict[str, ObjectNumbers] | None = None
    cross_validation: CrossValidation | None = None


class EvaluationRecord(ScoreRecord):
    """One thing that was scored, with all that stands beside it; see `report.Evaluation`."""

    run: str
    state: str | None
    head: str | None = None
    mapping: ClusterMapping | None = None
    labels: LabelBudget | None
    unseen: tuple[str, ...] | None
    seen: SeenRecord | None = None
    data: str
    split: str | None
    calibration: CalibrationRecord | None
    baselines: dict[str, ScoreRecord]
    objects: dict[str, ObjectNumbers] | None = None
    cross_validation: CrossValidation | None = None
    control: ControlRecord | None = None
    chosen: str | None = None
    notes: tuple[str, ...]


class RunFailure(Section):
    """A run that could not be scored, and why."""

    run: str
    error: str


class EvaluationDocument(Section):
    """All that was scored, and the runs that could not be.

    Attributes:
        runs: one for each run, state, head and mapping.
        failures: given where there are any.
    """

    runs: tuple[EvaluationRecord, ...]
    failures: tuple[RunFailure, ...] = ()


class EvaluationFile(EvaluationDocument):
    """The document in a folder, with what made it."""

    command: str
    config: dict[str, Any]
    finished: str
    environment: Environment
