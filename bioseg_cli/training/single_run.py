"""One training from its settings to its end: opening, resuming, and how the manifest says it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from bioseg_cli.compute.device import LAYOUT, resolve_device, resolve_precision
from bioseg_cli.compute.torchrun import Launch, this_launch
from bioseg_cli.config import build_config, overlaid, read_config
from bioseg_cli.dataset.copies import copies_warning
from bioseg_cli.dataset.reader import Dataset, find_dataset
from bioseg_cli.errors import BiosegError, Interrupted, UsageError
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import MANIFEST_NAME, NO_MATTER, Manifest, environment, now, run_hash
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Choice, Status, Times
from bioseg_cli.runs.seen import images_of_training, inherited_images
from bioseg_cli.runs.verified import verify_before_use
from bioseg_cli.training.distributed import Alone, joined, own_device
from bioseg_cli.training.fit import fitted_to_images, fitted_to_minutes
from bioseg_cli.training.guard import guard_run
from bioseg_cli.training.initial import initial_record, start_of
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import TrainingRun, UnwrittenRun
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.watch import Watch

BUDGET = {"epochs", "steps", "patience"}
AFTERWARDS = {"guard"}
"""The settings that a resumed run may change: how long it is, and what follows its last update."""

RUNS_FOLDER = Path("runs")

ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def with_resumed_settings(config: ConfigT) -> ConfigT:
    """The settings of the run to resume, with a new budget where one was given.

    Raises:
        DataError: no run there.
        UsageError: another setting was given that is not the run's, or another directory to write.
    """
    if config.resume is None:
        return config
    if config.run is not None and config.run.resolve() != config.resume.resolve():
        raise UsageError(
            f"A resumed run stays where it is, and --run {config.run} is another directory",
            where=config.resume,
            fix="Leave out --run, or copy the run there first and resume the copy.",
        )
    model = type(config)
    stored = read_config(RunDirectory.open(config.resume).path / MANIFEST_NAME, model)
    given = config.model_dump(include=config.model_fields_set - {"resume", "run"}, mode="json")
    changed = {name for name, value in given.items() if value != stored.get(name)}
    # The content of the data set is compared when the state is loaded.
    if fixed := changed - BUDGET - AFTERWARDS - NO_MATTER:
        names = ", ".join(f"{name} ({stored.get(name)}, not {given[name]})" for name in sorted(fixed))
        raise UsageError(
            f"A resumed run keeps its settings: {names}", where=config.resume, fix="Only the budget may change."
        )
    goes_on = {**given, "run": config.resume, "resume": config.resume}
    return build_config(model, overlaid(stored, goes_on, model))


def train(
    config: TrainConfig,
    output: Output,
    *,
    overwrite: bool,
    watch: Watch,
) -> RunDirectory:
    """Train a method to the end and return its run directory.

    Started by `torchrun`, the processes train it together, and the first one writes.

    Args:
        config: settings; where they name a run to resume, that run goes on.
        output: where progress goes.
        overwrite: whether an earlier run of that name may be replaced.
        watch: is told of each step, and may stop it.
    """
    config = with_resumed_settings(config)
    launch = this_launch()
    check_shares(config, launch)
    device = own_device(resolve_device(config.device), launch)
    precision = resolve_precision(config.precision, device)
    data = find_dataset(config.data)
    directory = TrainingRun if launch.first else UnwrittenRun
    stop_requested = watch.stop_requested
    with joined(launch, device) as processes, Dataset(data) as dataset, ExitStack() as held:
        verify_before_use(dataset, output)
        if (warning := copies_warning(dataset)) is not None:
            output.warn(warning)
        start = start_of(config)
        config, said = fitted_to_images(config, dataset, device, start)
        budget = None
        method = config.method(dataset, device)
        if isinstance(method, UDA) and method.config.minutes is not None:
            unwritten = UnwrittenRun(RUNS_FOLDER, first_record(config, dataset))
            # Not kept: what it holds is as large as the training itself.
            took = Trainer(method, dataset, config, precision, unwritten, output, stop_requested, processes).timed()
            spent = processes.of_the_first({"labelling": method.labelling_seconds})["labelling"]
            fitted, budget = fitted_to_minutes(method.config, took, spent)
            config, method = fitted, method.with_budget(fitted)
            said.append(f"{config.steps} updates fit into {budget.minutes:g} minutes on this machine")
        path = config.run or RUNS_FOLDER / method.run_name
        ownership = held.enter_context(directory.owned(path, output.say))
        taken = None
        if start is not None:
            start.refuse_overwriting(path)
            taken = start.fitting(config, dataset, method)
            said.append(taken.said)
        manifest = first_record(config, dataset)
        manifest.add(method.record)
        if taken is not None and manifest.initial_weights is not None:
            manifest.initial_weights = manifest.initial_weights.having(**taken.record)
        if budget is not None:
            manifest.budget = budget
        manifest.device = str(device)
        manifest.precision = Choice(name=precision.name, reason=precision.reason)
        manifest.layout = Choice(**LAYOUT)
        manifest.processes = launch.count
        processes.check_alike(f"{manifest.hash} {precision.name}")
        if config.resume is not None:
            run = directory.open(path)
            run.ownership = ownership
            manifest.times = resumed(run.manifest.times)
            if config.steps == run.manifest.config.get("steps"):
                manifest.take(run.manifest, ("budget",))
            trainer = Trainer(
                method, dataset, config, precision, run, output, stop_requested, processes, progressed=watch.progressed
            )
            trainer.resume()
            processes.check_alike(str(trainer.state.updates))
            run.manifest = manifest
            trainer.record()
        else:
            run = directory.create(path, manifest, overwrite=overwrite)
            run.ownership = ownership
            weights = None if taken is None else taken.tensors
            with _failure_recorded(run, processes):
                trainer = Trainer(
                    method,
                    dataset,
                    config,
                    precision,
                    run,
                    output,
                    stop_requested,
                    processes,
                    weights,
                    watch.progressed,
                )
        with _failure_recorded(run, processes):
            output.say(
                f"{path}: {method.name}, width {config.width}, {trainer.total_steps} steps, on {device} in "
                f"{precision.name} ({precision.reason})" + (f", {launch.count} processes" if launch.count > 1 else "")
            )
            if not run.images_file.is_file():
                run.save_images([*images_of_training(dataset, manifest), *inherited_images(config.init_from)])
            for warning in method.warnings:
                output.warn(warning)
            for remark in (*said, *method.remarks):
                output.say(remark)
            metrics = trainer.fit()
            if isinstance(method, UDA):
                for found in guard_run(run, trainer, method, output, stop_requested, launch.count):
                    run.manifest.guard = found
            run.manifest.add(method.conclude(run, trainer.state.rows, precision, output))
        run.manifest.times = run.manifest.times.having(ended=now())
        run.manifest.metrics = metrics
        run.save_manifest()
        return run


@contextmanager
def _failure_recorded(run: RunDirectory, processes: Alone) -> Iterator[None]:
    """What ends a training within it, before its end, is in the manifest."""
    try:
        yield
    except BaseException as error:
        record_failure(run, processes.explained(error))
        raise


def check_shares(config: TrainConfig, launch: Launch) -> None:
    """Raise `UsageError` where a batch can't be divided equally among the processes."""
    if config.batch_size % launch.count:
        fits = config.batch_size + launch.count - config.batch_size % launch.count
        raise UsageError(
            f"--batch-size {config.batch_size} is the images of all {launch.count} processes together, and can't be "
            "divided among them",
            fix=f"Give --batch-size {fits}, or torchrun another --nproc-per-node.",
        )


