"""`bioseg train-NAME`: a data set to a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bioseg_cli.runs.console import Output
from bioseg_cli.training.settings import TrainConfig

if TYPE_CHECKING:
    from rich.table import Table

    from bioseg_cli.runs.directory import RunDirectory


def train(config: TrainConfig, output: Output, overwrite: bool) -> None:
    """Train by a method."""
    from bioseg_cli.training import session

    run = session.run(config, output, overwrite=overwrite)
    if config.learns_from_labels:
        output.show(_states_table(run, config))
        output.result({"run": str(run.path), "best": run.manifest["best"], "metrics": run.manifest["metrics"]})
    else:
        _show_clusters(run, output)


def _states_table(run: RunDirectory, config: TrainConfig) -> Table:
    from rich.table import Table

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
        metric = config.criteria[name].metric.replace("val_", "validation ")
        table.add_row(name, metric, f"{best['value']:.4f}", f"{best['epoch']:.0f}")
    return table


def _show_clusters(run: RunDirectory, output: Output) -> None:
    from bioseg_cli.compute.device import resolve_device
    from bioseg_cli.model.saved import load_model

    record = run.manifest
    card = load_model(run.checkpoint("best-final"), resolve_device("cpu")).card
    output.show(_heads_table(f"Clusters of {run.path}, state best-final", record, [one.name for one in card.classes]))
    if "restarts" in record:
        output.show(_restarts_table(record["restarts"]))
    keys = ("status", "best", "metrics", "clusters", "collapse", "mappings", "restarts")
    output.result({"run": str(run.path), **{key: record[key] for key in keys if key in record}})


def _heads_table(title: str, record: dict[str, Any], classes: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for column in ("head", "clusters", "collapse", "which cluster is which class, and the share of it that is"):
        table.add_column(column)
    mappings = record.get("mappings", {}).get("best-final", {})
    for head, count in record["clusters"].items():
        collapse = record["collapse"]["best-final"].get(head, "none")
        table.add_row(head, str(count), collapse, _meaning(mappings.get(head), classes))
    return table


def _meaning(mapping: dict[str, Any] | None, classes: Sequence[str]) -> str:
    """A line a class, such as "nucleus: 3 (93%), 7 (88%)", and one for clusters that the labelled images lack."""
    if mapping is None:
        return "not mapped: no mask names them"
    seen: dict[int, list[str]] = {code: [] for code in range(len(classes))}
    unseen = []
    for cluster, code in enumerate(mapping["classes"]):
        if mapping["areas"][cluster]:
            seen[code].append(f"{cluster} ({mapping['shares'][cluster][code]:.0%})")
        else:
            unseen.append(str(cluster))
    lines = [f"{classes[code]}: {', '.join(clusters) or 'none'}" for code, clusters in seen.items()]
    return "\n".join([*lines, *([f"in no labelled image: {', '.join(unseen)}"] if unseen else [])])


def _restarts_table(restarts: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title="Restarts")
    for column in ("seed", "held-out information, of its bound", "ended", ""):
        table.add_column(column)
    for one in restarts:
        table.add_row(str(one["seed"]), f"{one['information']:.4f}", one["status"], "kept" if one["kept"] else "")
    return table
