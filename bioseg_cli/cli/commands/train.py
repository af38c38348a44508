"""`bioseg train-NAME`: a data set to a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.training.settings import TrainConfig

if TYPE_CHECKING:
    from rich.table import Table

    from bioseg_cli.runs.directory import RunDirectory
    from bioseg_cli.runs.manifest import Manifest
    from bioseg_cli.runs.sections import ClusterNames, Restart


def train(config: TrainConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Train by a method."""
    from bioseg_cli.compute import signals
    from bioseg_cli.training import session
    from bioseg_cli.training.watch import Watch

    with signals.stop_signals() as stop_requested:
        run = session.run(config, output, overwrite=overwrite, watch=Watch(stop_requested))
    if config.learns_from_labels:
        output.show(_states_table(run, config))
        keys: tuple[str, ...] = ("best", "metrics")
    else:
        _show_clusters(run, output)
        keys = ("status", "best", "metrics", "clusters", "collapse", "mappings", "restarts")
    record = run.manifest.content()
    output.result({"run": str(run.path), **{key: record[key] for key in keys if key in record}})


def _states_table(run: RunDirectory, config: TrainConfig) -> Table:
    from rich.table import Table

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
        metric = config.criteria[name].metric.replace("val_", "validation ")
        table.add_row(name, metric, f"{best.value:.4f}", str(best.epoch))
    return table


def _show_clusters(run: RunDirectory, output: ConsoleOutput) -> None:
    from bioseg_cli.compute.device import resolve_device
    from bioseg_cli.model.saved import load_model

    manifest = run.manifest
    card = load_model(run.checkpoint("best-final"), resolve_device("cpu")).card
    classes = [info.name for info in card.classes]
    output.show(_heads_table(f"Clusters of {run.path}, state best-final", manifest, classes))
    if manifest.restarts:
        output.show(_restarts_table(manifest.restarts))


def _heads_table(title: str, manifest: Manifest, classes: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for column in ("head", "clusters", "collapse", "which cluster is which class, and the share of it that is"):
        table.add_column(column)
    mappings = (manifest.mappings or {}).get("best-final", {})
    for head, count in (manifest.clusters or {}).items():
        collapse = manifest.collapse["best-final"].get(head, "none")
        table.add_row(head, str(count), collapse, _meaning(mappings.get(head), classes))
    return table


def _meaning(mapping: ClusterNames | None, classes: Sequence[str]) -> str:
    """A line a class, such as "nucleus: 3 (93%), 7 (88%)", and one for clusters that the labelled images lack."""
    if mapping is None:
        return "not mapped: no mask names them"
    seen: dict[int, list[str]] = {code: [] for code in range(len(classes))}
    unseen = []
    for cluster, code in enumerate(mapping.classes):
        if mapping.areas[cluster]:
            seen[code].append(f"{cluster} ({mapping.shares[cluster][code]:.0%})")
        else:
            unseen.append(str(cluster))
    lines = [f"{classes[code]}: {', '.join(clusters) or 'none'}" for code, clusters in seen.items()]
    return "\n".join([*lines, *([f"in no labelled image: {', '.join(unseen)}"] if unseen else [])])


def _restarts_table(restarts: Sequence[Restart]) -> Table:
    from rich.table import Table

    table = Table(title="Restarts")
    for column in ("seed", "held-out information, of its bound", "ended", ""):
        table.add_column(column)
    for restart in restarts:
        table.add_row(str(restart.seed), f"{restart.information:.4f}", restart.status, "kept" if restart.kept else "")
    return table
