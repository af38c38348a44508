"""Whether a head that learns the borders of nuclei tells touching nuclei apart better than a watershed of masks does.

`python -m benchmarks.border_head FOLDER [--labels 5] [--steps 500] [--draws 0 1 2] [--width 2]`

Fields of BBBC039, whose masks number the nuclei. Two networks learn from the same fields by `--preset best` (width 16,
two crops of 192 pixels a step, one thread), without and with `--border`. Their last states are scored by `bioseg
evaluate --objects` on the 50 validation fields, none of which chose anything. AP is TP / (TP + FP + FN).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from benchmarks import machine
from benchmarks.few_labels import SIZE, call
from benchmarks.timing import printer, table_of

COLUMNS = {"ap_0.50": "AP at 0.5", "mean_ap": "mean AP", "f1": "F1 at 0.5", "merges": "merges", "splits": "splits"}
"""Keys of `evaluate --objects --json`, with their titles; the last is of the masks."""
MASKS = "mean IoU"


def scored(folder: Path, data: Path, labels: int, steps: int, draw: int, border: int) -> dict[str, float]:
    """The scores of a network, which is trained now where it is missing."""
    run = folder / f"border{border}-{labels}labels-{steps}steps-draw{draw}"
    if not (run / "checkpoints" / "last.safetensors").is_file():
        settings = folder / f"{run.name}.yaml"
        given = {**SIZE, "preset": "best", "labels": labels, "label_draw": draw, "steps": steps, "epoch_steps": steps}
        settings.write_text(yaml.safe_dump({**given, "border": border}))
        call("train-uda", data, "--config", settings, "--run", run, "--quiet", "--overwrite")
    asked = ("--objects", "--split", "val", "--state", "last", "--baselines", "none", "--json", "--quiet")
    row: dict[str, Any] = json.loads(call("evaluate", run, *asked))["runs"][0]
    (objects,) = row["objects"].values()
    return {title: objects[key] for key, title in COLUMNS.items()} | {MASKS: row["mean_iou"]}


def table_by_border(found: dict[int, Sequence[dict[str, float]]], draws: Sequence[int], title: str) -> Table:
    """A row for each network, and the mean of each kind."""
    table = table_of(title, "border", "draw", *COLUMNS.values(), MASKS)
    for border, rows in found.items():
        for draw, row in zip(draws, rows, strict=True):
            table.add_row(str(border), str(draw), *map(shown, row.values()))
        if len(rows) > 1:
            means = (statistics.mean(column) for column in zip(*(row.values() for row in rows), strict=True))
            table.add_row(str(border), "mean", *map(shown, means))
    return table


def shown(value: float) -> str:
    return f"{value:.4f}" if value <= 1 else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=2)
    options = parser.parse_args()
    data = options.folder / "bbbc039.h5"
    if not data.is_file():
        options.folder.mkdir(parents=True, exist_ok=True)
        source = Path(os.environ["BIOSEG_DATA"]) / "BBBC039"
        call("prepare", "fluohoechst", "--source", source, "--crop", 0, "--out", data, "--overwrite", "--quiet")
    console = printer()
    console.print(machine.describe())
    found = {
        border: [scored(options.folder, data, options.labels, options.steps, draw, border) for draw in options.draws]
        for border in (0, options.width)
    }
    title = f"BBBC039, {options.labels} labelled fields, {options.steps} updates"
    console.print(table_by_border(found, options.draws, title))


if __name__ == "__main__":
    main()
