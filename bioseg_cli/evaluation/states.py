"""Which saved states of which runs are scored, on which data set, and whether the two fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bioseg_cli.config import STATES, StateName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.class_order import matched
from bioseg_cli.evaluation.document import LabelBudget
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.model.saved import LoadedModel, load_model
from bioseg_cli.runs.directory import RunDirectory, default_state
from bioseg_cli.runs.sections import Status

STATUS_REMARKS = {
    Status.RUNNING: "is still training; its states may change",
    Status.INTERRUPTED: "was interrupted",
    Status.FAILED: "failed",
}


@dataclass(frozen=True)
class SavedState:
    """One state of a run."""

    run: RunDirectory
    state: StateName
    checkpoint: Path

    @property
    def name(self) -> str:
        """The run directory, as it was given."""
        return str(self.run.path)

    @property
    def of_clusters(self) -> bool:
        """Whether the training was one without labels."""
        return self.run.manifest.outputs == "clusters"

    @property
    def labels(self) -> LabelBudget | None:
        """The label budget of the training; None where it used none."""
        labels = self.run.manifest.labels
        return None if labels is None else LabelBudget.of_manifest(labels)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of how the training ended."""
        notes = []
        manifest = self.run.manifest
        if (status := manifest.status) in STATUS_REMARKS:
            notes.append(f"{self.name} {STATUS_REMARKS[status]}.")
        if manifest.guard is not None and manifest.guard.alarms:
            alarms = "; ".join(manifest.guard.alarms)
            notes.append(f"{self.name}: its guard hands out the supervised control ({alarms}).")
        for head, kind in manifest.collapse.get(self.state, {}).items():
            notes.append(f"{self.name}, {self.state}: the {head} head has collapsed ({kind}).")
        return notes


def saved_states(run: RunDirectory, wanted: StateName | str | None) -> list[SavedState]:
    """The states of a run that are wanted: one, "all" that it has, or by default the one that stands for it.

    Raises:
        DataError: the run has no such state, or none.
    """
    if wanted == "all":
        names = [name for name in STATES if run.checkpoint(name).is_file()]
    else:
        names = [name for name in STATES if name == (wanted or default_state(run))]
    # Without any, asking for one says so.
    return [SavedState(run, name, run.existing_checkpoint(name)) for name in names or [default_state(run)]]


def data_path(state: SavedState, config: EvaluateConfig) -> Path:
    """The data set to score a state on.

    Raises:
        DataError: the one that its run records is gone.
    """
    return recorded_data(state.run) if config.data is None else config.data


def recorded_data(run: RunDirectory) -> Path:
    """The data set that a run was trained on.

    Raises:
        DataError: it is gone.
    """
    path = Path(run.manifest.data.path)
    if not path.is_file():
        raise DataError(
            f"The data set of the run is gone: {path}", where=run.path, fix="Give its new place with --data."
        )
    return path


def load_state(
    state: SavedState, dataset: Dataset, device: torch.device, *, same_data: bool
) -> tuple[LoadedModel, list[str]]:
    """The saved model, with its classes in the order of the data set, and what a reader must know of it.

    Args:
        state: of a run.
        dataset: to score it on.
        device: to compute on.
        same_data: refuse a data set that is not the one it was trained on.

    Raises:
        DataError: the data set has changed since, or has other classes than the model.
    """
    card = (model := load_model(state.checkpoint, device)).card
    notes = state.remarks
    if card.dataset_hash != dataset.content_hash:
        if same_data:
            raise DataError(
                f"{state.name} was trained on other data: the file has changed since, or is another",
                where=dataset.path,
                fix="Give --data to score on it all the same.",
            )
        notes.append(f"{state.name} was trained on another data set than it is scored on.")
    fitting = matched(model, state.name, dataset)
    if fitting is not model:
        notes.append(f"{state.name} has its classes in another order than the data set: they are matched by name.")
    return fitting, notes


def label_budgets(states: Sequence[SavedState], dataset: Dataset) -> list[IntArray]:
    """The labelled images that the runs used, as indices of the data set they were trained on; each budget once."""
    of_name = {dataset.name(int(index)): int(index) for index in dataset.label_order}
    budgets: dict[frozenset[int], IntArray] = {}
    for state in states:
        labels = state.run.manifest.labels
        names = labels and labels.images
        if names and all(name in of_name for name in names):
            indices = [of_name[name] for name in names]
            budgets.setdefault(frozenset(indices), np.array(indices, dtype=np.int64))
    return list(budgets.values())