def first_record(config: TrainConfig, dataset: Dataset) -> Manifest:
    """What the manifest of a run says before it has begun."""
    # Paths are stored whole: the run can be read from any folder.
    data = str(dataset.path.resolve())
    resolved = config.model_copy(update={"run": None, "resume": None}).model_dump(mode="json")
    initial = initial_record(config)
    weights_hash = None if initial is None else initial.hash
    content = {
        "command": config.command,
        "status": Status.RUNNING,
        "config": {**resolved, "data": data},
        "hash": run_hash(config.command, resolved, dataset.content_hash, weights_hash, dataset.objects_hash),
        "data": {"path": data, "content_hash": dataset.content_hash},
        **({} if initial is None else {"initial_weights": initial}),
        "environment": environment(),
        "times": {"started": now()},
    }
    return Manifest.model_validate(content)


def resumed(times: Times) -> Times:
    """The times of a run that is gone on with now."""
    return Times(started=times.started, resumed=(*times.resumed, now()))


def record_failure(run: RunDirectory, error: BaseException) -> None:
    """Write to the manifest how a run ended that did not reach its end."""
    stopped = isinstance(error, Interrupted | KeyboardInterrupt)
    run.manifest.status = Status.INTERRUPTED if stopped else Status.FAILED
    if isinstance(error, BiosegError) and not stopped:
        run.manifest.failure = error.what
    run.manifest.times = run.manifest.times.having(ended=now())
    run.save_manifest()
