"""The machine, and the most it multiplies: a large matrix product, and the best of several 3x3 convolutions.

On CUDA, float32 convolutions may use TF32 where matrix products do not, as is PyTorch's default.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from benchmarks.timing import Action, Rounds, interleaved, printer, show, table_of
from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.runs.manifest import environment

GEMM_SIDE = {"cpu": 2048}
CONVOLUTIONS = ((64, 256), (128, 128), (256, 64), (512, 32))
"""Channels in and out, and height and width, of the convolutions that are tried; a batch of 2 on a CPU."""
LARGER = 16
"""A GPU needs this many times as much work to be busy."""


def working_type(precision: Precision) -> torch.dtype:
    """What the network multiplies in."""
    return torch.bfloat16 if precision.name == "bf16" else torch.float32


def ceiling_actions(precision: Precision) -> dict[str, tuple[Action, float]]:
    """Forward multiplications at their best, with their floating-point operations."""
    device, dtype = precision.device, working_type(precision)
    side = GEMM_SIDE.get(device.type, 8192)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    actions: dict[str, tuple[Action, float]] = {
        f"matrix product, {side} x {side}": (lambda _: matrix @ matrix, 2.0 * side**3)
    }
    batch = 2 if device.type == "cpu" else 2 * LARGER
    for channels, pixels in CONVOLUTIONS:
        images = torch.randn(batch, channels, pixels, pixels, device=device, dtype=dtype)
        images = images.to(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        action = partial(_convolve, images, weight.to(memory_format=torch.channels_last))
        operations = 2.0 * batch * (channels * pixels) ** 2 * 9
        actions[f"3x3 convolution, {channels} channels, {pixels} x {pixels}"] = action, operations
    return actions


@torch.no_grad()
def _convolve(images: Tensor, weight: Tensor, _: int) -> None:
    F.conv2d(images, weight, padding=1)


def ceiling_rows(table: Table, times: dict[str, Rounds], work: dict[str, float]) -> None:
    """Add the matrix product and the best convolution, with TFLOP/s last, to a table of four columns or more."""
    best = max((name for name in work if "convolution" in name), key=lambda name: work[name] / times[name].min())
    for name in (next(name for name in work if "matrix" in name), best):
        blank = [""] * (len(table.columns) - 4)
        rate = show(work[name] / times[name] / 1e12)
        table.add_row(f"ceiling: {name}", *blank, f"{work[name] / 1e9:.0f}", show(times[name]), rate)


def describe() -> str:
    """Processor or GPU, cores, threads, versions."""
    found, device = environment(), resolve_device("auto")
    parts = [found["processor"], f"{found['cores']} cores, {torch.get_num_threads()} threads"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join([*parts, f"torch {found['packages']['torch']}"])


def measure(rounds: int = 5) -> Table:
    """What the machine multiplies at most, in float32 and in what bioseg chooses."""
    device = resolve_device("auto")
    chosen = resolve_precision("auto", device)
    table = table_of(f"Ceiling on {device}; bioseg takes {chosen.reason}", "", "precision", "GFLOP", "s", "TFLOP/s")
    for name in dict.fromkeys((chosen.name, "fp32")):
        actions = ceiling_actions(resolve_precision(name, device))  # type: ignore[arg-type]
        times = interleaved({key: action for key, (action, _) in actions.items()}, rounds, device)
        for key, (_, work) in actions.items():
            table.add_row(key, name, f"{work / 1e9:.0f}", show(times[key]), show(work / times[key] / 1e12))
    return table


if __name__ == "__main__":
    printer().print(describe(), measure(), sep="\n")
