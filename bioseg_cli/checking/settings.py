"""Settings of `bioseg check`: each field is a flag and a YAML key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bioseg_cli.config import AXES_ABOUT, PLANES_ABOUT, AxisLetters, Config
from bioseg_cli.io.axes import Stacks


class CheckConfig(Config):
    """What is read, and how stacks of images are read."""

    command: ClassVar[str] = "check"
    example: ClassVar[str] = "data/cells.h5 runs/cells"

    paths: tuple[Path, ...] = Field(
        min_length=1,
        json_schema_extra={"argument": True},
        description="Data sets (.h5), run directories, and folders: of images, or of data sets and runs. What is given "
        "together is compared with each other.",
    )
    axes: AxisLetters | None = Field(default=None, description=AXES_ABOUT)
    planes: bool = Field(default=False, description=PLANES_ABOUT)

    @property
    def stacks(self) -> Stacks:
        """What is said of image files that hold several images."""
        return Stacks(self.axes, self.planes)
