"""Settings of `bioseg evaluate`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import (
    AXES_ABOUT,
    DEVICE_ABOUT,
    PLANES_ABOUT,
    UNLABELLED_ABOUT,
    AxisLetters,
    Config,
    DeviceName,
    MaskKind,
    Names,
    PrecisionName,
    SplitName,
    StateName,
    UnlabelledValue,
)
from bioseg_cli.io.axes import Stacks
from bioseg_cli.prediction.settings import DATASET_SUFFIXES

FOLDER_OPTIONS = "--masks-are, --unlabelled-value, --classes and --images"
BASELINES = ("otsu", "kmeans", "local", "forest", "all-background")
NO_BASELINES = ("none",)
MOST_HELD_OUT = 10
"""Labelled images that `--cross-validate` leaves out one by one at most. With more, a validation split costs little and
says more."""


class EvaluateConfig(Config):
    """Score runs on a data set, or mask files of any origin against the truth."""

    command: ClassVar[str] = "evaluate"
    example: ClassVar[str] = "runs/cells --control runs/control --baselines otsu,forest"
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Scores": ("split", "objects", "baselines", "out", "csv", "by_group", "draws", "seed"),
        "Runs": ("data", "allow_seen", "control", "state", "cross_validate", "calibrate", "tta", "head", "mapping"),
        "Masks of any origin": (
            "predictions",
            "truth",
            "masks_are",
            "classes",
            "unlabelled_value",
            "images",
            "recursive",
            "axes",
            "planes",
        ),
        "Machine": ("device", "precision"),
    }

    runs: tuple[Path, ...] = Field(
        default=(), json_schema_extra={"argument": True}, description="Run directories that `bioseg train-*` made."
    )
    data: Path | None = Field(
        default=None, description="Data set to score on. The default is the data set that each run records."
    )
    allow_seen: bool = Field(
        default=False,
        description="Score runs on images that they were trained on, too. The images are named, and the figures say "
        "little of new images.",
    )
    split: SplitName = Field(default="val", description="Split to score on; the test split is for the final figures.")
    state: Literal[StateName, "all"] | None = Field(
        default=None,
        description="Saved state of each run to score, or all of its states. The default is best-supervised, and "
        "best-final for a run of train-iic.",
    )
    head: Literal["main", "aux", "all"] = Field(
        default="all", description="Head of a run of train-iic to score. Other runs have only main."
    )
    mapping: Literal["stored", "oracle", "both"] = Field(
        default="both",
        description="Mapping of clusters to classes (train-iic): stored, as a few labelled images decided after the "
        "training; or oracle, the best one for the scored images themselves, which flatters.",
    )
    control: Path | None = Field(
        default=None,
        description="Run directory of the supervised control. Its row and the difference of each run to it are added. "
        "With --cross-validate the control is trained anew too.",
    )
    predictions: Path | None = Field(
        default=None, description="Folder of predicted masks to score instead of runs. It needs --truth."
    )
    truth: Path | None = Field(default=None, description="Folder of ground-truth masks, or a data set (with --split).")
    masks_are: MaskKind | None = Field(
        default=None,
        description="Meaning of the values of mask files. By default it is recognised from all masks together, and "
        "reported.",
    )
    unlabelled_value: UnlabelledValue | None = Field(
        default=None, description=f"Of ground-truth masks. {UNLABELLED_ABOUT}"
    )
    classes: Names = Field(
        default=(),
        description="Names of the classes of a folder of ground-truth masks, separated by commas, background first. "
        "With --data, what the runs call the classes of that data set, in its order.",
    )
    images: Path | None = Field(
        default=None, description="Folder of the images, for the baselines and the figure of --out."
    )
    recursive: bool = Field(
        default=False,
        description="Also score the masks in the subfolders of --predictions, such as `bioseg predict --recursive` "
        "writes. The truth is in the same subfolders of --truth.",
    )
    axes: AxisLetters | None = Field(default=None, description=AXES_ABOUT)
    planes: bool = Field(default=False, description=PLANES_ABOUT)
    baselines: Names = Field(
        default=("otsu", "all-background"),
        description="Baselines to score as well, separated by commas: otsu, kmeans, local, forest (a random forest on "
        "filter responses, trained on the labelled images of the runs), all-background; or none.",
    )
    cross_validate: bool = Field(
        default=False,
        description="Score the recipe of runs of train-uda on their own labelled images: each image is left out of a "
        f"short training and then scored. For up to {MOST_HELD_OUT} labelled images. For several runs with the same "
        "labels the command says which run to use.",
    )
    calibrate: bool = Field(
        default=False,
        description="With --cross-validate: fit a temperature on the predictions for the left-out images and store it "
        "in the runs. For runs without labelled validation images.",
    )
    tta: bool = Field(
        default=False,
        description="Score runs by the mean prediction of the eight quarter turns and reflections, as `predict --tta` "
        "does.",
    )
    objects: bool = Field(
        default=False,
        description="Also match single objects and score them: AP, F1, panoptic quality, SEG, merges and splits.",
    )
    by_group: bool = Field(
        default=False,
        description="Resample whole groups (sequences, plates, files) for the intervals, instead of images.",
    )
    draws: int = Field(default=1000, ge=100, description="Bootstrap draws per 95 % interval.")
    seed: int = Field(default=0, ge=0, description="Seed of the bootstrap draws.")
    csv: Path | None = Field(
        default=None, description="Also write the table to this file, with one row per run and baseline."
    )
    out: Path | None = Field(
        default=None, description="Folder for a report: evaluation.json, per_image.csv and figures."
    )
    device: DeviceName = Field(default="auto", description=DEVICE_ABOUT)
    precision: PrecisionName = Field(
        default="auto", description="auto takes bfloat16 where the hardware multiplies it natively, else float32."
    )

    @model_validator(mode="after")
    def _known_baselines(self) -> Self:
        unknown = [name for name in self.baselines if name not in BASELINES]
        if self.baselines != NO_BASELINES and (unknown or not self.baselines):
            raise ValueError(f"--baselines: {', '.join(map(repr, unknown))} (known: {', '.join(BASELINES)}, or none)")
        return self

    @model_validator(mode="after")
    def _runs_or_masks(self) -> Self:
        if bool(self.runs) == (self.predictions is not None):
            raise ValueError("give run directories, or --predictions with --truth")
        if self.predictions is not None:
            if self.truth is None:
                raise ValueError("--predictions needs --truth: a folder of masks, or a data set")
            if self.data is not None or self.control is not None:
                raise ValueError("--data and --control are for runs; what masks are compared with is --truth")
            if self.state is not None or self.head != "all" or self.mapping != "both" or self.tta or self.allow_seen:
                raise ValueError(
                    "--state, --head, --mapping, --tta and --allow-seen are for runs; masks have none of them"
                )
            if self.truth_is_dataset and self._folder_options:
                raise ValueError(f"{FOLDER_OPTIONS} go with a folder of true masks, not with a data set")
            if self.cross_validate:
                raise ValueError("--cross-validate trains runs again; masks have nothing to train")
        elif self.cross_validate and self.state is not None:
            raise ValueError("--cross-validate trains anew: --state, which is of saved runs, does not fit")
        elif self.classes and (self.data is None or self.cross_validate):
            raise ValueError("--classes goes with --data, whose classes it names, or with a folder of true masks")
        elif self.truth is not None or self._mask_options or self.recursive or self.stacks != Stacks():
            raise ValueError(
                f"--truth, --recursive, --axes, --planes, {FOLDER_OPTIONS} go with --predictions; runs have a data set "
                "(--data)"
            )
        return self

    @model_validator(mode="after")
    def _calibrate_with_cross_validation(self) -> Self:
        if self.calibrate and not self.cross_validate:
            raise ValueError("--calibrate stores what --cross-validate fits: give both")
        if self.calibrate and self.tta:
            raise ValueError("--calibrate is of single views, which --tta averages: leave one of them out")
        return self

    @model_validator(mode="after")
    def _objects_of_saved_states(self) -> Self:
        if self.objects and self.cross_validate:
            raise ValueError("--objects scores saved states or masks, and --cross-validate trains anew: give one")
        return self

    @property
    def stacks(self) -> Stacks:
        """What is said of mask files and images that hold several of them."""
        return Stacks(self.axes, self.planes)

    @property
    def chosen_baselines(self) -> tuple[str, ...]:
        """What to score beside, in the order of the table."""
        return tuple(name for name in BASELINES if name in self.baselines)

    @property
    def _folder_options(self) -> bool:
        return bool(self.classes) or self._mask_options

    @property
    def _mask_options(self) -> bool:
        return any(option is not None for option in (self.masks_are, self.unlabelled_value, self.images))

    @property
    def truth_is_dataset(self) -> bool:
        """Whether --truth names a data set, and not a folder."""
        return self.truth is not None and self.truth.suffix.lower() in DATASET_SUFFIXES
