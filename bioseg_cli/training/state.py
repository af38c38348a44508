"""The state of a training in progress: everything the next step depends on, saved and loaded whole."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from bioseg_cli.config import BORDER_HEAD
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import write_bytes
from bioseg_cli.model.checksum import checksum_of

STATE_VERSION = 1
CHECKSUM = "checksum"
"""Of all else in the file; not in the files of earlier versions."""


@dataclass
class TrainingState:
    """Where a training is. Randomness is not in it: batches are functions of seed, epoch and step."""

    epoch: int = 0
    """Epochs that are complete."""
    step: int = 0
    """Steps done in the epoch begun."""
    updates: int = 0
    """Steps done in all."""
    sums: dict[str, float] = field(default_factory=dict)
    """Loss sums of the epoch begun."""
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    """Value and epoch of each best state."""
    stale: int = 0
    """Epochs since a best state improved."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The rows of metrics.csv."""
    seconds: float = 0.0
    """Time spent training, over all its parts, up to when the state was saved."""

    def places_left(self, epoch_steps: int, total_steps: int) -> list[tuple[int, int, float]]:
        """The epoch, step and progress of each step that is left of the epoch begun: what `Method.draw` is given.

        Progress is the share of the updates. Epochs do not tell it: the end of a budget cuts its last epoch short, and
        a run that goes on with a larger budget begins another.

        Args:
            epoch_steps: updates in a whole epoch.
            total_steps: updates in the budget.
        """
        before = self.updates - self.step
        end = min(epoch_steps, total_steps - before)
        return [(self.epoch, step, (before + step) / total_steps) for step in range(self.step, end)]


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """All it holds."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


def hash_of_learnt(dataset: Dataset, heads: Mapping[str, int]) -> str:
    """Of what of a data set a training with such heads depends on: borders are learnt from the numbers of objects."""
    learns_borders = BORDER_HEAD in heads
    return f"{dataset.content_hash} {dataset.objects_hash}" if learns_borders else dataset.content_hash


def save_state(
    path: Path, state: TrainingState, parts: Mapping[str, Stateful], data_hash: str, device: torch.device
) -> None:
    """Write the counters, the parts by name, and torch's random state (dropout's), whole or not at all."""
    content = {
        "version": STATE_VERSION,
        "data_hash": data_hash,
        "state": vars(state),
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "random": torch.get_rng_state(),
        "random_cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }
    buffer = io.BytesIO()
    torch.save({**content, CHECKSUM: checksum_of(content)}, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, parts: Mapping[str, Stateful], data_hash: str, device: torch.device) -> TrainingState:
    """Restore the parts and the random states in place; return the counters.

    Raises:
        DataError: nothing to resume from, a damaged file, or a data set that is not the one trained on.
    """
    content = read_state(path)
    try:
        saved_hash, state = content["data_hash"], TrainingState(**content["state"])
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])
        torch.set_rng_state(content["random"])
        if device.type == "cuda" and content["random_cuda"]:
            torch.cuda.set_rng_state(content["random_cuda"][0], device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _unusable(path, error) from None
    if saved_hash != data_hash:
        raise DataError(
            "The data set is not the one this run was trained on", where=path.parent, fix="Give its --data."
        )
    return state


def read_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote, as it wrote it; raises `DataError` where there is none, or the file is damaged."""
    if not path.is_file():
        raise DataError("The run has no resume.pt: there is nothing to resume", where=path.parent, fix="Train it anew.")
    try:
        # weights_only: tensors and plain containers, never code.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content["version"] != STATE_VERSION:
            raise ValueError(f"version {content['version']}, this bioseg reads {STATE_VERSION}")
        saved = content.pop(CHECKSUM, None)
        if saved is not None and saved != checksum_of(content):
            raise ValueError("it is damaged: its content is not what was saved")
    except Exception as error:  # torch raises whatever a damaged file makes it meet
        raise _unusable(path, error) from None
    return content


def _unusable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"The state cannot be resumed ({reason})", where=path, fix="Train it anew.")
