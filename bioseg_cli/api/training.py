"""Training from a program: any thread, no signal handlers, progress by callback."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.api.settings import ArgumentNames, settings_of
from bioseg_cli.errors import Interrupted
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.logged import LoggedOutput
from bioseg_cli.training import session
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.watch import TrainingProgress, Watch

AnyPath = str | os.PathLike[str]
OnProgress = Callable[[TrainingProgress], bool | None]
"""Is called in the thread that trains; returning False stops the training."""


@dataclass(frozen=True)
class BestState:
    """A saved state that the validation chose.

    Attributes:
        value: of what it was chosen by.
        epoch: after which it was saved, from 1.
    """

    value: float
    epoch: int


@dataclass(frozen=True)
class TrainedRun:
    """A training that ended. Wherever a path of a run is wanted, this is one.

    Attributes:
        path: the run directory.
        status: finished, collapsed (train_iic), or interrupted.
        best: states that the validation chose, by name; empty where no image validates.
        metrics: of the last epoch, by name; empty of an interrupted one.
        warnings: what must be known of it, in sentences.
    """

    path: Path
    status: str
    best: Mapping[str, BestState]
    metrics: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return os.fspath(self.path)


def train_uda(
    data: AnyPath | None = None,
    *,
    run: AnyPath | None = None,
    progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> TrainedRun:
    """Train on labelled and unlabelled images by UDA (`bioseg train-uda`).

    May be called from any thread. Ctrl-C remains the caller's: no signal handler is installed.

    Args:
        data: data set; None with `resume=`, or where data/ holds exactly one.
        run: run directory to write; by default runs/DATASET-METHOD-... with the main settings.
        progress: called after each step and at the end of each epoch; returning False stops the training.
        stop: once it is set, the training stops after the step.
        overwrite: replace an earlier run.
        settings: those of `bioseg train-uda`, such as `preset="best"`, `labels=4`, `steps=1000`, `resume=RUN`.

    Raises:
        UsageError: settings that do not fit each other or the data set, or the run exists.
        DataError: the data set is missing or damaged.
        RunError: a loss that is not finite, or memory ran out.
        Interrupted: it was stopped; the state is saved, `done` is the run so far, and `resume=` goes on with it.
    """
    return _train(TrainUDAConfig, data, run, progress, stop, overwrite, settings)


def train_iic(
    data: AnyPath | None = None,
    *,
    run: AnyPath | None = None,
    progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> TrainedRun:
    """Train without labels by IIC (`bioseg train-iic`); arguments and errors are those of `train_uda`."""
    return _train(TrainIICConfig, data, run, progress, stop, overwrite, settings)


def _train(
    model: type[TrainConfig],
    data: AnyPath | None,
    run: AnyPath | None,
    progress: OnProgress | None,
    stop: threading.Event | None,
    overwrite: bool,
    settings: Mapping[str, Any],
) -> TrainedRun:
    output = LoggedOutput()
    stopped = threading.Event() if stop is None else stop
    refused = False

    def progressed(record: TrainingProgress) -> None:
        nonlocal refused
        if progress is not None and progress(record) is False:
            refused = True

    watch = Watch(lambda: refused or stopped.is_set(), progressed)
    places = {name: Path(place) for name, place in (("data", data), ("run", run)) if place is not None}
    arguments = ArgumentNames(model)
    with arguments:
        config = settings_of(model, {**places, **settings})
        try:
            ended = session.run(config, output, overwrite=overwrite, watch=watch)
        except Interrupted as error:
            if error.where is not None:
                error.done = _trained(RunDirectory.open(Path(error.where)), output, arguments)
            raise
        return _trained(ended, output, arguments)


def _trained(run: RunDirectory, output: LoggedOutput, arguments: ArgumentNames) -> TrainedRun:
    manifest = run.manifest
    return TrainedRun(
        path=run.path,
        status=manifest.status,
        best={name: BestState(best.value, best.epoch) for name, best in (manifest.best or {}).items()},
        metrics=dict(manifest.metrics or {}),
        warnings=tuple(map(arguments, output.warnings)),
    )
