"""A method with all that its step needs, put together as the training loop does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import noise_dataset
from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.training.method import Method
from bioseg_cli.training.network import build_network
from bioseg_cli.training.optimisation import OPTIMIZERS
from bioseg_cli.training.settings import TrainConfig

RATE = 1e-5
"""Learning rate: so small that the network stays what it was while it is timed."""


class Training:
    """A network in training on generated images.

    Attributes:
        method: draws batches and computes losses.
        uncached: the same, but each of its batches is read and decoded anew.
        steps: batches that are drawn, in turn.
    """

    def __init__(
        self,
        kind: Callable[[Dataset, Any, torch.device], Method],
        dataset: Dataset,
        config: TrainConfig,
        precision: Precision,
        steps: int,
    ) -> None:
        self.dataset = dataset
        self.config = config
        self.precision = precision
        self.device = precision.device
        self.steps = steps
        self.method = kind(dataset, config, self.device)
        self.uncached = kind(dataset, config.model_copy(update={"cache": 0.0}), self.device)
        self.network = build_network(config, dataset, dict(self.method.heads)).train()
        self.network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = OPTIMIZERS[config.optimizer](self.network.parameters(), lr=RATE)

    def draw(self, number: int) -> Any:
        """A batch, from images in memory once each was read."""
        return self.method.draw(0, number % self.steps)

    def read(self, number: int) -> Any:
        """A batch, read and decoded."""
        return self.uncached.draw(0, number % self.steps)

    def step(self, number: int) -> None:
        """One update, reading included: the loop reads ahead in a thread, here nothing is hidden."""
        losses = self.method.loss(self.network, self.draw(number), self.precision)
        for loss in losses.values():
            float(loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        self.optimizer.step()


@contextmanager
def training_on_noise(
    kind: Callable[[Dataset, Any, torch.device], Method],
    config: TrainConfig,
    size: int,
    *,
    images: int,
    steps: int,
    precision: str = "auto",
) -> Iterator[Training]:
    """Training on `images` generated images of `size` x `size` pixels, uint16."""
    with tempfile.TemporaryDirectory() as folder, Dataset(noise_dataset(Path(folder), size, images)) as dataset:
        chosen = resolve_precision(precision, resolve_device("auto"))  # type: ignore[arg-type]
        yield Training(kind, dataset, config, chosen, steps)
