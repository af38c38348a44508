"""Settings of `bioseg preview`: each field is a flag and a YAML key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import MAGNITUDE_MAX, Config, flag_of

OF_STRONG = ("augment", "magnitude", "strong_ops")
OF_RANDAUGMENT = ("magnitude", "strong_ops")
MOST_IMAGES = 20
"""Rows of the picture: more would be too small to see, or too large to open."""


class PreviewConfig(Config):
    """A picture of images of the training split as the augmentation of training changes them."""

    command: ClassVar[str] = "preview"
    example: ClassVar[str] = "data/cells.h5 --weak --out preview.png"

    data: Path | None = Field(
        default=None,
        json_schema_extra={"argument": "also"},
        description="Data set made by `bioseg prepare`; may be left out where data/ holds exactly one.",
    )
    strong: bool = Field(
        default=True,
        json_schema_extra={"off": "weak"},
        description="Draw each of the nine strong operations alone, or the weak transform with the masks (--weak).",
    )
    augment: Literal["paper", "microscopy"] = Field(
        default="paper",
        description="With --strong: the nine operations of RandAugment, or the changes of --augment microscopy of the "
        "training (exposure, focus, noise, light), each at its strongest.",
    )
    exposure: float = Field(
        default=1.0, ge=0, le=1, description="With --augment microscopy: as --exposure of the training."
    )
    geometry: Literal["paper", "wide"] = Field(
        default="paper", description="With --weak: the weak transform of --geometry paper or wide of the training."
    )
    magnitude: int = Field(
        default=MAGNITUDE_MAX,
        ge=1,
        le=MAGNITUDE_MAX,
        description="With --strong: severity of the operations that are drawn alone, 1 to 30.",
    )
    strong_ops: int = Field(
        default=2, ge=1, le=9, description="With --strong: operations per strong view, as in the training."
    )
    images: int = Field(default=3, ge=1, le=MOST_IMAGES, description="Number of training images to draw, one per row.")
    crop: int | None = Field(
        default=None, ge=32, description="Draw random crops of this many pixels. The default is whole stored images."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the choice of images and of all other random numbers.")
    out: Path | None = Field(
        default=None,
        description="PNG to write. The default is preview-DATASET-strong.png, or -weak, -microscopy or -wide.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of_strong = [flag_of(name) for name in OF_STRONG if name in self.model_fields_set]
        if of_strong and not self.strong:
            raise ValueError(f"{' and '.join(of_strong)}: for the strong operations, which --weak leaves out")
        if "geometry" in self.model_fields_set and self.strong:
            raise ValueError("--geometry: for the weak transform, which --weak draws")
        of_randaugment = [flag_of(name) for name in OF_RANDAUGMENT if name in self.model_fields_set]
        if of_randaugment and self.augment == "microscopy":
            raise ValueError(f"{' and '.join(of_randaugment)}: not for --augment microscopy, which has neither")
        if "exposure" in self.model_fields_set and self.augment != "microscopy":
            raise ValueError("--exposure: for --augment microscopy, which changes the exposure")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise ValueError(f"--out is a PNG, and {self.out.name!r} does not end in .png")
        return self

    @property
    def view(self) -> str:
        """Which of the augmentations of training is drawn, in a word."""
        if self.strong:
            return "microscopy" if self.augment == "microscopy" else "strong"
        return "wide" if self.geometry == "wide" else "weak"
