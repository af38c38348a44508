"""The run directory: one training, whole.

manifest.yaml, metrics.csv (a row an epoch), images.json (what it has seen), checkpoints/STATE.safetensors, resume.pt.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from bioseg_cli.config import STATES, StateName
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.csv_cells import write_csv
from bioseg_cli.io.files import is_occupied, write_text
from bioseg_cli.io.ownership import Ownership
from bioseg_cli.runs.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from bioseg_cli.runs.sections import Status


class RunDirectory:
    """Paths and files of one run.

    Attributes:
        path: the directory.
        manifest: what `manifest.yaml` says; change it, then `save_manifest`.
        ownership: by which this process writes it; None where it only reads.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.ownership: Ownership | None = None

    @classmethod
    def create(cls, path: Path, manifest: Manifest, *, overwrite: bool) -> Self:
        """Begin a run; an earlier one there is replaced only with `overwrite`, anything else never.

        Raises:
            UsageError: the directory holds a run already, or something that is not a run.
        """
        if is_occupied(path):
            if not (path / MANIFEST_NAME).is_file():
                raise UsageError("The run directory exists and is not a run", where=path, fix="Choose another --run.")
            if not overwrite:
                raise UsageError(
                    "The run exists already",
                    where=path,
                    fix=f"Continue it with --resume {path}, choose another --run, or give --overwrite.",
                )
            _remove(path)
        run = cls(path, manifest)
        # First: by it a folder is known to be a run, also after a kill.
        run.save_manifest()
        (path / "checkpoints").mkdir(exist_ok=True)
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

    @property
    def images_file(self) -> Path:
        """The images that the run has seen; see `runs.seen`."""
        return self.path / "images.json"

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

    def check_owned(self) -> None:
        """Raise `OutputError` where another process has taken the run over."""
        if self.ownership is not None:
            self.ownership.check()

    def save_manifest(self) -> None:
        """Write `manifest` to its file."""
        self.check_owned()
        write_manifest(self.path / MANIFEST_NAME, self.manifest.content())

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the epochs so far, whole: a kill never leaves half a row."""
        table = io.StringIO()
        write_csv(table, list(rows[0]), rows)
        write_text(self.metrics_file, table.getvalue())


def _remove(path: Path) -> None:
    """Remove what an earlier run left, but for its manifest, by which the folder is still a run after a kill."""
    try:
        content = read_manifest(path)
    except DataError:
        pass  # a damaged one does not say that the run has finished
    else:
        # A kill half way must not leave a run that says so, and has no states.
        ended = {"status": str(Status.INTERRUPTED), "failure": "It was being overwritten"}
        write_manifest(path / MANIFEST_NAME, {**content, **ended})
    for name in ("resume.pt", "checkpoints", "restarts", "metrics.csv", "images.json"):
        old = path / name
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


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
