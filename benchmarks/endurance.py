"""Train, predict and evaluate again and again in one process, and see whether anything grows.

`python -m benchmarks.endurance [--minutes 60]`. A round trains both methods, predicts with and without tiles, and
evaluates with figures, all through the functions of `bioseg_cli`. After each round the process counts its memory, open
files, threads, and the temporary files there are. The exit code is 1 where one of them grows.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

import bioseg_cli as bioseg
from benchmarks.timing import printer, table_of

SIDE = 96
IMAGES = 12
SETTINGS = {"width": 4, "steps": 6, "batch_size": 2, "device": "cpu", "overwrite": True}
WARM_UP = 0.1
"""Share of the rounds that are left out: libraries are loaded and caches filled in them."""
LEAST_ROUNDS = 20
ROUNDS_OF_A_LINE = 20
MOST_GROWTH = 20.0
"""KB of memory that a round may add, by a straight line through the rounds after the warm-up."""
LABELS = {"memory": "memory, MB", "files": "open files", "threads": "threads", "temporaries": "temporary files"}


@dataclass(frozen=True)
class Reading:
    """What a process holds after a round."""

    memory: float
    """MB that are resident."""
    files: int
    threads: int
    temporaries: int


def read(temporary: Path, folder: Path) -> Reading:
    """What this process holds now.

    Args:
        temporary: folder of temporary files of this process alone.
        folder: of its results, in which hidden files are temporary ones.
    """
    process = psutil.Process()
    gc.collect()
    left = [*temporary.rglob("*"), *folder.rglob(".*")]
    return Reading(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads(), len(left))


def disc(number: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """An image of bright discs on noise, and its mask."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for row, column in random.uniform(8, SIDE - 8, (5, 2)):
        mask[(rows - row) ** 2 + (columns - column) ** 2 < 49] = 1
    return (1000 + 1500.0 * mask + random.normal(0, 150, mask.shape)).astype(np.uint16), mask


def work(data: bioseg.PreparedDataset, folder: Path, number: int) -> None:
    """Train both methods, predict, and evaluate, over what the round before has left."""
    image, _ = disc(number)
    supervised = bioseg.train_uda(data, run=folder / "uda", labels=4, seed=number, **SETTINGS)
    clusters = bioseg.train_iic(data, run=folder / "iic", crop=48, seed=number, **SETTINGS)
    for run in (supervised, clusters):
        model = bioseg.load_model(run, device="cpu")
        model.predict(image, tile=64, tta=True)
        model.predict(image)
    bioseg.evaluate(
        [supervised, clusters], split="val", baselines=("otsu",), out=folder / "report", overwrite=True, device="cpu"
    )


def rounds(folder: Path, minutes: float) -> Iterator[Reading]:
    """What the process holds after each round, until the time is over."""
    temporary, results = folder / "temporary", folder / "results"
    temporary.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    images, masks = zip(*map(disc, range(IMAGES)), strict=True)
    data = bioseg.prepare_arrays(images, masks, out=results / "discs.h5", class_names=["background", "disc"])
    end = time.monotonic() + 60 * minutes
    number = 0
    while time.monotonic() < end:
        work(data, results, number)
        yield read(temporary, results)
        number += 1


def straight_line(values: Sequence[float]) -> tuple[float, float]:
    """Growth a round by a straight line, and its standard error."""
    (growth, _), covariance = np.polyfit(np.arange(len(values)), values, 1, cov=True)
    return float(growth), float(np.sqrt(covariance[0, 0]))


def kept(readings: Sequence[Reading]) -> dict[str, NDArray[np.float64]]:
    """The readings after the warm-up, by what was counted."""
    later = readings[int(WARM_UP * len(readings)) :]
    return {
        field.name: np.array([getattr(reading, field.name) for reading in later], float) for field in fields(Reading)
    }


def growing(counted: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """What grows: memory by its straight line, the others where the last quarter is never as low as the first was."""
    quarter = len(counted["memory"]) // 4
    found = [] if 1000 * straight_line(counted["memory"])[0] <= MOST_GROWTH else ["memory"]
    return found + [
        name
        for name, values in counted.items()
        if name != "memory" and values[-quarter:].min() > values[:quarter].max()
    ]


def show(counted: Mapping[str, NDArray[np.float64]]) -> None:
    """Print the first and the last quarter, and the growth of the memory."""
    quarter = len(counted["memory"]) // 4
    table = table_of("Median (minimum-maximum) of the first and the last quarter of rounds", "", "first", "last")
    for name, values in counted.items():
        table.add_row(LABELS[name], *(spread(part) for part in (values[:quarter], values[-quarter:])))
    printer().print(table)
    growth, error = (1000 * value for value in straight_line(counted["memory"]))
    print(f"memory grows by {growth:.1f} (standard error {error:.1f}) KB a round; {MOST_GROWTH:g} KB are allowed")


def spread(values: NDArray[np.float64]) -> str:
    """Median, minimum and maximum, with all digits before the point."""
    return f"{np.median(values):.4g} ({values.min():.4g}-{values.max():.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    readings: list[Reading] = []
    with tempfile.TemporaryDirectory() as name:
        for reading in rounds(Path(name), minutes):
            readings.append(reading)
            if len(readings) % ROUNDS_OF_A_LINE == 0:
                print(f"{len(readings)} rounds: {reading}", flush=True)
    if len(readings) < LEAST_ROUNDS:
        raise SystemExit(f"{len(readings)} rounds are too few to see growth in: give more --minutes")
    counted = kept(readings)
    print(f"{len(readings)} rounds, {len(readings) - len(counted['memory'])} of them warmed up")
    show(counted)
    if found := growing(counted):
        raise SystemExit(f"This grows: {', '.join(found)}")


if __name__ == "__main__":
    main()
