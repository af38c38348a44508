"""`python -m benchmarks [--full]`: prints each table with the machine it was measured on."""

from __future__ import annotations

import argparse

from rich.console import Console

from benchmarks import iic_shifts, iic_step, uda_step
from bioseg_cli.runs.manifest import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of benchmarks/RESULTS.md")
    full = parser.parse_args().full
    console = Console()
    machine = environment()
    console.print(f"{machine['processor']}, {machine['cores']} cores, torch {machine['packages']['torch']}")
    sizes = [(16, 128, 40), (32, 256, 16)] + ([(64, 512, 8)] if full else [])
    for width, size, rounds in sizes:
        console.print(uda_step.measure(width, size, rounds))
    for clusters, shift in ((2, 1), (2, 10), (10, 3)):
        console.print(iic_shifts.measure(clusters, shift, 10))
    console.print(iic_step.measure(64, 128, 6) if full else iic_step.measure(16, 128, 6))


if __name__ == "__main__":
    main()
