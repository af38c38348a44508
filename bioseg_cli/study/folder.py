"""The folder of a study: where everything of it lies, and how far each run is.

`manifest.yaml` (the plan, its runs and how they ended), `runs/NAME/` (ordinary run directories), `scores/NAME.json`,
`logs/NAME.log`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.config import read_yaml
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.files import is_occupied
from bioseg_cli.runs.manifest import MANIFEST_NAME, Manifest
from bioseg_cli.study.settings import Plan

ENDED = ("finished", "collapsed")
"""Statuses of a run after which there is nothing left to train."""
MISSING = "missing"


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> StudyFolder:
        """A new or an earlier study; raises `UsageError` where the folder holds something else."""
        if is_occupied(path) and not is_study(path):
            raise UsageError("The folder exists and is not a study", where=path, fix="Choose another --out.")
        return cls(path)

    @property
    def manifest(self) -> Path:
        """The plan and its runs."""
        return self.path / MANIFEST_NAME

    def run(self, name: str) -> Path:
        """Directory of a run."""
        return self.path / "runs" / name

    def scores(self, name: str) -> Path:
        """Scores of a run, or of `DATA.baselines`."""
        return self.path / "scores" / f"{name}.json"

    def log(self, name: str) -> Path:
        """What a job said."""
        return self.path / "logs" / f"{name}.log"


def is_study(path: Path) -> bool:
    """Whether a folder is that of a study."""
    manifest = path / MANIFEST_NAME
    if not manifest.is_file():
        return False
    try:
        return read_yaml(manifest).get("command") == Plan.command
    except UsageError:
        return False


def run_manifest(path: Path, identity: str) -> Manifest | None:
    """The manifest of a run with these settings on this data; None where there is no such run.

    Raises:
        DataError: the directory holds another run.
    """
    if not (path / MANIFEST_NAME).is_file():
        return None
    manifest = Manifest.read(path)
    if manifest.hash != identity:
        raise DataError(
            "The run has other settings, or other data, than its name says", where=path, fix="Move it away and repeat."
        )
    return manifest


def status_of(path: Path, identity: str) -> tuple[str, str | None]:
    """How far a run is, and what went wrong, if anything did."""
    try:
        manifest = run_manifest(path, identity)
    except BiosegError as error:
        return "failed", error.what
    if manifest is None:
        return MISSING, None
    return str(manifest.status), manifest.failure
