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
    if not run.manifest["best"]:
        table.add_row("last", "the end of the training", "", str(run.manifest["progress"]["epochs"]))
    if "alarms" in run.manifest.get("guard", {}) and run.manifest["guard"]["hands_out"] == "control":
        table.add_row("control", "the guard: it stands for the run", "", str(run.manifest["progress"]["epochs"]))
    for name, best in run.manifest["best"].items():
        metric = CRITERIA[name].metric.replace("val_", "validation ")
        table.add_row(name, metric, f"{best['value']:.4f}", f"{best['epoch']:.0f}")
    output.show(table)
    output.result({"run": str(run.path), "best": run.manifest["best"], "metrics": run.manifest["metrics"]})
