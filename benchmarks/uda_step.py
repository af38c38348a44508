"""How long a UDA step takes, in parts (see `step_parts`), beside its convolutions alone and a plain float32 one.

`python -m benchmarks.uda_step [--full] [--rounds 8]`; --full adds the full U-Net at 512 x 512.

The images are generated. The plain step (`peers/plain_uda.py`) finds its images normalised in memory, resamples less
than bioseg does, and masks nothing.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.table import Table

from benchmarks import machine
from benchmarks.peers import plain_uda
from benchmarks.step_parts import measure_parts
from benchmarks.timing import printer
from benchmarks.training import RATE, training_on_noise
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

SIZES = ((16, 128), (32, 256))
FULL_SIZES = (*SIZES, (64, 512))
"""Width of the network, and height and width of the images in pixels."""
IMAGES = 10


def measure(width: int, size: int, rounds: int, *, warm_up: int = 2) -> Table:
    """A table of the step's parts, its floor and the plain step, with KL consistency and a batch of 1 + 1."""
    config = TrainUDAConfig(width=width, labels=2)
    with training_on_noise(UDA, config, size, images=IMAGES, steps=IMAGES - 2) as training:
        dataset = training.dataset
        network = build_network(config, dataset, dict(training.method.heads)).train().to(training.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
        images = [dataset.normalised(index)[0] for index in range(2)]
        mask = dataset.labels(0)
        random = np.random.default_rng(0)

        def plain(_: int) -> None:
            plain_uda.step(network, optimizer, images[0], mask, images[1], random)

        title = f"UDA step, KL, width {width}, {size} x {size}, batch 1 + 1"
        return measure_parts(training, plain, title, rounds, warm_up=warm_up)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    for width, size in FULL_SIZES if options.full else SIZES:
        console.print(measure(width, size, options.rounds))


if __name__ == "__main__":
    main()
