"""`manifest.yaml`: what a run did, on what, with what, and how it ended. Enough to repeat it.

Keys: `command`, `config` (every setting, resolved), `hash` (of all that the result depends on, see `run_hash`),
`status` (running, finished, interrupted, failed), `data` (path and content hash), `initial_weights` (of the run it
started from: path, content hash and what was taken of them), `labels` (the subset used),
`environment` (versions, hardware, git revision), `processes` (how many trained it together), `times`, `best` (value and
epoch of each state), `calibration` (temperature of each state) and `metrics`.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bioseg_cli import __version__
from bioseg_cli.config import read_yaml
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import write_text

MANIFEST_NAME = "manifest.yaml"
NO_MATTER = frozenset({"data", "run", "resume", "cache"})
"""Settings of a training that its result does not depend on: the data set counts by its content."""
UNCHANGED: dict[str, dict[str, Any]] = {
    "train-uda": {
        "preset": "paper",
        "label_images": [],
        "sup_loss": "dice",
        "augment": "paper",
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
        "denoise": 0.0,
        "guard": True,
        "init_from": None,
        "norm_images": "batches",
    },
    "train-iic": {"warmup": 0, "init_from": None},
}
"""Settings younger than the hashes of runs, at the value that trains as before: left out, so that the hash stays."""
RECORDED_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "h5py", "tifffile")


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


def run_hash(command: str, config: Mapping[str, Any], content_hash: str, weights_hash: str | None = None) -> str:
    """What a training is told apart by: SHA-256 of its command, of its settings that matter, and of its data.

    Args:
        command: of bioseg.
        config: all its settings, as JSON has them.
        content_hash: of the data set.
        weights_hash: of the saved model that it starts from, wherever that lies; None = from random weights.
    """
    unchanged = UNCHANGED.get(command, {}).items()
    matters = {
        name: value
        for name, value in {**config, "init_from": weights_hash}.items()
        if name not in NO_MATTER and (name, value) not in unchanged
    }
    text = json.dumps([command, matters, content_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest file, whole or not at all."""
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def read_manifest(run: Path) -> dict[str, Any]:
    """Read the manifest of a run directory.

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
