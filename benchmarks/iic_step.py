"""How long a step and an epoch of IIC take, beside the network's own passes. Images are generated."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from rich.table import Table

from benchmarks.uda_step import median_seconds, noise_dataset
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.device import resolve_device, resolve_precision
from bioseg_cli.training.iic import IIC
from bioseg_cli.training.loop import build_network
from bioseg_cli.training.losses import mutual_information_loss
from bioseg_cli.training.settings import TrainIICConfig


def measure(width: int, size: int, rounds: int, *, training: int = 20, validation: int = 10) -> Table:
    """A table of the parts of a step, and of an epoch with its validation, at the study's batch of 10."""
    title = f"IIC, paper preset, width {width}, {size} x {size}, batch 10"
    table = Table(title=f"{title}; an epoch: {training} images, {validation} for validation ({rounds} rounds)")
    for column in ("", "median s", "min s", "max s", "ratio to the two passes"):
        table.add_column(column, justify="left" if not column else "right")
    device = resolve_device("auto")
    with (
        tempfile.TemporaryDirectory() as folder,
        Dataset(noise_dataset(Path(folder), size, training, validation)) as dataset,
    ):
        config = TrainIICConfig(width=width)
        precision = resolve_precision("auto", device)
        method = IIC(dataset, config, device)
        network = build_network(config, dataset, method.heads).train()
        network.to(device=device, memory_format=torch.channels_last)
        optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-5)
        batch = method.draw(0, 0)
        images = batch.images.images.to(device)
        maps = [torch.rand(10, count, size, size, device=device).softmax(1) for count in method.heads.values()]
        valid = torch.ones_like(images[:, :1])

        def passes(_: int) -> None:
            optimizer.zero_grad(set_to_none=True)
            with precision.autocast():
                total = sum(logits.float().mean() for _ in range(2) for logits in network(images).values())
            torch.as_tensor(total).backward()

        def step(index: int) -> None:
            network.train()
            losses = method.loss(network, method.draw(*divmod(index, method.epoch_steps)), precision)
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            optimizer.step()
            float(losses["total"].detach())

        def views(_: int) -> None:
            view = batch.view
            view.of(images)
            for one in maps:
                view.geometry.inverse().warp(one)
            view.geometry.inverse().valid_mask(view.geometry.valid_mask(valid))

        def information(_: int) -> None:
            for one in maps:
                mutual_information_loss(one.requires_grad_(), one, valid).backward()

        def epoch(index: int) -> None:
            for position in range(method.epoch_steps):
                step(index * method.epoch_steps + position)
            network.eval()
            method.validate(network, precision)

        rows = {
            f"two forward and backward passes, {precision.name}": (median_seconds(passes, rounds), 1),
            "a step": (median_seconds(step, rounds), 1),
            "of it reading and drawing": (median_seconds(lambda index: method.draw(0, index % 2), rounds), 1),
            "of it views and alignment, forward": (median_seconds(views, rounds), 1),
            "of it mutual information of both heads": (median_seconds(information, rounds), 1),
            f"an epoch of {method.epoch_steps} steps": (median_seconds(epoch, max(2, rounds // 4)), method.epoch_steps),
        }
    base = next(iter(rows.values()))[0][1]
    for name, ((low, middle, high), steps) in rows.items():
        table.add_row(name, f"{middle:.4f}", f"{low:.4f}", f"{high:.4f}", f"{middle / base / steps:.2f}")
    return table


if __name__ == "__main__":
    from rich.console import Console

    Console().print(measure(64, 128, 4))
