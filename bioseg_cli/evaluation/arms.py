"""The runs that are cross-validated: the recipe that is trained anew, what it leaves out, and what it compares with."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.evaluation.controls import statistics_notes
from bioseg_cli.evaluation.folds import Fold, leave_out
from bioseg_cli.evaluation.settings import MOST_HELD_OUT, EvaluateConfig
from bioseg_cli.evaluation.states import SavedState, data_path
from bioseg_cli.runs.directory import RunDirectory, default_state
from bioseg_cli.training.alike import not_supervised, unlike_control
from bioseg_cli.training.calibrate import refuse_held_out_temperature
from bioseg_cli.training.initial import Start, start_of
from bioseg_cli.training.uda_settings import TrainUDAConfig

BUDGET_SHARE = 0.25
LEAST_UPDATES = 300
"""Each training has this share of the run's updates, and no fewer than these where the run had as many."""


@dataclass(frozen=True, eq=False)
class Arm:
    """A run, as its recipe is cross-validated.

    Attributes:
        state: the one that stands for the run.
        data: data set.
        labelled: its labelled images, as the run has them in order.
        folds: what each training leaves out.
        training: settings of each training.
        start: weights that each training starts from; None = random ones.
    """

    state: SavedState
    data: Path
    labelled: IntArray
    folds: tuple[Fold, ...]
    training: TrainUDAConfig
    start: Start | None

    @classmethod
    def of(cls, path: Path, config: EvaluateConfig) -> Self:
        """The arm of a run directory.

        Raises:
            UsageError: a run of train-iic, or with too many labelled images; one that starts from weights that know
                the labels; or one that `--calibrate` is not for.
            DataError: no run; its data set is gone or has changed; or labels that teach nothing without one of them.
        """
        run = RunDirectory.open(path)
        labels = run.manifest.labels
        if run.manifest.outputs != "classes" or labels is None or labels.images is None:
            raise UsageError(
                "Only runs of train-uda learn from labels that could be left out", where=path, fix="Leave the run out."
            )
        names = labels.images
        if len(names) > MOST_HELD_OUT:
            raise UsageError(
                f"The run has {len(names)} labelled images, and --cross-validate is for {MOST_HELD_OUT} at most",
                where=path,
                fix="Score it on its validation split: leave out --cross-validate.",
            )
        if config.calibrate:
            refuse_held_out_temperature(run)
        state = SavedState(run, default_state(run), run.checkpoint(default_state(run)))
        whole = run.manifest.updates
        updates = max(math.ceil(BUDGET_SHARE * whole), min(whole, LEAST_UPDATES))
        settings = {**run.manifest.config, "steps": updates, "epoch_steps": updates, "patience": None}
        training = build_config(TrainUDAConfig, settings)
        start = start_of(training)
        with Dataset(data := data_path(state, config)) as dataset:
            if dataset.content_hash != run.manifest.data.content_hash:
                raise DataError(
                    f"{path} was trained on other data: the file has changed since, or is another",
                    where=data,
                    fix="Give the data set of the run with --data.",
                )
            if start is not None and start.knows_labels_of(dataset):
                raise UsageError(
                    f"The run started from {start.source}, which was trained with labels of the same data set: no "
                    "image that is left out would be new to it",
                    where=path,
                    fix="Leave the run out, or score it on images of another split.",
                )
            of_name = {dataset.name(int(index)): int(index) for index in dataset.label_order}
            labelled = np.array([of_name[name] for name in names], dtype=np.int64)
            return cls(state, data, labelled, tuple(leave_out(dataset, labelled)), training, start)

    @property
    def name(self) -> str:
        """The run directory, as it was given."""
        return self.state.name

    @property
    def run(self) -> RunDirectory:
        """The run directory."""
        return self.state.run

    @property
    def updates(self) -> int:
        """Of each training."""
        return int(self.training.steps or 0)

    @property
    def compares_by(self) -> Hashable:
        """Arms that have this in common can be compared: the content of the data set, and the labelled images."""
        return self.run.manifest.data.content_hash, frozenset(self.labelled.tolist())


def compared_arms(config: EvaluateConfig) -> tuple[list[list[Arm]], Arm | None]:
    """The arms of `config` in groups that can be compared, and the control; nothing has been trained yet.

    A run that is given twice counts once, and a control that is also among the runs is the control alone.

    Raises:
        UsageError: see `Arm.of`; or a control that learns from unlabelled images, or can be compared with no run.
        DataError: see `Arm.of`.
    """
    control = None if config.control is None else Arm.of(config.control, config)
    if control is not None and (said := not_supervised(control.run.manifest)):
        raise UsageError(
            f"--control learns from unlabelled images itself: {', '.join(said)}",
            where=control.name,
            fix="Give a run of train-uda with --unsup-loss none, or leave out --control.",
        )
    seen = set() if control is None else {control.run.path.resolve()}
    groups: dict[Hashable, list[Arm]] = {}
    for path in config.runs:
        if path.resolve() not in seen:
            seen.add(path.resolve())
            arm = Arm.of(path, config)
            groups.setdefault(arm.compares_by, []).append(arm)
    if control is not None and control.compares_by not in groups:
        raise UsageError(
            "--control has nothing to be compared with: no run beside it has the same data and labelled images",
            where=control.name,
            fix="Give runs that were trained on the same data with the same labelled images.",
        )
    return list(groups.values()), control


def comparison_notes(arms: Sequence[Arm], control: Arm) -> Iterator[str]:
    """What a reader must know of a control with adapted statistics, and where more than unlabelled images differs."""
    yield from statistics_notes(control.state)
    for arm in arms:
        if said := unlike_control(arm.run.manifest, control.run.manifest):
            yield (
                f"{arm.name} and its control differ in {', '.join(said)}: their difference is not the work of "
                "unlabelled images alone."
            )
