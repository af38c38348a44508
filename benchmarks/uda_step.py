"""How long a UDA step takes, in parts, beside a plain float32 one. Images are generated; nothing is read from disk."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from benchmarks.peers import plain_uda
from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.images import Normalisation
from bioseg_cli.runs.device import resolve_device, resolve_precision
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.settings import TrainUDAConfig
from bioseg_cli.training.uda import UDA


def noise_dataset(folder: Path, size: int, training: int = 8, validation: int = 1) -> Path:
    """Training and validation images whose content does not matter for time."""
    path = folder / "noise.h5"
    random = np.random.default_rng(0)
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 255, 0)))
    count = training + validation
    with DatasetWriter(path, count=count, image_shape=(1, size, size), image_dtype=np.uint16) as writer:
        for index in range(count):
            image = random.integers(0, 4096, (1, size, size), dtype=np.uint16)
            labels = (image[0] > 2048).astype(np.uint8)
            source = ItemSource(f"{index}.tif", f"{index:064x}", 0, (0, 0), (size, size))
            writer.add(Item(image, labels, "train" if index < training else "val", str(index), source))
        normalisation = Normalisation(method="minmax", low=(0.0,), high=(4095.0,))
        writer.finish(DatasetInfo("noise", {}, classes, normalisation))
    return path


def median_seconds(action: Callable[[int], object], rounds: int) -> tuple[float, float, float]:
    """Minimum, median and maximum over `rounds` calls, after two that are not counted."""
    times = []
    for index in range(rounds + 2):
        start = time.perf_counter()
        action(index)
        times.append(time.perf_counter() - start)
    return min(times[2:]), statistics.median(times[2:]), max(times[2:])


def measure(width: int, size: int, rounds: int) -> Table:
    """A table of the step's parts and of the plain step."""
    table = Table(title=f"UDA step, KL, width {width}, {size} x {size}, batch 1 + 1 ({rounds} rounds)")
    for column in ("", "median s", "min s", "max s", "ratio to bioseg"):
        table.add_column(column, justify="left" if not column else "right")
    device = resolve_device("auto")
    with tempfile.TemporaryDirectory() as folder, Dataset(noise_dataset(Path(folder), size)) as dataset:
        config = TrainUDAConfig(width=width, labels=2)
        precision = resolve_precision("auto", device)
        method = UDA(dataset, config, device)
        network = build_network(config, dataset, method.heads).train()
        network.to(device=device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters())

        def ours(index: int) -> None:
            losses = method.loss(network, method.draw(*divmod(index, method.epoch_steps)), precision)
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            optimizer.step()
            float(losses["total"].detach())

        plain = build_network(config, dataset, method.heads).train()
        plain_optimizer = torch.optim.Adam(plain.parameters())
        images = [dataset.normalised(index)[0] for index in range(2)]
        mask = dataset.labels(0)
        random = np.random.default_rng(0)

        rows = {
            f"bioseg, {precision.name}": median_seconds(ours, rounds),
            "of it reading and drawing": median_seconds(
                lambda index: method.draw(*divmod(index, method.epoch_steps)), rounds
            ),
            "plain PyTorch, fp32, on the CPU": median_seconds(
                lambda _: plain_uda.step(plain, plain_optimizer, images[0], mask, images[1], random),
                max(2, rounds // 4),
            ),
        }
    base = next(iter(rows.values()))[1]
    for name, (low, middle, high) in rows.items():
        table.add_row(name, f"{middle:.4f}", f"{low:.4f}", f"{high:.4f}", f"{middle / base:.2f}")
    return table
