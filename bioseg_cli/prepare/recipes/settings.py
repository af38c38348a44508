"""Settings of the recipes for frames of files: each field is a flag and a YAML key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import (
    AXES_ABOUT,
    LEVEL_ABOUT,
    PLANES_ABOUT,
    UNLABELLED_ABOUT,
    AxisLetters,
    MaskKind,
    Names,
    UnlabelledValue,
)
from bioseg_cli.io.axes import Stacks
from bioseg_cli.prepare.settings import FrameConfig, NormalisationMethod

if TYPE_CHECKING:
    from bioseg_cli.prepare.recipe import Collection
    from bioseg_cli.runs.output import Output


class DemoConfig(FrameConfig):
    """Generate microscope images with exact masks: everything can be tried without any data."""

    command: ClassVar[str] = "prepare demo"
    example: ClassVar[str] = "--images 60 --out data/demo.h5"
    recipe: ClassVar[str] = "demo"

    kind: Literal["nuclei", "phase"] = Field(
        default="nuclei", description="Fluorescent nuclei (16 bit), or cells in phase contrast (8 bit)."
    )
    images: int = Field(default=60, ge=5, description="Number of images.")
    size: int = Field(default=256, ge=64, description="Height and width of each image, in pixels.")

    def collect(self, output: Output) -> Collection:
        """See `recipes.demo.collect`."""
        from bioseg_cli.prepare.recipes.demo import collect

        return collect(self, output)


class FolderConfig(FrameConfig):
    """Make a data set from your own images, and masks for some of them or none."""

    command: ClassVar[str] = "prepare folder"
    example: ClassVar[str] = "--images images --masks masks --out data/cells.h5"
    recipe: ClassVar[str] = "folder"
    spares_few_labels: ClassVar[bool] = True

    images: Path = Field(description="Folder of images: TIFF, PNG and others. All have to be of one type.")
    masks: Path | None = Field(
        default=None,
        description="Folder of masks with the names of their images; a suffix such as _mask is allowed. Shapes of "
        "QuPath, ImageJ, napari, COCO and LabelMe are masks too. Without this option all images are unlabelled.",
    )
    masks_are: MaskKind | None = Field(
        default=None,
        description="Meaning of the values of a mask: object or background, one number per object, one number per "
        "class, or one colour per class. By default it is recognised from all masks together, and reported.",
    )
    unlabelled_value: UnlabelledValue | None = Field(default=None, description=UNLABELLED_ABOUT)
    classes: Names = Field(default=(), description="Names of the classes, separated by commas, the background first.")
    group_by: str | None = Field(
        default=None,
        description="Regular expression on the file name, with --recursive on its subfolders too. Images with the same "
        "match (or the same first group of the match) stay in one split. By default each file is a group.",
    )
    split_by: Literal["group", "random"] = Field(
        default="group", description="Keep groups whole (a file, or what --group-by gives), or split single images."
    )
    axes: AxisLetters | None = Field(default=None, description=AXES_ABOUT)
    planes: bool = Field(default=False, description=PLANES_ABOUT)
    level: int = Field(
        default=0, ge=0, description=f"{LEVEL_ABOUT} Masks have the size of the level; shapes are drawn on level 0."
    )
    channel: Names = Field(
        default=(),
        description="Channel of the images to use: its number, from 1, or its name where the files name their "
        "channels. Several are separated by commas. By default all channels are used.",
    )
    recursive: bool = Field(
        default=False,
        description="Also use the images in subfolders of --images. The masks are in the same subfolders of --masks.",
    )
    skip_bad: bool = Field(
        default=False,
        description="Leave out the files that cannot be used, and record in the data set which they are and why. "
        "Without this option such files are listed, and nothing is written.",
    )

    def collect(self, output: Output) -> Collection:
        """See `recipes.folder.collect`."""
        from bioseg_cli.prepare.recipes.folder import collect

        return collect(self, output)

    @property
    def stacks(self) -> Stacks:
        """What is said of files that hold several images."""
        return Stacks(self.axes, self.planes, level=self.level)

    @property
    def stacks_of_masks(self) -> Stacks:
        """The same of masks. A smaller level of a mask may hold means of labels, so only the first one is read."""
        return Stacks(self.axes, self.planes)

    @model_validator(mode="after")
    def _names_and_pattern(self) -> Self:
        if len(set(self.classes)) != len(self.classes) or "" in self.classes:
            raise ValueError("--classes: each class needs a name of its own")
        if len(self.classes) == 1:
            raise ValueError("--classes: at least two are needed, the background first")
        if len(set(self.channel)) != len(self.channel) or "" in self.channel:
            raise ValueError("--channel: each channel is named once, by its number or its name")
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as error:
                raise ValueError(f"--group-by is not a regular expression: {error}") from None
        if self.masks is None and (self.masks_are is not None or self.classes or self.unlabelled_value is not None):
            raise ValueError("--masks-are, --unlabelled-value and --classes need --masks")
        return self


class StudyConfig(FrameConfig):
    """What the study's data sets share: where the files are, and the study's crops (its Table 1)."""

    source: Path | None = Field(
        default=None, description="Folder with the unpacked files. Without this option the files are downloaded."
    )
    mirror: str | None = Field(
        default=None, description="Address of a folder on another server with the same archives."
    )
    purpose: Literal["semi-supervised", "self-supervised"] = Field(
        default="semi-supervised", description="Size of the paper's crops: 512 pixels for train-uda, 128 for train-iic."
    )
    crop: int | None = Field(
        default=None,
        ge=0,
        description="Side in pixels of the square to cut, instead of the paper's. 0 keeps whole images.",
    )
    normalize: NormalisationMethod = Field(
        default="minmax",
        description="Range of the training images that becomes 0..1: minimum and maximum, as in the study, or the 0.1 "
        "and 99.9 percentiles, which one hot pixel does not move.",
    )

    @property
    def crop_side(self) -> int:
        """Side of the crop in pixels; 0 = whole images."""
        if self.crop is not None:
            return self.crop
        return 512 if self.purpose == "semi-supervised" else 128

    @property
    def downloads(self) -> Path:
        """Folder that downloaded archives are kept and unpacked in."""
        return self.path.parent / "downloads" / self.recipe


class FluoHoechstConfig(StudyConfig):
    """Make the study's FluoHoechst (BBBC039: U2OS nuclei), from --source or downloaded."""

    command: ClassVar[str] = "prepare fluohoechst"
    example: ClassVar[str] = "--source BBBC039 --picture"
    recipe: ClassVar[str] = "fluohoechst"

    split_by: Literal["official", "group", "random"] = Field(
        default="official",
        description="Split by BBBC039's own lists, by whole wells of the plate, or by single fields as in the paper.",
    )

    def collect(self, output: Output) -> Collection:
        """See `recipes.fluohoechst.collect`."""
        from bioseg_cli.prepare.recipes.fluohoechst import collect

        return collect(self, output)


