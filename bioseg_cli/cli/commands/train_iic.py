"""`bioseg train-iic`: images without any label to a run directory with clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioseg_cli.runs.console import Output
from bioseg_cli.training.iic_settings import TrainIICConfig

if TYPE_CHECKING:
    from rich.table import Table

    from bioseg_cli.runs.manifest import Manifest
    from bioseg_cli.runs.sections import ClusterNames, Restart


def train_iic(config: TrainIICConfig, output: Output, overwrite: bool) -> None:
    """Train without labels by IIC: cluster pixels so that two views of an image agree; then map clusters to classes."""
    from bioseg_cli.compute import signals
    from bioseg_cli.compute.device import resolve_device
    from bioseg_cli.model.saved import load_model
    from bioseg_cli.training import session
    from bioseg_cli.training.watch import Watch

    with signals.stop_signals() as stop_requested:
        run = session.run(config, output, overwrite=overwrite, watch=Watch(stop_requested))
    manifest = run.manifest
    card = load_model(run.checkpoint("best-final"), resolve_device("cpu")).card
    output.show(_heads_table(f"Clusters of {run.path}, state best-final", manifest, [one.name for one in card.classes]))
    if manifest.restarts:
        output.show(_restarts_table(manifest.restarts))
    record = manifest.content()
    keys = ("status", "best", "metrics", "clusters", "collapse", "mappings", "restarts")
    output.result({"run": str(run.path), **{key: record[key] for key in keys if key in record}})


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
    for one in restarts:
        table.add_row(str(one.seed), f"{one.information:.4f}", one.status, "kept" if one.kept else "")
    return table
