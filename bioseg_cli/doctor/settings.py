"""Settings of `bioseg doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bioseg_cli.config import Config


class DoctorConfig(Config):
    """Where data sets and runs are looked for."""

    command: ClassVar[str] = "doctor"
    example: ClassVar[str] = "--json"

    folder: Path = Field(
        default=Path(),
        json_schema_extra={"argument": "also"},
        description="Folder whose data sets (in data/) and runs (in runs/) are listed.",
    )
