"""`bioseg train-uda`: a few labelled and many unlabelled images to a run directory."""

from __future__ import annotations

from bioseg_cli.runs.console import Output
from bioseg_cli.training.uda_settings import TrainUDAConfig


def train_uda(config: TrainUDAConfig, output: Output, overwrite: bool) -> None:
    """Train on labelled and unlabelled images by UDA: Dice on the labelled, consistency on the rest."""
    from rich.table import Table

    from bioseg_cli.compute import signals
    from bioseg_cli.training import session
    from bioseg_cli.training.uda import CRITERIA
    from bioseg_cli.training.watch import Watch

    with signals.stop_signals() as stop_requested:
        run = session.run(config, output, overwrite=overwrite, watch=Watch(stop_requested))
    table = Table(title=f"Best states of {run.path}")
    table.add_column("state")
    table.add_column("chosen by")
    table.add_column("value", justify="right")
    table.add_column("epoch", justify="right")
    manifest = run.manifest
    epochs = "" if manifest.progress is None else str(manifest.progress.epochs)
    if not manifest.best:
        table.add_row("last", "the end of the training", "", epochs)
    if manifest.guard is not None and manifest.guard.hands_out == "control":
        table.add_row("control", "the guard: it stands for the run", "", epochs)
    for name, best in manifest.best.items():
        metric = CRITERIA[name].metric.replace("val_", "validation ")
        table.add_row(name, metric, f"{best.value:.4f}", str(best.epoch))
    output.show(table)
    record = manifest.content()
    output.result({"run": str(run.path), "best": record["best"], "metrics": record["metrics"]})
