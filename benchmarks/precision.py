"""What bfloat16 costs in quality: `bioseg train-uda` in float32 and in bfloat16, on real images, several seeds.

`python -m benchmarks.precision DATA.h5 FOLDER [--steps 720] [--width 32] [--crop 256] [--labels 10] [--seeds 3]`

Trains into FOLDER/PRECISION-seedN, the two precisions in turn, and reads the best mean IoU on the validation images
from the manifests. The difference is taken seed by seed. Runs that are finished are not trained again; a folder that
holds runs of other settings is refused. A machine without bfloat16 units emulates them, slowly, with the same result.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks import machine
from benchmarks.timing import bioseg, printer, run_process, show, table_of
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import MANIFEST_NAME, Manifest
from bioseg_cli.runs.sections import Status

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Settings:
    """What every run has in common, by the names of the options."""

    steps: int
    width: int
    crop: int
    labels: int


def manifest_of(data: Path, run: Path, settings: Settings, precision: str, seed: int) -> Manifest:
    """The manifest of a finished run, trained now where there is none."""
    wanted = {**vars(settings), "precision": precision, "seed": seed}
    if (run / MANIFEST_NAME).is_file():
        there = RunDirectory.open(run).manifest
        changed = [name for name, value in wanted.items() if there.config[name] != value]
        with Dataset(data) as dataset:
            changed += ["data set"] if there.data.content_hash != dataset.content_hash else []
        if changed:
            raise SystemExit(f"{run} was trained with another {', '.join(changed)}: give another folder")
        if there.status == Status.FINISHED:
            return there
    options = [part for name, value in wanted.items() for part in (f"--{name}", value)]
    run_process(bioseg("train-uda", data, "--run", run, *options, "--quiet", "--overwrite"))
    return RunDirectory.open(run).manifest


def measure(data: Path, folder: Path, settings: Settings, seeds: int) -> Table:
    """A table of the best validation mean IoU by precision and seed, and of their difference."""
    scores: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for seed in range(seeds):
        for precision in PRECISIONS:
            manifest = manifest_of(data, folder / f"{precision}-seed{seed}", settings, precision, seed)
            scores[precision].append(manifest.best["best-miou"].value)
            seconds[precision].append(manifest.progress.seconds)
    title = f"Best validation mean IoU, {data.name}: " + ", ".join(f"{k} {v}" for k, v in vars(settings).items())
    table = table_of(title, "", *(f"seed {seed}" for seed in range(seeds)), "mean", "SD", "training s")
    for precision in PRECISIONS:
        time = show(np.array(seconds[precision]))
        table.add_row(precision, *_figures(np.array(scores[precision])), time)
    table.add_row("bf16 - fp32", *_figures(np.array(scores["bf16"]) - np.array(scores["fp32"])), "")
    return table


def _figures(values: np.ndarray) -> list[str]:
    spread = f"{values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return [*(f"{value:.4f}" for value in values), f"{values.mean():.4f}", spread]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=720)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings = Settings(options.steps, options.width, options.crop, options.labels)
    console = printer()
    console.print(machine.describe())
    console.print(measure(options.data, options.folder, settings, options.seeds))


if __name__ == "__main__":
    main()
