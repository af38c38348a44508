"""Mutual information over dense displacements: by the Fourier transform, by a loop, and by a convolution.

`python -m benchmarks.iic_shifts`: forward and backward of the loss in float32 on the CPU, the three in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from benchmarks.timing import interleaved, printer, show, table_of
from bioseg_cli.training.losses import displaced_joints, information_of

Form = Callable[[Tensor, Tensor, Tensor, int], Tensor]
CASES = ((2, 1), (2, 10), (10, 3))
"""Clusters, and displacements in pixels."""


def by_loop(first: Tensor, second: Tensor, valid: Tensor, shift: int) -> Tensor:
    """A matrix product for each displacement."""
    height, width = first.shape[2:]
    padded, second = F.pad(first * valid, (shift, shift, shift, shift)), second * valid
    window = range(2 * shift + 1)
    rows = [
        torch.stack(
            [torch.einsum("bkhw,blhw->kl", padded[:, :, y : y + height, x : x + width], second) for x in window]
        )
        for y in window
    ]
    return torch.stack(rows)


def by_convolution(first: Tensor, second: Tensor, valid: Tensor, shift: int) -> Tensor:
    """The second map as the kernel, as in the original implementation."""
    maps = [(probabilities * valid).transpose(0, 1) for probabilities in (first, second)]
    return F.conv2d(maps[0], maps[1], padding=shift).permute(2, 3, 0, 1)


def measure(clusters: int, shift: int, rounds: int, *, batch: int = 10, size: int = 128) -> Table:
    """A table of forward and backward passes in float32, with the largest error of a joint sum."""
    title = f"Mutual information over displacements up to {shift} px, {batch} x {clusters} x {size} x {size}"
    table = table_of(f"{title} ({rounds} rounds)", "", "s", "ratio to bioseg", "largest relative error")
    torch.manual_seed(0)
    first, second = (torch.randn(batch, clusters, size, size).mul(3).softmax(1) for _ in range(2))
    valid = torch.ones(batch, 1, size, size)
    exact = by_loop(first.double(), second.double(), valid.double(), shift)
    forms = {"bioseg, Fourier transform": displaced_joints, "convolution": by_convolution, "loop": by_loop}

    def both_ways(form: Form, _: int) -> None:
        maps = [probabilities.clone().requires_grad_() for probabilities in (first, second)]
        (-information_of(form(*maps, valid, shift)).mean()).backward()

    actions = {name: partial(both_ways, form) for name, form in forms.items()}
    times = interleaved(actions, rounds, torch.device("cpu"))
    base = next(iter(times.values()))
    for name, form in forms.items():
        error = float(((form(first, second, valid, shift) - exact).abs() / exact).max())
        table.add_row(name, show(times[name]), show(times[name] / base), f"{error:.0e}")
    return table


if __name__ == "__main__":
    for clusters, shift in CASES:
        printer().print(measure(clusters, shift, 10))
