"""How long an IIC step takes, in parts (see `step_parts`), beside its convolutions alone and a plain float32 one.

`python -m benchmarks.iic_step [--full] [--rounds 8]`: width 16, and with --full the full U-Net of width 64.

The study's setting: 128 x 128 pixels, batch 10, rotations, heads in turn; the steps are those of the auxiliary head,
which has more clusters. The images are generated. The plain step (`peers/plain_iic.py`) finds its images normalised in
memory, and computes the loss of the head it trains alone; bioseg computes the other head's too, for the log.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.table import Table

from benchmarks import machine
from benchmarks.peers import plain_iic
from benchmarks.step_parts import measure_parts
from benchmarks.timing import printer
from benchmarks.training import RATE, training_on_noise
from bioseg_cli.training.iic import IIC
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.loop import build_network

SIZE, STEPS = 128, 4
WIDTHS = (16,)
FULL_WIDTHS = (16, 64)


def measure(width: int, rounds: int, *, warm_up: int = 2) -> Table:
    """A table of the step's parts, its floor and the plain step."""
    config = TrainIICConfig(width=width)
    images = STEPS * config.batch_size
    with training_on_noise(IIC, config, SIZE, images=images, steps=STEPS) as training:
        dataset = training.dataset
        network = build_network(config, dataset, dict(training.method.heads)).train().to(training.device)
        optimizer = torch.optim.RMSprop(network.parameters(), lr=RATE)
        batch = np.stack([dataset.normalised(index)[0] for index in range(config.batch_size)])
        (head,) = training.draw(0).trained
        random = np.random.default_rng(0)

        def plain(_: int) -> None:
            plain_iic.step(network, optimizer, batch, head, random)

        clusters = training.method.heads[head]
        title = f"IIC step, {head} head of {clusters} clusters, width {width}, {SIZE} x {SIZE}, batch {len(batch)}"
        return measure_parts(training, plain, title, rounds, warm_up=warm_up)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    for width in FULL_WIDTHS if options.full else WIDTHS:
        console.print(measure(width, options.rounds))


if __name__ == "__main__":
    main()
