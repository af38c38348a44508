"""`manifest.yaml`: what a run did, on what, with what, and how it ended. Enough to repeat it.

`bioseg COMMAND --config RUN/manifest.yaml` repeats the run.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from bioseg_cli import __version__
from bioseg_cli.config import StateName, read_yaml
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import write_text
from bioseg_cli.io.yaml_text import dump_yaml
from bioseg_cli.runs.section import Section, problems_of
from bioseg_cli.runs.sections import (
    BestEpoch,
    Choice,
    Conclusion,
    Environment,
    GuardRecord,
    InitialWeights,
    LabelledImages,
    Progress,
    Restart,
    TimeBudget,
    Times,
    TrainedOn,
    TrainingData,
)

MANIFEST_NAME = "manifest.yaml"
NO_MATTER = frozenset({"data", "run", "resume", "cache"})
"""Settings of a training that its result does not depend on: the data set counts by its content."""
UNCHANGED: dict[str, dict[str, Any]] = {
    "train-uda": {
        "preset": "paper",
        "label_images": [],
        "sup_loss": "dice",
        "augment": "paper",
        "exposure": 1.0,
        "geometry": "paper",
        "crop_around": "anywhere",
        "warmup": 0,
        "epoch_steps": None,
        "minutes": None,
        "teacher": "self",
        "mix": "none",
        "ramp": 0.0,
        "class_confidence": False,
        "pseudo_loss": "ce",
        "pseudo_labels": "none",
        "denoise": 0.0,
        "border": 0,
        "guard": True,
        "init_from": None,
        "norm_images": "batches",
    },
    "train-iic": {"warmup": 0, "init_from": None},
}
"""Settings younger than the hashes of runs, at the value that trains as before: left out, so that the hash stays."""
RECORDED_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "h5py", "tifffile")


class Manifest(TrainedOn, Conclusion):
    """The manifest of a run: of what it learnt and how it ended, and all else that it takes to repeat it.

    Manifests of earlier versions lack what is younger, and keep what is gone.

    Attributes:
        command: of bioseg, without `bioseg`.
        config: every setting, resolved; a mapping, as those of another version may be others.
        hash: of all that the result depends on, see `run_hash`.
        data: the data set.
        initial_weights: where it started from those of another run.
        environment: versions and hardware.
        times: when it was at work.
        budget: where it was given in minutes.
        device: name of the device.
        precision: what the network multiplied in.
        layout: how networks and images lie in memory.
        processes: that trained it together.
        progress: how far it is.
        best: the epoch of each state that was chosen.
        guard: what the guard found.
        failure: what went wrong.
        metrics: of the last epoch.
        restarts: of which it is one.
    """

    model_config = ConfigDict(frozen=False)

    command: str
    config: dict[str, Any]
    hash: str = ""
    data: TrainingData
    initial_weights: InitialWeights | None = None
    environment: Environment | None = None
    times: Times
    budget: TimeBudget | None = None
    device: str | None = None
    precision: Choice | None = None
    layout: Choice | None = None
    processes: int = 1
    progress: Progress | None = None
    best: dict[StateName, BestEpoch] = Field(default_factory=dict)
    guard: GuardRecord | None = None
    failure: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()

    @classmethod
    def read(cls, run: Path) -> Self:
        """The manifest of a run directory.

        Raises:
            DataError: it is no run directory, or its manifest is damaged.
        """
        content = read_manifest(run)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise DataError(
                f"The manifest is damaged ({problems_of(error)})", where=run / MANIFEST_NAME, fix="Give another run."
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in type(self).model_fields:
            self._given.setdefault(name)

    def add(self, record: TrainedOn | Conclusion) -> None:
        """Put in what a method says of itself; None is not said."""
        self._take(record, [name for name, value in record.given().items() if value is not None])

    def take(self, other: Manifest, names: Iterable[str]) -> None:
        """Put in what another manifest has of some keys."""
        self._take(other, [name for name in names if name in other._given])

    def _take(self, other: Section, names: Iterable[str]) -> None:
        for name in names:
            setattr(self, name, getattr(other, name))

    @property
    def outputs(self) -> Literal["classes", "clusters"]:
        """What the channels of its network stand for."""
        return "classes" if self.clusters is None else "clusters"

    @property
    def updates(self) -> int:
        """How many it has done so far."""
        return 0 if self.progress is None else self.progress.updates

    @property
    def labelled_images(self) -> LabelledImages | None:
        """The labelled images that it learnt from, or that named its clusters; None where it does not say."""
        return self.mapped_by if self.outputs == "clusters" else self.labels

    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return self.model_dump()


def now() -> str:
    """The current time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def environment() -> dict[str, Any]:
    """Versions, processor and code revision: what a number can depend on beside the settings."""
    return {
        "bioseg": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "git_revision": _git_revision(),
    }


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _git_revision() -> str | None:
    """Revision of bioseg's own code, with "-dirty" where it was changed; None outside a checkout."""
    package = Path(__file__).parents[1]
    if not (package.parent / ".git").exists():
        return None  # Installed: git would answer for whatever checkout the environment happens to lie in.
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def run_hash(
    command: str,
    config: Mapping[str, Any],
    content_hash: str,
    weights_hash: str | None = None,
    objects_hash: str | None = None,
) -> str:
    """What a training is told apart by: SHA-256 of its command, of its settings that matter, and of its data.

    Args:
        command: of bioseg.
        config: all its settings, as JSON has them.
        content_hash: of the data set.
        weights_hash: of the saved model that it starts from, wherever that lies; None = from random weights.
        objects_hash: of the numbers of objects in the data set, which count where their borders are learnt.
    """
    unchanged = UNCHANGED.get(command, {}).items()
    matters = {
        name: value
        for name, value in {**config, "init_from": weights_hash}.items()
        if name not in NO_MATTER and (name, value) not in unchanged
    }
    learnt = [content_hash, objects_hash] if config.get("border") else [content_hash]
    text = json.dumps([command, matters, *learnt], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest file, whole or not at all."""
    write_text(path, dump_yaml(content))


def read_manifest(run: Path) -> dict[str, Any]:
    """The mapping in the manifest of a run directory, or of the folder of a study.

    Raises:
        DataError: it is no run directory, or its manifest is damaged.
    """
    path = run / MANIFEST_NAME
    if not path.is_file():
        raise DataError("The folder is not a run: it has no manifest.yaml", where=run, fix="Give a run directory.")
    try:
        return read_yaml(path)
    except UsageError as error:
        raise DataError(error.what, where=path, fix="Give another run.") from None
