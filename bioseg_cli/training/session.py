"""From settings to a finished run: opening, resuming, signals, and how the manifest says it ended."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch

from bioseg_cli.config import build_config, read_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError, Interrupted, UsageError
from bioseg_cli.files import discard_partial
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.device import LAYOUT, resolve_device, resolve_precision
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import MANIFEST_NAME, NO_MATTER, environment, now, run_hash
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.method import Method
from bioseg_cli.training.settings import TrainConfig

BUDGET = {"epochs", "steps", "patience"}
"""The settings that a resumed run may change."""

DATA_FOLDER = Path("data")
RUNS_FOLDER = Path("runs")

ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def with_resumed_settings(config: ConfigT) -> ConfigT:
    """The settings of the run to resume, with a new budget where one was given.

    Raises:
        DataError: no run there.
        UsageError: another setting was given that is not the run's.
    """
    if config.resume is None:
        return config
    model = type(config)
    stored = read_config(RunDirectory.open(config.resume).path / MANIFEST_NAME, model)
    given = config.model_dump(include=config.model_fields_set - {"resume", "run"}, mode="json")
    changed = {name for name, value in given.items() if value != stored.get(name)}
    # The content of the data set is compared when the state is loaded.
    if fixed := changed - BUDGET - NO_MATTER:
        names = ", ".join(f"{name} ({stored.get(name)}, not {given[name]})" for name in sorted(fixed))
        raise UsageError(
            f"A resumed run keeps its settings: {names}", where=config.resume, fix="Only the budget may change."
        )
    return build_config(model, {**stored, **given, "run": config.resume, "resume": config.resume})


def find_dataset(given: Path | None) -> Path:
    """The data set to train on: the one given, or the only one in `data/`.

    Raises:
        UsageError: none was given and `data/` does not hold exactly one.
    """
    if given is not None:
        return given
    there = sorted(DATA_FOLDER.glob("*.h5"))
    if len(there) == 1:
        return there[0]
    if not there:
        raise UsageError("No data set was given and data/ holds none", fix="Make one with `bioseg prepare`.")
    raise UsageError("No data set was given and data/ holds several", fix=f"Name one of {', '.join(map(str, there))}.")


def train(
    config: ConfigT,
    build_method: Callable[[Dataset, ConfigT, torch.device], Method],
    output: Output,
    *,
    overwrite: bool,
) -> RunDirectory:
    """Train a method to the end and return its run directory.

    Args:
        config: settings; where they name a run to resume, that run goes on.
        build_method: makes the method from data set, settings and device.
        output: where progress goes.
        overwrite: whether an earlier run of that name may be replaced.
    """
    config = with_resumed_settings(config)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    data = find_dataset(config.data)
    with Dataset(data) as dataset, stop_signals() as stop_requested:
        method = build_method(dataset, config, device)
        path = config.run or RUNS_FOLDER / method.run_name
        manifest = {**first_record(config, dataset), **method.record}
        manifest["device"] = str(device)
        manifest["precision"] = {"name": precision.name, "reason": precision.reason}
        manifest["layout"] = dict(LAYOUT)
        if config.resume is not None:
            run = RunDirectory.open(path)
            discard_partial(path)
            manifest["times"]["started"] = run.manifest["times"]["started"]
            manifest["times"]["resumed"] = [*run.manifest["times"].get("resumed", []), now()]
            trainer = Trainer(method, dataset, config, precision, run, output, stop_requested)
            trainer.resume()
            run.manifest = manifest
            trainer.record()
        else:
            run = RunDirectory.create(path, manifest, overwrite=overwrite)
            trainer = Trainer(method, dataset, config, precision, run, output, stop_requested)
        output.say(
            f"{path}: {method.name}, width {config.width}, {trainer.total_steps} steps, on {device} in "
            f"{precision.name} ({precision.reason})"
        )
        for remark in method.remarks:
            output.say(remark)
        try:
            metrics = trainer.fit()
            run.manifest["status"] = method.conclude(run, trainer.state.rows, precision, output)
        except BaseException as error:
            record_failure(run, error)
            raise
        run.manifest["times"]["ended"] = now()
        run.manifest["metrics"] = metrics
        run.save_manifest()
        return run


def first_record(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """What the manifest of a run says before it has begun."""
    # Paths are stored whole: the run can be read from any folder.
    data = str(dataset.path.resolve())
    resolved = config.model_copy(update={"run": None, "resume": None}).model_dump(mode="json")
    return {
        "command": config.command,
        "status": "running",
        "config": {**resolved, "data": data},
        "hash": run_hash(config.command, resolved, dataset.content_hash),
        "data": {"path": data, "content_hash": dataset.content_hash},
        "environment": environment(),
        "times": {"started": now()},
    }


def record_failure(run: RunDirectory, error: BaseException) -> None:
    """Write to the manifest how a run ended that did not reach its end."""
    stopped = isinstance(error, Interrupted | KeyboardInterrupt)
    run.manifest["status"] = "interrupted" if stopped else "failed"
    if isinstance(error, BiosegError) and not stopped:
        run.manifest["failure"] = error.what
    run.manifest["times"]["ended"] = now()
    run.save_manifest()


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step; the second stops at once."""
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
