"""Settings of `bioseg report`: each field is a flag and a YAML key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from bioseg_cli.config import Config, SplitName

REPORT_NAME = "report.html"
SUFFIXES = (".html", ".htm")


class ReportConfig(Config):
    """One HTML page of a study, or of runs."""

    command: ClassVar[str] = "report"
    example: ClassVar[str] = "studies/your-images"

    runs: tuple[Path, ...] = Field(
        min_length=1, json_schema_extra={"argument": True}, description="Folder of a study, or run directories."
    )
    out: Path | None = Field(
        default=None,
        description="HTML file to write. The default is report.html in the folder of the study, or in the working "
        "folder.",
    )
    title: str | None = Field(default=None, description="Heading of the page. The default is the name of the study.")
    split: SplitName = Field(default="val", description="Split to score runs on. The split of a study is in its plan.")

    @model_validator(mode="after")
    def _a_page(self) -> Self:
        if self.out is not None and self.out.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--out is an HTML file, and {self.out.name!r} does not end in .html")
        return self
