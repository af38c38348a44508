"""Settings of `bioseg prepare bigbrain`: each field is a flag and a YAML key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import Names
from bioseg_cli.prepare.settings import NormalisationMethod, PrepareConfig

if TYPE_CHECKING:
    from bioseg_cli.prepare.recipe import Collection
    from bioseg_cli.runs.output import Output

BIGBRAIN_VALUES = ("2", "3", "5")
"""The classes that the study keeps of BigBrain: cortical grey matter, white matter, layer 1 of the cortex."""
LARGEST_VALUE = 65535


class BigBrainConfig(PrepareConfig):
    """Make the study's BigBrain: slices of a volume at random rotations, from --image and --labels or downloaded."""

    command: ClassVar[str] = "prepare bigbrain"
    example: ClassVar[str] = "--accept-licence --slices 3479"
    recipe: ClassVar[str] = "bigbrain"

    image: Path | None = Field(
        default=None,
        description="Volume of intensities (.nii, .nii.gz, .mnc). Without this option BigBrain is downloaded.",
    )
    labels: Path | None = Field(
        default=None,
        description="Volume of classes for --image. Its grid may differ: the affines of both volumes align them. With "
        "--image alone the slices are unlabelled.",
    )
    mirror: str | None = Field(default=None, description="Address of a folder on another server with the same files.")
    accept_licence: bool = Field(default=False, description="Accept BigBrain's licence, CC BY-NC-SA 4.0.")
    slices: int = Field(default=3479, ge=2, description="Number of slices. The paper has 3479.")
    purpose: Literal["semi-supervised", "self-supervised"] = Field(
        default="semi-supervised", description="Size of the paper's crops: 600 pixels for train-uda, 256 for train-iic."
    )
    crop: int | None = Field(
        default=None, ge=16, description="Height and width of a slice in pixels, instead of the paper's."
    )
    spacing: float | None = Field(
        default=None,
        gt=0,
        description="Size of a pixel in millimetres. The default is the smallest voxel edge of the image.",
    )
    rotations: int | None = Field(
        default=None,
        ge=1,
        description="Number of random rotations that the slices share; about 5 in the paper. By default each slice has "
        "its own rotation.",
    )
    classes: Names = Field(
        default=BIGBRAIN_VALUES,
        description="Values of --labels to keep as classes, separated by commas. All other values are background.",
    )
    merge: str | None = Field(
        default=None,
        description='Classes made of several values each, instead of --classes. "1:2,5,6,8 2:3,9" makes class 1 of four'
        " values and class 2 of two. All other values are background.",
    )
    binary: bool = Field(
        default=False,
        description="Two classes, brain and background, instead of --classes. Background is 0 and the value outside the"
        " brain.",
    )
    names: Names = Field(default=(), description="Names of the classes, separated by commas, the background first.")
    colours: Names = Field(
        default=(), description="Colours of the classes, such as #000000,#e69f00, the background first."
    )
    normalize: NormalisationMethod = Field(
        default="minmax",
        description="Range of the training images that becomes 0..1: minimum and maximum, as in the study, or the 0.1 "
        "and 99.9 percentiles, which one hot pixel does not move.",
    )
    min_tissue: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Skip slices whose share of pixels that are not background is smaller than this.",
    )
    split_by: Literal["slab", "rotation", "random"] = Field(
        default="slab",
        description="Split into slabs of the brain, so that no voxel is in two splits; by whole rotations (of "
        "--rotations); or by single slices as in the paper, which cross each other.",
    )
    slab_axis: Literal["x", "y", "z"] = Field(
        default="y",
        description="Axis along which the slabs follow each other: x to the right, y to the front, z upwards.",
    )
    guard: float = Field(default=2.0, ge=0, description="Millimetres between two slabs that belong to neither slab.")
    workers: int | None = Field(default=None, ge=1, description="Number of threads. The default is one per processor.")
    # Not kept in the manifest: what repeats a finished run has nothing to resume.
    resume: bool = Field(default=False, exclude=True, description="Continue where an interrupted run stopped.")

    @model_validator(mode="after")
    def _one_reading_of_the_labels(self) -> Self:
        if self.labels is not None and self.image is None:
            raise ValueError("--labels needs --image")
        readings = {
            "--classes": self.classes != BIGBRAIN_VALUES,
            "--merge": self.merge is not None,
            "--binary": self.binary,
        }
        chosen = [flag for flag, given in readings.items() if given]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other")
        looks = {"--names": bool(self.names), "--colours": bool(self.colours)}
        needing = [*chosen, *(flag for flag, given in looks.items() if given)]
        if self.image is not None and self.labels is None and needing:
            raise ValueError(f"{needing[0]} needs --labels")
        count = 2 if self.binary else len(self.values_by_class) + 1
        for flag, given in (("--names", self.names), ("--colours", self.colours)):
            if given and len(given) != count:
                raise ValueError(f"{flag}: {count} are needed, the background first, got {len(given)}")
            if len(set(given)) != len(given) or "" in given:
                raise ValueError(f"{flag}: each class needs its own")
        if wrong := [colour for colour in self.colours if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour)]:
            raise ValueError(f"--colours: a colour is written as #rrggbb, got {wrong[0]!r}")
        return self

    @model_validator(mode="after")
    def _rotations_for_every_split(self) -> Self:
        needed = 3 if self.test_share > 0 else 2
        if self.split_by == "rotation" and (self.rotations or 0) < needed:
            raise ValueError(f"--split-by rotation needs --rotations {needed} or more, one a split at least")
        return self

    def collect(self, output: Output) -> Collection:
        """See `recipes.bigbrain.collect`."""
        from bioseg_cli.prepare.recipes.bigbrain import collect

        return collect(self, output)

    @property
    def crop_side(self) -> int:
        """Height and width of a slice in pixels."""
        return self.crop or (600 if self.purpose == "semi-supervised" else 256)

    @property
    def chose_classes(self) -> bool:
        """Whether it was said what to keep of the labels; otherwise they are taken for BigBrain's."""
        return self.binary or self.merge is not None or self.classes != BIGBRAIN_VALUES

    @property
    def values_by_class(self) -> tuple[tuple[int, ...], ...]:
        """The label values of each class after the background; of no meaning with `binary`.

        Raises:
            ValueError: a value that is no number, comes twice, or does not fit 16 bits; classes not counted from 1.
        """
        if self.merge is None:
            groups = [[value] for value in self.classes]
        else:
            groups = []
            for number, part in enumerate(self.merge.split(), start=1):
                code, colon, values = part.partition(":")
                if not colon or code != str(number):
                    raise ValueError(f'--merge: {part!r} is not of the form "{number}:VALUE,VALUE"')
                groups.append(values.split(","))
        flag = "--classes" if self.merge is None else "--merge"
        texts = [value.strip() for group in groups for value in group]
        if not texts or not all(text.isdecimal() and int(text) <= LARGEST_VALUE for text in texts):
            raise ValueError(f"{flag}: values are whole numbers up to {LARGEST_VALUE}, separated by commas")
        if len(set(map(int, texts))) < len(texts):
            raise ValueError(f"{flag}: a value can belong to one class")
        return tuple(tuple(int(value) for value in group) for group in groups)

    @property
    def workspace(self) -> Path:
        """Folder of scratch files, there until the data set is written."""
        return self.path.with_name(f".{self.path.stem}.slices")
