"""How long the command line takes to start: help, and the score of two small masks, beside Python itself.

`python -m benchmarks.start_up [--rounds 15]`: the processes run in turn, so that the machine's speed cancels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from benchmarks import machine
from benchmarks.data import write_folder
from benchmarks.timing import Action, bioseg, interleaved, printer, run_process, table_of

WATCH = """
import sys
from bioseg_cli.cli.app import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""
SMALL = 64
"""Side of the masks, in pixels."""


def loads_torch(arguments: list[str]) -> bool:
    """Whether `bioseg` with these arguments imports torch."""
    command = [sys.executable, "-c", WATCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.split()[-1] == "True"


def measure(rounds: int) -> Table:
    """Median, minimum and maximum of each process, and its ratio to the emptiest one."""
    with tempfile.TemporaryDirectory() as folder:
        _, masks = write_folder(Path(folder), 2, SMALL)
        score = ["evaluate", "--predictions", str(masks), "--truth", str(masks), "--quiet"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import typer'": [sys.executable, "-c", "import typer"],
            "bioseg --help": bioseg("--help"),
            "bioseg evaluate, two small masks": bioseg(*score),
        }
        actions: dict[str, Action] = {
            name: lambda _, command=command: run_process(command) for name, command in commands.items()
        }
        times = interleaved(actions, rounds, torch.device("cpu"))
        loaded = {"bioseg --help": loads_torch(["--help"]), "bioseg evaluate, two small masks": loads_torch(score)}
    columns = ("", "median s", "min s", "max s", "ratio to python -c pass", "loads torch")
    table = table_of(f"Start-up ({rounds} rounds)", *columns)
    base = times["python -c pass"]
    for name, seconds in times.items():
        shown = [f"{value:.3f}" for value in (np.median(seconds), seconds.min(), seconds.max())]
        torch_loaded = {True: "yes", False: "no"}.get(loaded.get(name, False))
        table.add_row(name, *shown, f"{np.median(seconds / base):.1f}", torch_loaded)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    console.print(measure(options.rounds))


if __name__ == "__main__":
    main()
