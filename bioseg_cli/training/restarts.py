"""Training by IIC from several seeds, and keeping one of them without looking at a label.

Each restart is a whole run of its own in `restarts/seedN` of the run directory, so that stopping and resuming are those
of a single run. The kept one's states and log are copied up.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bioseg_cli.compute.device import resolve_device
from bioseg_cli.config import STATES
from bioseg_cli.dataset.reader import Dataset, find_dataset
from bioseg_cli.errors import DataError, Interrupted
from bioseg_cli.io.files import write_bytes
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import Manifest, now
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Restart, Status
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.initial import refuse_changed, start_of
from bioseg_cli.training.single_run import (
    RUNS_FOLDER,
    first_record,
    record_failure,
    resumed,
    train,
    with_resumed_settings,
)
from bioseg_cli.training.watch import Watch

FOLDER = "restarts"
COPIED = (
    "progress", "best", "metrics", "clusters", "mapped_by", "mappings", "collapse", "initial_weights",
    "device", "precision", "layout",
)  # fmt: skip
"""What the manifest of a run has from its kept restart."""


def train_with_restarts(config: TrainIICConfig, output: Output, *, overwrite: bool, watch: Watch) -> RunDirectory:
    """Train by IIC as many times as the settings say, and return the run directory.

    The restart that is kept has not collapsed, if there is such a one, and of these the highest mutual information on
    the validation images.
    """
    config = with_resumed_settings(config)
    if config.restarts == 1:
        return train(config, output, overwrite=overwrite, watch=watch)
    with Dataset(find_dataset(config.data)) as dataset:
        method = config.method(dataset, resolve_device(config.device))
        path = config.run or RUNS_FOLDER / f"{method.run_name}-{config.restarts}restarts"
        record = first_record(config, dataset)
        if (start := start_of(config)) is not None:
            # Before anything is replaced: the first restart would ask too late.
            start.refuse_overwriting(path)
            start.fitting(config, dataset, method)
    with owned_folder(path, say=output.say) as ownership:
        run = _begin(path, record, config, overwrite=overwrite)
        run.ownership = ownership
        try:
            restarts = [_restart(config, run, number, output, watch) for number in range(config.restarts)]
            scores = [_score(restart) for restart in restarts]
            kept = scores.index(max(scores))
            _keep(run, restarts, kept)
        except Interrupted as error:
            record_failure(run, error)
            # The restart names its own folder; it is the whole that goes on.
            raise Interrupted(error.what, where=run.path, fix=f"Continue with --resume {run.path}.") from None
        except BaseException as error:
            record_failure(run, error)
            raise
    output.say(f"{run.path}: the restart of seed {config.seed + kept} is kept")
    return run


def _begin(path: Path, record: Manifest, config: TrainIICConfig, *, overwrite: bool) -> RunDirectory:
    """The run directory of all restarts, new or gone on with."""
    if config.resume is None:
        return RunDirectory.create(path, record, overwrite=overwrite)
    run = RunDirectory.open(path)
    if record.data.content_hash != run.manifest.data.content_hash:
        raise DataError("The data set is not the one this run was trained on", where=path, fix="Give its --data.")
    record.times = resumed(run.manifest.times)
    # The states of the run stay those of the restart that was kept before, until all have ended again.
    record.take(run.manifest, (*COPIED, "restarts"))
    run.manifest = record
    run.save_manifest()
    return run


def _restart(config: TrainIICConfig, run: RunDirectory, number: int, output: Output, watch: Watch) -> RunDirectory:
    seed = config.seed + number
    path = run.path / FOLDER / f"seed{seed}"
    resumable = (path / "resume.pt").is_file()
    if not resumable:
        refuse_changed(config, run.manifest.initial_weights)
        shutil.rmtree(path, ignore_errors=True)
    output.say(f"restart {number + 1} of {config.restarts}")
    own = {
        "seed": seed,
        "restarts": 1,
        "data": Path(run.manifest.data.path),
        "run": path,
        "resume": path if resumable else None,
    }
    return train(config.model_copy(update=own), output, overwrite=False, watch=watch)


def _score(restart: RunDirectory) -> tuple[bool, float]:
    return restart.manifest.status == Status.FINISHED, restart.manifest.best["best-final"].value


def _keep(run: RunDirectory, restarts: list[RunDirectory], kept: int) -> None:
    """Copy what the kept restart has into the run, and write to the manifest how all of them ended."""
    chosen = restarts[kept]
    for state in STATES:
        if chosen.checkpoint(state).is_file():
            write_bytes(run.checkpoint(state), chosen.checkpoint(state).read_bytes())
    write_bytes(run.metrics_file, chosen.metrics_file.read_bytes())
    write_bytes(run.images_file, chosen.images_file.read_bytes())
    run.manifest.take(chosen.manifest, COPIED)
    run.manifest.restarts = tuple(
        Restart(
            seed=restart.manifest.config["seed"],
            information=restart.manifest.best["best-final"].value,
            status=restart.manifest.status,
            kept=restart is chosen,
        )
        for restart in restarts
    )
    run.manifest.status = chosen.manifest.status
    run.manifest.times = run.manifest.times.having(ended=now())
    run.save_manifest()
