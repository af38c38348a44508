"""`python -m benchmarks [--full] [--folder DIR]`: the machine, then a table for each question, as soon as it is known.

Small sizes; --full takes large ones, for hours on two cores. DIR keeps the images, the model
that predicts them, and with --full the figure of scaling; without it they are made in a temporary folder and removed.

Not here, because they need data or time of their own: `benchmarks.precision`, `benchmarks.brain_slices`,
`benchmarks.soak` and `benchmarks.endurance`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from benchmarks import (
    choices,
    convolution_floor,
    iic_shifts,
    iic_step,
    large_image,
    machine,
    many_images,
    scaling,
    start_up,
    uda_step,
)
from benchmarks.timing import printer


def quick(folder: Path) -> Iterator[Table]:
    """Every question at a small size."""
    for width, size in uda_step.SIZES:
        yield uda_step.measure(width, size, 6)
    yield convolution_floor.measure_method("uda", 32, 256, 4)
    for width in iic_step.WIDTHS:
        yield iic_step.measure(width, 6)
    for clusters, shift in iic_shifts.CASES:
        yield iic_shifts.measure(clusters, shift, 4)
    yield choices.measure(16, 128, 4)
    yield large_image.measure(folder, 3000, 2048, "zlib", 2)
    yield large_image.measure_tiling(folder)
    yield many_images.measure(folder, 60, 256, 1)
    yield start_up.measure(5)
    series = scaling.measure_series(
        widths=(8, 16, 32), sizes=(128, 192, 256), counts=(50, 100, 200), rounds=4, command_rounds=1
    )
    yield scaling.measure(series)


def full(folder: Path) -> Iterator[Table]:
    """Every question at the size that matters."""
    for width, size in uda_step.FULL_SIZES:
        yield uda_step.measure(width, size, 8)
    for width, size in uda_step.FULL_SIZES:
        yield convolution_floor.measure_method("uda", width, size, 5)
    for width in iic_step.FULL_WIDTHS:
        yield iic_step.measure(width, 8)
    for clusters, shift in iic_shifts.CASES:
        yield iic_shifts.measure(clusters, shift, 10)
    yield choices.measure(64, 512, 4)
    yield large_image.measure(folder, 20000, 4096, "zlib", 4)
    yield large_image.measure_tiling(folder)
    yield many_images.measure(folder, 2000, 512, 1)
    yield start_up.measure(15)
    series = scaling.measure_series()
    yield scaling.measure(series)
    scaling.draw(series, folder / "scaling.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    console.print(machine.measure())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for table in (full if options.full else quick)(folder):
            console.print(table)


if __name__ == "__main__":
    main()