class TrackingConfig(StudyConfig):
    """What the two videos of a Cell Tracking Challenge data set are made from."""

    truth: Literal["silver", "gold"] = Field(
        default="silver",
        description="Masks: the challenge's computed reference (nearly every cell), or those drawn by people (few "
        "frames; cells that nobody drew are ignored).",
    )
    sequences: Literal["01", "02", "both"] = Field(default="both", description="Videos to take, of the two.")
    border: int = Field(
        default=0,
        ge=0,
        description="Pixels along the border of the image to ignore. The challenge's field of interest leaves out 50 of"
        " PhC and 25 of FluoGFP.",
    )
    gap: int = Field(
        default=5,
        ge=0,
        description="Frames left out between blocks of one video, so that neighbouring frames are not in different "
        "splits.",
    )
    split_by: Literal["group", "random"] = Field(
        default="group",
        description="Take video 02 for the test and the end of video 01 for validation, or split single frames as in "
        "the paper.",
    )


class PhCConfig(TrackingConfig):
    """Make the study's PhC (PhC-C2DH-U373: cells in phase contrast), from --source or downloaded."""

    command: ClassVar[str] = "prepare phc"
    example: ClassVar[str] = "--source PhC-C2DH-U373 --picture"
    recipe: ClassVar[str] = "phc"

    def collect(self, output: Output) -> Collection:
        """See `recipes.tracking_challenge.collect_phc`."""
        from bioseg_cli.prepare.recipes.tracking_challenge import collect_phc

        return collect_phc(self, output)


class FluoGFPConfig(TrackingConfig):
    """Make the study's FluoGFP (Fluo-N2DL-HeLa: HeLa nuclei), from --source or downloaded."""

    command: ClassVar[str] = "prepare fluogfp"
    example: ClassVar[str] = "--source Fluo-N2DL-HeLa --picture"
    recipe: ClassVar[str] = "fluogfp"

    def collect(self, output: Output) -> Collection:
        """See `recipes.tracking_challenge.collect_fluogfp`."""
        from bioseg_cli.prepare.recipes.tracking_challenge import collect_fluogfp

        return collect_fluogfp(self, output)
