"""Settings of `bioseg suggest`: each field is a flag and a YAML key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import DEVICE_ABOUT, Config, DeviceName, PrecisionName, StateName, flag_of

Among = Literal["unlabelled", "all"]
OF_A_RUN = ("state", "device", "precision")


class SuggestConfig(Config):
    """Images of the training split that are worth a mask more than others."""

    command: ClassVar[str] = "suggest"
    example: ClassVar[str] = "data/cells.h5 --count 5 --export to-label"

    data: Path | None = Field(
        default=None,
        json_schema_extra={"argument": "also"},
        description="Data set made by `bioseg prepare`; may be left out where data/ holds exactly one.",
    )
    count: int = Field(default=5, ge=1, description="Number of images to suggest.")
    run: Path | None = Field(
        default=None,
        description="Run directory, or a .safetensors file from a run directory. Images are suggested on which the "
        "predictions of the run change when the image is turned or reflected. Without this option the "
        "suggested images cover the data set, and no model is needed.",
    )
    among: Among = Field(
        default="unlabelled",
        description="Choose among the training images without a mask, or among all training images except those that "
        "the run learnt from. The latter ignores masks and measures the value of a choice.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the clustering.")
    out: Path | None = Field(
        default=None, description="PNG to draw the suggested images into, with the outlines that the run predicts."
    )
    export: Path | None = Field(
        default=None,
        description="Folder to write the suggested images into, with their original values, and with --run the "
        "predicted masks to correct. `bioseg prepare folder` takes both.",
    )
    state: StateName | None = Field(
        default=None,
        description="With --run: state of the run to predict with. The default is best-supervised, and best-final for a"
        " run of train-iic.",
    )
    device: DeviceName = Field(default="auto", description=f"With --run. {DEVICE_ABOUT}")
    precision: PrecisionName = Field(
        default="auto",
        description="With --run: number format of the network. auto takes bfloat16 where the hardware multiplies "
        "bfloat16 natively, else float32.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of_a_run = [flag_of(name) for name in OF_A_RUN if name in self.model_fields_set]
        if of_a_run and self.run is None:
            raise ValueError(f"{' and '.join(of_a_run)}: for the network of a run, give --run too")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise ValueError(f"--out is a PNG, and {self.out.name!r} does not end in .png")
        return self
