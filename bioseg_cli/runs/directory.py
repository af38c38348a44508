"""The run directory: one training, whole.

manifest.yaml, metrics.csv (a row an epoch), checkpoints/STATE.safetensors, resume.pt.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from bioseg_cli.config import STATES, StateName
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import write_text
from bioseg_cli.runs.manifest import MANIFEST_NAME, Manifest, write_manifest


class RunDirectory:
    """Paths and files of one run.

    Attributes:
        path: the directory.
        manifest: what `manifest.yaml` says; change it, then `save_manifest`.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, manifest: Manifest, *, overwrite: bool) -> Self:
        """Begin a run; an earlier one there is replaced only with `overwrite`, anything else never.

        Raises:
            UsageError: the directory holds a run already, or something that is not a run.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            if not (path / MANIFEST_NAME).is_file():
                raise UsageError("The run directory exists and is not a run", where=path, fix="Choose another --run.")
            if not overwrite:
                raise UsageError(
                    "The run exists already",
                    where=path,
                    fix=f"Continue it with --resume {path}, choose another --run, or give --overwrite.",
                )
            # The manifest is replaced last: after a kill half way the folder is still a run, to be overwritten.
            for old in (path / "checkpoints", path / "restarts", path / "metrics.csv", path / "resume.pt"):
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        run = cls(path, manifest)
        run.save_manifest()
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run; raises `DataError` where there is none."""
        return cls(path, Manifest.read(path))

    @property
    def resume_file(self) -> Path:
        """State of the interrupted training."""
        return self.path / "resume.pt"

    @property
    def metrics_file(self) -> Path:
        """A row an epoch."""
        return self.path / "metrics.csv"

    def checkpoint(self, state: str) -> Path:
        """The saved model of a state."""
        return self.path / "checkpoints" / f"{state}.safetensors"

    def existing_checkpoint(self, state: str) -> Path:
        """The saved model of a state; raises `DataError` that names the states there are."""
        path = self.checkpoint(state)
        if not path.is_file():
            there = [state for state in STATES if self.checkpoint(state).is_file()]
            raise DataError(
                f"The run has no state {state!r}",
                where=self.path,
                fix=f"It has {', '.join(there)}: give --state." if there else "It has not finished an epoch yet.",
            )
        return path

    def save_manifest(self) -> None:
        """Write `manifest` to its file."""
        write_manifest(self.path / MANIFEST_NAME, self.manifest.content())

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the epochs so far, whole: a kill never leaves half a row."""
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.metrics_file, table.getvalue())


def default_state(run: RunDirectory) -> StateName:
    """The state that stands for a run: the first of its best ones, in the order of `STATES`, or else the last.

    The control stands for a run whose guard found that the unlabelled images did harm.
    """
    manifest = run.manifest
    if manifest.validation == 0:
        return "control" if manifest.guard is not None and manifest.guard.hands_out == "control" else "last"
    chosen: list[StateName] = [state for state in STATES if state in manifest.best]
    return chosen[0] if chosen else "last" if run.checkpoint("last").is_file() else "best-supervised"


def checkpoint_of(path: Path, state: StateName | None) -> Path:
    """The model that RUN means: a `.safetensors` file itself, or a state of a run directory, by default its own.

    Raises:
        DataError: no such path, not a run, or a run without that state.
    """
    if path.suffix == ".safetensors":
        return path
    run = RunDirectory.open(path)
    return run.existing_checkpoint(state or default_state(run))
