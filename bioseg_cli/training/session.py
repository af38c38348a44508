"""From settings to a finished run: they know their method, and those of IIC their restarts."""

from __future__ import annotations

from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.restarts import train_with_restarts
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.single_run import train
from bioseg_cli.training.watch import Watch
from bioseg_cli.training.without_effect import refuse_without_effect


def run(config: TrainConfig, output: Output, *, overwrite: bool, watch: Watch) -> RunDirectory:
    """Train as `config` says and return the run directory; see `single_run.train` and `restarts.train_with_restarts`.

    Args:
        config: settings; where they name a run to resume, that run goes on.
        output: where progress goes.
        overwrite: whether an earlier run of that name may be replaced.
        watch: is told of each step, and may stop it.

    Raises:
        UsageError: a new run has settings without an effect.
    """
    if config.resume is None:
        refuse_without_effect(config)
    if isinstance(config, TrainIICConfig):
        return train_with_restarts(config, output, overwrite=overwrite, watch=watch)
    return train(config, output, overwrite=overwrite, watch=watch)
