"""What trainings cost each other that share the processors of a machine, by how their threads wait.

`python -m benchmarks.shared_machine [--steps 40] [--rounds 3]`

One training, and two at once, each with as many threads as there are processors: with threads that spin while they wait
for each other, which is what the OpenMP library of torch does by default (`GOMP_SPINCOUNT=300000`), and with threads
that sleep (`OMP_WAIT_POLICY=passive`, which `bioseg` chooses where nothing else is set). Also two at once with half of
the threads each, which is what a user would choose by hand. A figure is the seconds of training per update, of the
slower of two, as the manifests have them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.timing import Rounds, bioseg, printer, show, table_of
from bioseg_cli.runs.directory import RunDirectory

SPINNING = {"GOMP_SPINCOUNT": "300000"}
SLEEPING = {"OMP_WAIT_POLICY": "passive"}
OPENMP = frozenset({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS"})
"""Variables that would decide in place of the benchmark."""


def seconds_per_update(folder: Path, data: Path, steps: int, at_once: int, openmp: dict[str, str]) -> float:
    """Of the slowest of some trainings that begin together."""
    environment = {name: value for name, value in os.environ.items() if name not in OPENMP} | openmp
    settings = (
        "--preset",
        "best",
        "--width",
        16,
        "--crop",
        192,
        "--steps",
        steps,
        "--epoch-steps",
        steps,
        "--overwrite",
    )
    runs = [folder / f"run{number}" for number in range(at_once)]
    commands = (bioseg("train-uda", data, "--run", run, *settings, "--quiet") for run in runs)
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    endings = [process.wait() for process in processes]
    if any(endings):
        raise SystemExit("A training failed")
    recorded = (RunDirectory.open(run).manifest.progress for run in runs)
    return max(progress.seconds for progress in recorded if progress is not None) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    half = {"OMP_NUM_THREADS": str(max(1, cores // 2))}
    ways = {
        "one, spinning": (1, SPINNING),
        "one, sleeping": (1, SLEEPING),
        "two at once, spinning": (2, SPINNING),
        "two at once, sleeping": (2, SLEEPING),
        "two at once, half of the threads each": (2, half),
    }
    console = printer()
    console.print(machine.describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.h5"
        made = bioseg("prepare", "demo", "--images", 8, "--size", 256, "--out", data, "--quiet")
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, (at_once, openmp) in ways.items():
                found[way].append(seconds_per_update(folder, data, options.steps, at_once, openmp))
    alone: Rounds = np.array(found["one, spinning"])
    table = table_of(f"Trainings with {cores} threads on {cores} processors", "", "seconds per update", "times as long")
    for way, seconds in found.items():
        table.add_row(way, show(np.array(seconds)), show(np.array(seconds) / alone))
    console.print(table)


if __name__ == "__main__":
    main()
