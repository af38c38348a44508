"""`bioseg examples`: the plans, settings, scripts and notebook that the documentation names, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

import bioseg_cli
from bioseg_cli.config import Config
from bioseg_cli.io.files import refuse_existing, write_bytes
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.runs.console import ConsoleOutput

SUFFIXES = (".yaml", ".sh", ".ipynb", ".ijm", ".groovy")


class ExamplesConfig(Config):
    """Where the examples go."""

    command: ClassVar[str] = "examples"
    example: ClassVar[str] = "--out examples"

    out: Path = Field(default=Path("examples"), description="Folder for the files.")


def examples(config: ExamplesConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Write the plans, settings and scripts that the documentation names, to use as they are or to change."""
    from rich.text import Text

    source = _shipped()
    files = sorted(path for path in source.rglob("*") if path.suffix in SUFFIXES)
    written = [config.out / path.relative_to(source) for path in files]
    with owned_folder(config.out, say=output.say):
        refuse_existing(config.out, overwrite=overwrite)
        for path, target in zip(files, written, strict=True):
            write_bytes(target, path.read_bytes())
            target.chmod(path.stat().st_mode)
    output.show(Text("\n".join(map(str, written))))
    output.result({"out": str(config.out), "files": [str(path) for path in written]})


def _shipped() -> Path:
    """The folder of the examples: within the package where it is installed, beside it in a checkout."""
    package = Path(bioseg_cli.__file__).parent
    return next(folder for folder in (package / "examples", package.parent / "examples") if folder.is_dir())
