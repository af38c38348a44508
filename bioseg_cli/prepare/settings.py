"""Settings that every prepare command shares, or every one for frames: each field is a flag and a YAML key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import Config

if TYPE_CHECKING:
    from bioseg_cli.prepare.recipe import Collection
    from bioseg_cli.runs.output import Output

NormalisationMethod = Literal["minmax", "percentile"]


class PrepareConfig(Config):
    """What every recipe shares: where the data set goes, splits, normalisation.

    A recipe is a subclass with `command`, `recipe`, fields and `collect`, named in `prepare.registry`. Its docstring is
    the help of its command.
    """

    recipe: ClassVar[str] = ""
    """Its name, which data sets record."""
    spares_few_labels: ClassVar[bool] = False
    """Whether a split that was not asked for is left out where few images are labelled."""

    out: Path | None = Field(default=None, description="Data set to write. The default is data/RECIPE.h5.")
    val_share: float = Field(default=0.2, ge=0, lt=1, description="Share of the labelled images for validation.")
    test_share: float = Field(default=0.2, ge=0, lt=1, description="Share of the labelled images for the test.")
    normalize: NormalisationMethod = Field(
        default="percentile",
        description="Intensity range of the training images that becomes 0 to 1: minimum and maximum, as in the paper "
        "(minmax), or the 0.1 and 99.9 percentiles, which a single hot pixel does not change.",
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of all random numbers: the split, and the order of the labels."
    )
    picture: bool = Field(
        default=False, description="Also draw some of the images and their masks into NAME.png beside the data set."
    )

    @model_validator(mode="after")
    def _name_and_shares(self) -> Self:
        if self.out is not None and self.out.suffix != ".h5":
            raise ValueError(f"--out: the name of a data set ends in .h5, got {str(self.out)!r}")
        if self.val_share + self.test_share >= 1:
            raise ValueError("--val-share and --test-share leave nothing to train on: their sum must be below 1")
        return self

    def collect(self, output: Output) -> Collection:
        """Find the files of the data set and what their masks mean; see `prepare.recipe`.

        Raises:
            UsageError: settings that do not fit the files.
            DataError: files that are missing, unreadable or contradict each other.
        """
        raise NotImplementedError(f"{type(self).__name__} collects no images")

    @property
    def workspace(self) -> Path | None:
        """Folder of scratch files from which `--resume` goes on after an interruption; None where nothing can."""
        return None

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
        description="Side in pixels of the square to cut from the centre of each image. The default, 0, keeps whole "
        "images, padded to the size of the largest.",
    )
    tile: bool = Field(
        default=False, description="Cut each image into tiles of --crop pixels instead of one square at the centre."
    )

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
