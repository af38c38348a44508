"""What `predictions.yaml` says, as a model with sections: who predicted, how, every file and every failure.

Records of earlier versions lack what is younger, so that every key has a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from bioseg_cli.config import read_yaml
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.objects.instances import ObjectRule
from bioseg_cli.runs.section import Section, problems_of
from bioseg_cli.runs.sections import Environment, Status, StatusName


class EstimatedIoU(Section):
    """What a file is expected to score, without any label.

    Attributes:
        mean_iou: mean over classes.
        iou: of each class by its name; None for a class that is not there.
        frames: `mean_iou` of each frame, where there are several.
    """

    mean_iou: float
    iou: dict[str, float | None] = Field(default_factory=dict)
    frames: tuple[float, ...] = ()


class FileFacts(Section):
    """What a file says of itself.

    Attributes:
        sha256: of its bytes.
        axes: of a stack, such as TYX.
        axes_by: what named them.
        no_pixel_size: why a stated pixel size is not used.
        notes: what else must be known of how it was read, in sentences.
        unlike_training: in what it is unlike the training images of the model, in sentences.
    """

    sha256: str | None = None
    axes: str | None = None
    axes_by: str | None = None
    no_pixel_size: str | None = None
    notes: tuple[str, ...] = ()
    unlike_training: tuple[str, ...] = ()


class FileEntry(FileFacts):
    """A file, or an image of a data set, that was predicted.

    Attributes:
        input: its path as it was given.
        name: that its outputs have.
        outputs: paths in the output folder, the mask first.
        shape: of the mask; the axes of a stack come first.
        axis: of a volume, that its slices lie across.
        pixel_size: of the mask.
        objects: their number by the name of the class, where they were asked for.
        estimated_iou: of classes.
    """

    input: str = ""
    name: str = ""
    outputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    axis: str | None = None
    pixel_size: PixelSize | None = None
    objects: dict[str, int] | None = None
    estimated_iou: EstimatedIoU | None = None

    @property
    def mask(self) -> str:
        """Path of the mask in the output folder, which no two files share; a volume may be called as an image is."""
        return self.outputs[0] if self.outputs else self.name


class FailureEntry(Section):
    """A file that could not be predicted, and why."""

    input: str = ""
    name: str = ""
    error: str = ""


class Tiles(Section):
    """Side and overlap of tiles in pixels, and the most tiles that the network had at once."""

    tile: int
    overlap: int
    largest_batch: int


class Outcome(Section):
    """What has come of a prediction so far, or of a part of one.

    Attributes:
        device, precision, environment: with which it is computed; several where the processes of it differ.
        tiles: of the network.
        files: those that are done.
        failures: those that are left out.
    """

    device: str | tuple[str, ...] | None = None
    precision: str | tuple[str, ...] | None = None
    environment: Environment | tuple[Environment, ...] | None = None
    tiles: Tiles | None = None
    files: tuple[FileEntry, ...] = ()
    failures: tuple[FailureEntry, ...] = ()


class Origin(Section):
    """The saved model."""

    path: str | None = None
    sha256: str | None = None
    method: str | None = None
    state: str | None = None
    epoch: int | None = None
    dataset_hash: str | None = None


class AppliedMapping(Section):
    """How clusters became classes; see `model.saved.HeadMapping`."""

    rule: str
    split: str
    images: int
    classes: tuple[int, ...]


class Decoding(Section):
    """What the values of the masks are; see `head_decoder.HeadDecoder`."""

    head: str | None = None
    values: Literal["classes", "clusters"] | None = None
    mapping: AppliedMapping | None = None
    temperature: float | None = None


class MaskValue(Section):
    """A value of the masks, and what it means."""

    label: int
    name: str
    colour: tuple[int, int, int]


class Counts(Section):
    """Files of a prediction that went on with an earlier one.

    Attributes:
        predicted: that were new.
        predicted_again: that have changed.
        skipped: that were done already.
        without_image: whose masks stay, though they are not given any more.
    """

    predicted: int
    predicted_again: int
    skipped: int
    without_image: int


class PredictionRecord(Decoding, Outcome):
    """The whole record.

    Attributes:
        command: of bioseg.
        config: every setting; a mapping, as those of another version may be others.
        status: how far it is.
        started, finished: in UTC.
        model: that predicted.
        classes: what each value of a mask means.
        counts: with `--skip-existing`.
        object_rules: how objects were told apart, by class, where they were asked for.
        earlier: records of earlier predictions, each with those of its files alone that this one has not replaced yet.
    """

    command: str = "predict"
    config: dict[str, Any] = Field(default_factory=dict)
    status: StatusName = Status.RUNNING
    started: str | None = None
    model: Origin = Origin()
    classes: tuple[MaskValue, ...] = ()
    counts: Counts | None = None
    object_rules: tuple[ObjectRule, ...] | None = None
    earlier: tuple[PredictionRecord, ...] = ()
    finished: str | None = None

    def of_files(self, files: Sequence[FileEntry]) -> Self:
        """The record of some of its files alone: what made them, and nothing of other files."""
        of_others = ("counts", "failures", "earlier")
        given = {name: value for name, value in self.given().items() if name not in of_others}
        return type(self).model_validate({**given, "files": tuple(files)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file.

        Raises:
            DataError: it is damaged.
        """
        try:
            return cls.model_validate(read_yaml(path))
        except (UsageError, ValidationError) as error:
            said = error.what if isinstance(error, UsageError) else problems_of(error)
            raise DataError(
                f"The record of an earlier prediction is damaged ({said})",
                where=path,
                fix="Remove it together with the masks beside it, or choose another --out.",
            ) from None
