"""Whether time grows in proportion to the work: a figure with a line through each series, and a table.

`python -m benchmarks.scaling [--out DIR] [--rounds 5]` writes DIR/scaling.svg.

- A UDA step against the width of the network, at 128 x 128: its multiplications grow with the square of the width.
- A UDA step against the pixels of an image, at width 16.
- `bioseg prepare folder` and `bioseg evaluate --predictions --truth`, whole commands, against the number of images of
  256 x 256, TIFF.

Sizes are measured in turn. The line is fitted to the medians by least squares of the relative deviations, so that
small sizes count as much as large ones; where it meets the axis is what a step or a command costs whatever the size.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from benchmarks import machine
from benchmarks.data import write_folder
from benchmarks.timing import Action, Rounds, bioseg, interleaved, printer, run_process, show, table_of
from benchmarks.training import training_on_noise
from bioseg_cli.compute.device import resolve_device
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

WIDTHS, SIZE = (8, 16, 24, 32, 48, 64), 128
SIZES, WIDTH = (128, 192, 256, 320, 384, 448, 512), 16
COUNTS, IMAGE = (50, 100, 200, 400, 800), 256
POINTS, LINE = "#0072B2", "#D55E00"
"""Blue and vermilion, which are told apart with any colour vision."""


@dataclass(frozen=True)
class Series:
    """Seconds against work."""

    title: str
    label: str
    """Of the axis of work."""
    work: NDArray[np.float64]
    times: list[Rounds]
    """One a value of `work`."""

    @property
    def medians(self) -> NDArray[np.float64]:
        """(n,) seconds."""
        return np.array([np.median(each) for each in self.times])

    @property
    def line(self) -> tuple[float, float]:
        """Slope and intercept of the line."""
        slope, intercept = np.polyfit(self.work, self.medians, 1, w=1 / self.medians)
        return float(slope), float(intercept)

    @property
    def deviations(self) -> NDArray[np.float64]:
        """(n,) relative to the line."""
        return self.medians / np.polyval(self.line, self.work) - 1

    @property
    def r_squared(self) -> float:
        """Share of the variance that the line explains."""
        left = self.medians - np.polyval(self.line, self.work)
        return 1 - float((left**2).sum() / ((self.medians - self.medians.mean()) ** 2).sum())


def steps(cases: Sequence[tuple[int, int]], rounds: int) -> list[Rounds]:
    """Seconds of a UDA step at each width and size."""
    with ExitStack() as opened:
        actions: dict[str, Action] = {}
        for width, size in cases:
            config = TrainUDAConfig(width=width, labels=2)
            training = opened.enter_context(training_on_noise(UDA, config, size, images=6, steps=4))
            actions[f"{width} {size}"] = training.step
        return list(interleaved(actions, rounds, resolve_device("auto")).values())


def commands(folder: Path, counts: Sequence[int], rounds: int) -> list[list[Rounds]]:
    """Seconds of the prepare and of the evaluate command for each number of images."""

    def prepare(at: Path) -> Callable[[int], object]:
        given = ("--images", at / "images", "--masks", at / "masks", "--out", at / "data.h5")
        return lambda _: run_process(bioseg("prepare", "folder", *given, "--quiet", "--overwrite"))

    def evaluate(at: Path) -> Callable[[int], object]:
        given = ("--predictions", at / "masks", "--truth", at / "masks", "--masks-are", "binary")
        return lambda _: run_process(bioseg("evaluate", *given, "--quiet"))

    folders = [folder / str(count) for count in counts]
    for at, count in zip(folders, counts, strict=True):
        write_folder(at, count, IMAGE)
    # A command warms nothing but the file system, which has just been written to.
    times = [
        interleaved({at.name: command(at) for at in folders}, rounds, torch.device("cpu"), warm_up=0)
        for command in (prepare, evaluate)
    ]
    return [list(each.values()) for each in times]


def measure_series(
    *,
    widths: Sequence[int] = WIDTHS,
    sizes: Sequence[int] = SIZES,
    counts: Sequence[int] = COUNTS,
    rounds: int = 5,
    command_rounds: int = 3,
) -> list[Series]:
    """All four series."""
    by_width = steps([(width, SIZE) for width in widths], rounds)
    by_size = steps([(WIDTH, size) for size in sizes], rounds)
    with tempfile.TemporaryDirectory() as folder:
        prepared, evaluated = commands(Path(folder), counts, command_rounds)
    squares, pixels = np.array(widths, float) ** 2, np.array(sizes, float) ** 2 / 1000
    images = np.array(counts, float)
    return [
        Series(f"UDA step, {SIZE} x {SIZE}, by width", "width²", squares, by_width),
        Series(f"UDA step, width {WIDTH}, by size", "thousand pixels", pixels, by_size),
        Series(f"bioseg prepare folder, {IMAGE} x {IMAGE}", "images", images, prepared),
        Series(f"bioseg evaluate, masks of {IMAGE} x {IMAGE}", "images", images, evaluated),
    ]


def measure(series: Sequence[Series]) -> Table:
    """The numbers of the figure."""
    table = table_of("Time against work", "", "work", "s", "off the line")
    for measured in series:
        slope, intercept = measured.line
        for work, times, off in zip(measured.work, measured.times, measured.deviations, strict=True):
            table.add_row(measured.title, f"{work:g} {measured.label}", show(times), f"{off:+.1%}")
        fitted = f"{intercept:.3f} + {slope:.2e} x work"
        table.add_row("  line", f"R² {measured.r_squared:.4f}", fitted, f"{np.abs(measured.deviations).max():.1%}")
        table.add_section()
    return table


def draw(series: Sequence[Series], path: Path) -> None:
    """Points with minimum and maximum, and the line, a panel a series; linear axes, where a line is straight."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axes, measured in zip(np.ravel(figure.subplots(2, 2)), series, strict=True):
        low, high = (np.array([bound(each) for each in measured.times]) for bound in (np.min, np.max))
        spread: Any = [measured.medians - low, high - measured.medians]
        ends = np.array([0, measured.work.max() * 1.05])
        axes.plot(ends, np.polyval(measured.line, ends), color=LINE, label="line fitted")
        axes.errorbar(
            measured.work, measured.medians, spread, fmt="o", color=POINTS, capsize=3, label="median, min to max"
        )
        axes.set(title=measured.title, xlabel=measured.label, ylabel="seconds", xlim=(0, ends[1]), ylim=(0, None))
        said = f"R² {measured.r_squared:.4f}\nlargest deviation {np.abs(measured.deviations).max():.1%}"
        axes.text(0.97, 0.05, said, transform=axes.transAxes, ha="right")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    # Text stays text: smaller, and it can be searched.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for scaling.svg; without, the table alone")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    series = measure_series(rounds=options.rounds)
    console.print(measure(series))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        draw(series, options.out / "scaling.svg")
        console.print(f"Drawn: {options.out / 'scaling.svg'}")


if __name__ == "__main__":
    main()
