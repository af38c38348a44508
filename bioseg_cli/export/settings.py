"""Settings of `bioseg export`: each field is a flag and a YAML key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.config import Config, Names, StateName, flag_of
from bioseg_cli.prediction.settings import name_of_run

FormatName = Literal["onnx", "bioimageio"]
FOLDER = Path("exported")
SUFFIXES: Mapping[FormatName, str] = {"onnx": ".onnx", "bioimageio": ".bioimageio.zip"}

OF_A_PACKAGE = ("name", "author", "license", "cite", "image")


class ExportConfig(Config):
    """Write a trained model for other programs."""

    command: ClassVar[str] = "export"
    example: ClassVar[str] = 'runs/cells --format bioimageio --author "Ada Lovelace" --license CC-BY-4.0'

    run: Path = Field(
        json_schema_extra={"argument": True},
        description="Run directory, or a .safetensors file from a run directory.",
    )
    format: FormatName = Field(
        default="onnx",
        description="onnx is one file that ONNX Runtime, OpenVINO and others compute with. bioimageio is a package of "
        "the BioImage Model Zoo, with the same file inside.",
    )
    out: Path | None = Field(
        default=None,
        description="File to write. The default is exported/RUN.onnx, or exported/RUN.bioimageio.zip.",
    )
    state: StateName | None = Field(
        default=None, description="State of the run to export. The default is the state that `bioseg predict` takes."
    )
    name: str | None = Field(
        default=None, description="With bioimageio: name of the model. The default is the name of the run."
    )
    author: Names = Field(
        default=(),
        json_schema_extra={"metavar": "<names>"},
        description="With bioimageio: names of the authors, separated by commas.",
    )
    license: str | None = Field(
        default=None,
        description="With bioimageio: SPDX identifier of the license under which the model may be used, such as "
        "CC-BY-4.0.",
    )
    cite: str | None = Field(
        default=None,
        description="With bioimageio: DOI of the work to cite, beside those of the U-Net and of the method.",
    )
    image: Path | None = Field(
        default=None,
        description="With bioimageio: image to test the package with and to show on its cover. The default is an image "
        "of the data set of the run.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [flag_of(name) for name in OF_A_PACKAGE if name in self.model_fields_set]
        if self.format != "bioimageio":
            if given:
                raise ValueError(f"{' and '.join(given)}: for a package, give --format bioimageio too")
            return self
        missing = [flag_of(name) for name in ("author", "license") if not getattr(self, name)]
        if missing:
            raise ValueError(
                f"a package of the BioImage Model Zoo names its authors and its license: give {' and '.join(missing)}"
            )
        return self

    @property
    def called(self) -> str:
        """The name of the model: the given one, or that of the run."""
        return self.name or name_of_run(self.run)

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.out or FOLDER / f"{name_of_run(self.run)}{SUFFIXES[self.format]}"
