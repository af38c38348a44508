"""The run directory of a training: one of its processes writes it, the others go through the same motions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from bioseg_cli.io.ownership import Ownership, owned_folder
from bioseg_cli.model.saved import ModelCard, save_model
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import Manifest
from bioseg_cli.runs.seen import SeenImage, write_seen
from bioseg_cli.training.state import Stateful, TrainingState, save_state


class TrainingRun(RunDirectory):
    """A run directory that a training writes."""

    @staticmethod
    def owned(path: Path, say: Callable[[str], None]) -> AbstractContextManager[Ownership | None]:
        """Keep other processes out of the directory; see `owned_folder`."""
        return owned_folder(path, say=say)

    def save_images(self, images: Iterable[SeenImage]) -> None:
        """Write which images it has seen."""
        self.check_owned()
        write_seen(self.images_file, images)

    def save_checkpoint(self, state: str, tensors: dict[str, Tensor], card: ModelCard) -> None:
        """Write the saved model of a state."""
        self.check_owned()
        save_model(self.checkpoint(state), tensors, card)

    def save_state(
        self, state: TrainingState, parts: Mapping[str, Stateful], data_hash: str, device: torch.device
    ) -> None:
        """Write what it takes to resume."""
        self.check_owned()
        save_state(self.resume_file, state, parts, data_hash, device)


class UnwrittenRun(TrainingRun):
    """The run directory for a process that does not write it: it can be read, and its manifest kept in memory."""

    @staticmethod
    def owned(path: Path, say: Callable[[str], None]) -> AbstractContextManager[Ownership | None]:
        """The process that writes keeps others out."""
        return nullcontext()

    @classmethod
    def create(cls, path: Path, manifest: Manifest, *, overwrite: bool) -> Self:
        """The run that another process begins, and checks."""
        return cls(path, manifest)

    def save_manifest(self) -> None:
        """Nothing."""

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing."""

    def save_images(self, images: Iterable[SeenImage]) -> None:
        """Nothing."""

    def save_checkpoint(self, state: str, tensors: dict[str, Tensor], card: ModelCard) -> None:
        """Nothing."""

    def save_state(
        self, state: TrainingState, parts: Mapping[str, Stateful], data_hash: str, device: torch.device
    ) -> None:
        """Nothing."""
