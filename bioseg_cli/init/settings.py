"""Settings of `bioseg init`: those of `bioseg prepare folder`, and what the commands after it need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from bioseg_cli.config import build_config
from bioseg_cli.prepare.recipes.settings import FolderConfig

NO_MASKS = "none"
"""What is given as the folder of masks where there are none."""
PROPOSED_MINUTES = 5
_OF_IMAGES = frozenset({"image", "images", "img", "imgs", "raw", "data", "tif", "tiff", "png"})
"""Names of folders that say nothing of what the images show."""


class InitConfig(FolderConfig):
    """What is known of a folder of images before the first command."""

    command: ClassVar[str] = "init"
    example: ClassVar[str] = "--images images --masks masks --minutes 5"
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Questions": ("images", "masks", "masks_are", "classes", "minutes", "yes"),
        "Files": ("name", "folder", "out"),
        "More about the images and masks": (
            "unlabelled_value", "axes", "planes", "level", "channel", "recursive", "skip_bad",
        ),
        "Data set": (
            "val_share", "test_share", "group_by", "split_by", "crop", "tile", "normalize", "seed", "picture",
        ),
    }  # fmt: skip

    images: Path | None = Field(  # type: ignore[assignment] # it may be asked for
        default=None, description="Folder of images: TIFF, PNG and others. The proposal is images, if there is one."
    )
    masks: Path | None = Field(
        default=None,
        description="Folder of masks with the names of their images, or of shapes of an annotation program; none: "
        "nothing is drawn yet. The proposal is a folder beside the images that is called like masks.",
    )
    minutes: float | None = Field(
        default=None, gt=0, description=f"Minutes that the training may take. The proposal is {PROPOSED_MINUTES}."
    )
    yes: bool = Field(default=False, description="Ask nothing: take what is proposed for all that is not given.")
    name: str | None = Field(
        default=None,
        pattern=r"^[^/\\.\s-][^/\\]*$",
        description="Name of the data set and of the run. By default the folder of the images, or the one around it, "
        "gives the name.",
    )
    folder: Path = Field(default=Path(), description="Folder for the files of this command; the commands work in it.")

    @property
    def called(self) -> str:
        """The name, given or made of the folder of the images."""
        if self.name is not None or self.images is None:
            return self.name or "cells"
        place = self.images.resolve()
        around = place.parent.name if place.name.lower() in _OF_IMAGES else place.name
        return "-".join(around.lstrip(".-").split()) or "cells"

    def data_set(self, **changes: Any) -> FolderConfig:
        """The settings of `bioseg prepare folder` that were given, and others."""
        given = {name: getattr(self, name) for name in FolderConfig.model_fields if name in self.model_fields_set}
        if self.masks == Path(NO_MASKS):
            del given["masks"]
        return build_config(FolderConfig, {**given, **changes})
