"""Settings of the prepare commands: each field is a flag and a YAML key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import Config, Names

MaskKind = Literal["binary", "instances", "classes", "colours"]
NormalisationMethod = Literal["minmax", "percentile"]


class PrepareConfig(Config):
    """What every recipe shares: where the data set goes, splits, normalisation."""

    recipe: ClassVar[str] = ""

    out: Path | None = Field(default=None, description="Data set to write; by default data/RECIPE.h5.")
    val_share: float = Field(default=0.2, gt=0, lt=1, description="Share of the labelled images for validation.")
    test_share: float = Field(default=0.2, ge=0, lt=1, description="Share of the labelled images for the test.")
    normalize: NormalisationMethod = Field(
        default="percentile",
        description="Range of the training images that becomes 0..1: minimum and maximum, as in the study, or the 0.1 "
        "and 99.9 percentiles, which one hot pixel does not move.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything random: the split, the order of the labels.")
    picture: bool = Field(
        default=False, description="Also draw some of the images and their masks into NAME.png, beside the data set."
    )

    @model_validator(mode="after")
    def _name_and_shares(self) -> Self:
        if self.out is not None and self.out.suffix != ".h5":
            raise ValueError(f"--out: the name of a data set ends in .h5, got {str(self.out)!r}")
        if self.val_share + self.test_share >= 1:
            raise ValueError("--val-share and --test-share leave nothing to train on: their sum must be below 1")
        return self

    @property
    def crop_side(self) -> int:
        """Side of the stored images in pixels; 0 = those of the files."""
        return 0

    @property
    def cuts_tiles(self) -> bool:
        """Whether an image is cut into tiles of that side, instead of one from its centre."""
        return False

    @property
    def path(self) -> Path:
        """The data set to write."""
        return self.out or Path("data") / f"{self.recipe}.h5"

    @property
    def manifest_path(self) -> Path:
        """The record written beside it."""
        return self.path.with_suffix(".yaml")

    @property
    def picture_path(self) -> Path:
        """The picture written beside it, if that is asked for."""
        return self.path.with_suffix(".png")


class FrameConfig(PrepareConfig):
    """What the recipes share whose images are the frames of files: crops and tiles."""

    crop: int | None = Field(
        default=None,
        ge=0,
        description="Side of the square to cut from the centre of each image, in pixels; 0, the default, keeps whole "
        "images, padded to the largest.",
    )
    tile: bool = Field(default=False, description="Cut each image into tiles of --crop instead of one centre crop.")

    @model_validator(mode="after")
    def _tiles_have_a_side(self) -> Self:
        if self.tile and self.crop_side == 0:
            raise ValueError("--tile needs the side of a tile: give --crop")
        return self

    @property
    def crop_side(self) -> int:
        """Side of the crop in pixels; 0 = whole images."""
        return self.crop or 0

    @property
    def cuts_tiles(self) -> bool:
        """Whether an image is cut into tiles of that side, instead of one from its centre."""
        return self.tile


class DemoConfig(FrameConfig):
    """Generated microscope images with exact masks: everything can be tried without any data."""

    command: ClassVar[str] = "prepare demo"
    recipe: ClassVar[str] = "demo"

    kind: Literal["nuclei", "phase"] = Field(
        default="nuclei", description="Fluorescent nuclei (16 bit), or cells in phase contrast (8 bit)."
    )
    images: int = Field(default=60, ge=5, description="Number of images.")
    size: int = Field(default=256, ge=64, description="Height and width of an image, in pixels.")


class FolderConfig(FrameConfig):
    """A folder of images and a folder of masks; images without a mask stay in as unlabelled ones."""

    command: ClassVar[str] = "prepare folder"
    recipe: ClassVar[str] = "folder"

    images: Path = Field(description="Folder of images: TIFF (a page is a frame), PNG, ...; all of one type.")
    masks: Path | None = Field(
        default=None,
        description="Folder of masks named like their images (a suffix such as _mask is allowed); "
        "left out, all images are unlabelled.",
    )
    masks_are: MaskKind | None = Field(
        default=None,
        description="What the values of a mask mean: object or not, a number an object, a number a class, a colour a "
        "class. By default recognised over all masks, and said.",
    )
    classes: Names = Field(default=(), description="Names of the classes, separated by commas, the background first.")
    group_by: str | None = Field(
        default=None,
        description="Regular expression on the file name: images with the same match (or first group of it) never "
        "straddle splits. By default each file is a group of its own.",
    )
    split_by: Literal["group", "random"] = Field(
        default="group", description="Keep groups whole (a file, or what --group-by says), or draw single images."
    )

    @model_validator(mode="after")
    def _names_and_pattern(self) -> Self:
        if len(set(self.classes)) != len(self.classes) or "" in self.classes:
            raise ValueError("--classes: each class needs a name of its own")
        if len(self.classes) == 1:
            raise ValueError("--classes: at least two are needed, the background first")
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as error:
                raise ValueError(f"--group-by is not a regular expression: {error}") from None
        if self.masks is None and (self.masks_are is not None or self.classes):
            raise ValueError("--masks-are and --classes need --masks")
        return self


class StudyConfig(FrameConfig):
    """What the study's data sets share: where the files are, and the study's crops (its Table 1)."""

    source: Path | None = Field(
        default=None, description="Folder with the files, already unpacked; left out, they are downloaded."
    )
    mirror: str | None = Field(
        default=None, description="Address of a folder on another server that holds the same archives."
    )
    purpose: Literal["semi-supervised", "self-supervised"] = Field(
        default="semi-supervised", description="The study's crops: 512 pixels for train-uda, 128 for train-iic."
    )
    crop: int | None = Field(
        default=None,
        ge=0,
        description="Side of the square to cut, in pixels, instead of the study's; 0 keeps whole images.",
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
    """BBBC039: nuclei of U2OS cells, Hoechst stain, 200 fields of 520 x 696 pixels, 16 bit."""

    command: ClassVar[str] = "prepare fluohoechst"
    recipe: ClassVar[str] = "fluohoechst"

    split_by: Literal["official", "group", "random"] = Field(
        default="official",
        description="BBBC039's own lists, whole wells of the plate, or single fields as in the study.",
    )


class TrackingConfig(StudyConfig):
    """What the two videos of a Cell Tracking Challenge data set are made from."""

    truth: Literal["silver", "gold"] = Field(
        default="silver",
        description="Masks: the challenge's computed reference (nearly every cell), or those drawn by people (few "
        "frames; cells left undrawn are ignored).",
    )
    sequences: Literal["01", "02", "both"] = Field(default="both", description="Which of the two videos to take.")
    border: int = Field(
        default=0,
        ge=0,
        description="Pixels along the edge to ignore: the challenge's field of interest leaves out 50 of PhC and 25 of "
        "FluoGFP.",
    )
    gap: int = Field(
        default=5, ge=0, description="Frames left out between blocks of one video, so that neighbours don't straddle."
    )
    split_by: Literal["group", "random"] = Field(
        default="group",
        description="Video 02 is the test and the end of 01 validates, or single frames drawn as in the study.",
    )


class PhCConfig(TrackingConfig):
    """PhC-C2DH-U373: glioblastoma cells in phase contrast, two videos."""

    command: ClassVar[str] = "prepare phc"
    recipe: ClassVar[str] = "phc"


class FluoGFPConfig(TrackingConfig):
    """Fluo-N2DL-HeLa: HeLa nuclei, H2b-GFP, two videos."""

    command: ClassVar[str] = "prepare fluogfp"
    recipe: ClassVar[str] = "fluogfp"


BIGBRAIN_VALUES = ("2", "3", "5")
"""The classes that the study keeps of BigBrain: cortical grey matter, white matter, layer 1 of the cortex."""
LARGEST_VALUE = 65535


class BigBrainConfig(PrepareConfig):
    """Slices at random rotations of the BigBrain volume, or of another volume with classes."""

    command: ClassVar[str] = "prepare bigbrain"
    recipe: ClassVar[str] = "bigbrain"

    image: Path | None = Field(
        default=None, description="Volume of intensities (.nii, .nii.gz, .mnc); left out, BigBrain is downloaded."
    )
    labels: Path | None = Field(
        default=None,
        description="Volume of classes for --image, on any grid: the two meet through their affines. Left out beside "
        "--image, the slices are unlabelled.",
    )
    mirror: str | None = Field(default=None, description="Address of a folder on another server with the same files.")
    accept_licence: bool = Field(default=False, description="Accept BigBrain's licence, CC BY-NC-SA 4.0.")
    slices: int = Field(default=3479, ge=2, description="Number of slices; the study has 3479.")
    purpose: Literal["semi-supervised", "self-supervised"] = Field(
        default="semi-supervised", description="The study's crops: 600 pixels for train-uda, 256 for train-iic."
    )
    crop: int | None = Field(
        default=None, ge=16, description="Height and width of a slice in pixels, instead of the study's."
    )
    spacing: float | None = Field(
        default=None, gt=0, description="Size of a pixel in millimetres; by default the image's smallest voxel edge."
    )
    rotations: int | None = Field(
        default=None,
        ge=1,
        description="Number of random rotations that the slices share (the study: about 5); by default each slice has "
        "its own.",
    )
    classes: Names = Field(
        default=BIGBRAIN_VALUES,
        description="Values of --labels to keep as classes, separated by commas; all others are background.",
    )
    merge: str | None = Field(
        default=None,
        description='Classes from several values each, instead of --classes: "1:2,5,6,8 2:3,9" makes class 1 of four '
        "values and class 2 of two; all others are background.",
    )
    binary: bool = Field(
        default=False, description="Brain against background, instead of --classes: all but 0 and the outside's value."
    )
    names: Names = Field(default=(), description="Names of the classes, separated by commas, the background first.")
    colours: Names = Field(default=(), description="Their colours, such as #000000,#e69f00, the background first.")
    normalize: NormalisationMethod = Field(
        default="minmax",
        description="Range of the training images that becomes 0..1: minimum and maximum, as in the study, or the 0.1 "
        "and 99.9 percentiles, which one hot pixel does not move.",
    )
    min_tissue: float = Field(
        default=0.02, ge=0, le=1, description="Skip slices with a smaller share of pixels that are not background."
    )
    split_by: Literal["slab", "rotation", "random"] = Field(
        default="slab",
        description="Slabs of the brain, so that no voxel is in two splits; whole rotations (of --rotations); or "
        "single slices as in the study, which cross each other.",
    )
    slab_axis: Literal["x", "y", "z"] = Field(
        default="y", description="Axis that the slabs follow: x to the right, y to the front, z upwards."
    )
    guard: float = Field(default=2.0, ge=0, description="Millimetres between two slabs that belong to neither.")
    workers: int | None = Field(default=None, ge=1, description="Threads; by default one a processor.")
    # Not kept in the manifest: what repeats a finished run has nothing to resume.
    resume: bool = Field(default=False, exclude=True, description="Go on where an interrupted run stopped.")

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
