"""How everything here is timed: alternatives in turn, A B A B, so that drift of the machine's speed cancels.

A figure is an array with an entry a round. Ratios and differences are taken round by round, of what ran seconds apart,
and shown as their median with minimum and maximum.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

Rounds = NDArray[np.float64]
Action = Callable[[int], object]
"""Something to time, told the number of the round."""


def synchronise(device: torch.device) -> None:
    """Wait for what was handed to the device; a CPU has done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def interleaved(
    actions: Mapping[str, Action], rounds: int, device: torch.device, *, warm_up: int = 2
) -> dict[str, Rounds]:
    """Seconds of every action in every round, without the rounds that warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(warm_up + rounds):
        for name, action in actions.items():
            synchronise(device)
            start = time.perf_counter()
            action(number)
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values[warm_up:]) for name, values in seconds.items()}


LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""
"""Starts a command from a process that is small: Linux counts the memory of whoever starts it into its peak."""


def run_process(command: list[str]) -> tuple[float, float]:
    """Wall time in seconds of a process, and its peak resident memory in GB: its own, without its children's."""
    launched = subprocess.run([sys.executable, "-c", LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, code = launched.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)} ended with status {code}")
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kibibytes.
    return float(seconds), int(peak) * unit / 1e9


def bioseg(*arguments: object) -> list[str]:
    """The command line of `bioseg` with these arguments."""
    return [sys.executable, "-m", "bioseg_cli", *map(str, arguments)]


def show(values: Rounds | float) -> str:
    """Median (minimum-maximum), three digits each; a single value alone."""
    rounds = np.atleast_1d(values)
    if len(rounds) == 1:
        return _digits(rounds[0])
    return f"{_digits(np.median(rounds))} ({_digits(rounds.min())}–{_digits(rounds.max())})"


def show_share(values: Rounds) -> str:
    """The same in per cent."""
    return f"{np.median(values):.1%} ({values.min():.1%}–{values.max():.1%})"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def printer() -> Console:
    """The screen, or 120 columns of a file."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def table_of(title: str, *columns: str) -> Table:
    """An empty table: names on the left, figures on the right."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table
