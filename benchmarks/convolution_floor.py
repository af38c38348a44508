"""The floor of a training step: its convolutions alone.

`python -m benchmarks.convolution_floor [--method uda|iic] [--width 16] [--size 128] [--rounds 5]`

Every convolution and transposed convolution that one real step computes is recorded by hooks: shapes, layout, whether
anything is learnt from it, and whether its input needs a gradient. Exactly these are then computed on random data in
the same precision and layout, with weights cast beforehand: forward, and backward to the weights and, where the step
needed it, to the input. Not in it: normalisation, activation, pooling, concatenation, casts, losses, the optimiser.
One tensor stands for all of the same shape, and each convolution's backward pass follows its forward pass at once, so
the floor is, if anything, a little lower than what can be reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

from benchmarks import machine
from benchmarks.timing import interleaved, printer, show, table_of
from benchmarks.training import Training, training_on_noise
from bioseg_cli.training.iic import IIC
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

Shape = tuple[int, ...]


@dataclass
class Convolution:
    """One call of a convolution in a training step."""

    transposed: bool
    input_shape: Shape
    output_shape: Shape
    weight_shape: Shape
    bias: bool
    stride: Shape
    padding: Shape
    groups: int
    layout: torch.memory_format
    input_gradient: bool
    """Whether what it is given needs a gradient: not so for the image itself."""
    learnt_from: bool = False
    """Whether a gradient came back to it."""

    @property
    def kind(self) -> str:
        """Size of the kernel, and whether it is transposed."""
        height, width = self.weight_shape[2:]
        return f"{height}x{width} transposed" if self.transposed else f"{height}x{width}"

    @property
    def forward_work(self) -> float:
        """Floating-point operations of the forward pass: two for each multiplication."""
        positions = self.input_shape if self.transposed else self.output_shape
        each = self.weight_shape[1:] if not self.transposed else (self.weight_shape[1], *self.weight_shape[2:])
        channels = self.weight_shape[0]
        product = 2.0 * positions[0] * positions[2] * positions[3] * channels
        for length in each:
            product *= length
        return product

    @property
    def work(self) -> float:
        """The same with the backward pass, which is as much for the weights, and again for the input."""
        return self.forward_work * (1 + self.learnt_from * (1 + self.input_gradient))


def record_convolutions(training: Training, batch: Any) -> list[Convolution]:
    """The convolutions of a step on `batch`, in order; the network's gradients are lost."""
    calls: list[Convolution] = []

    def hook(module: nn.Conv2d | nn.ConvTranspose2d, given: tuple[Tensor, ...], output: Tensor) -> None:
        last = given[0].is_contiguous(memory_format=torch.channels_last)
        call = Convolution(
            transposed=isinstance(module, nn.ConvTranspose2d),
            input_shape=tuple(given[0].shape),
            output_shape=tuple(output.shape),
            weight_shape=tuple(module.weight.shape),
            bias=module.bias is not None,
            stride=tuple(module.stride),
            padding=tuple(int(each) for each in module.padding),
            groups=module.groups,
            layout=torch.channels_last if last else torch.contiguous_format,
            input_gradient=torch.is_grad_enabled() and given[0].requires_grad,
        )
        calls.append(call)
        if output.requires_grad:
            output.register_hook(lambda _: setattr(call, "learnt_from", True))

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    handles = [module.register_forward_hook(hook) for module in training.network.modules() if isinstance(module, kinds)]
    try:
        training.method.loss(training.network, batch, training.precision)["total"].backward()
    finally:
        for handle in handles:
            handle.remove()
        training.optimizer.zero_grad(set_to_none=True)
    return calls


class Floor:
    """Recorded convolutions, ready to be computed on random data.

    Args:
        calls: see `record_convolutions`.
        dtype: what is multiplied in.
        device: where.
    """

    def __init__(self, calls: Sequence[Convolution], dtype: torch.dtype, device: torch.device) -> None:
        self.calls = calls
        self._dtype = dtype
        self._device = device
        self._tensors: dict[tuple[Shape, torch.memory_format], Tensor] = {}

    def _random(self, shape: Shape, layout: torch.memory_format) -> Tensor:
        if (shape, layout) not in self._tensors:
            values = torch.randn(shape, device=self._device, dtype=self._dtype)
            self._tensors[shape, layout] = values.to(memory_format=layout)
        return self._tensors[shape, layout]

    def step(self, _: int = 0, *, kind: str | None = None) -> None:
        """Forward, and backward where there was one; all of them, or those of one kind."""
        for call in self.calls:
            if kind in (None, call.kind):
                self._compute(call, call.learnt_from)

    def forward(self, _: int = 0) -> None:
        """The forward passes alone."""
        for call in self.calls:
            self._compute(call, False)

    def _compute(self, call: Convolution, backward: bool) -> None:
        layout = call.layout
        images = self._random(call.input_shape, layout).detach()
        weight = self._random(call.weight_shape, torch.channels_last).detach().requires_grad_(backward)
        bias = None
        if call.bias:
            bias = self._random((call.output_shape[1],), torch.contiguous_format).detach()
        images.requires_grad_(backward and call.input_gradient)
        function = F.conv_transpose2d if call.transposed else F.conv2d
        output = function(images, weight, bias, stride=call.stride, padding=call.padding, groups=call.groups)
        if backward:
            wanted = [weight, images] if call.input_gradient else [weight]
            torch.autograd.grad(output, wanted, self._random(call.output_shape, layout))


def measure(training: Training, title: str, rounds: int) -> Table:
    """A table of the convolutions of one step: work, time and rate, beside what the machine can do."""
    floor = Floor(
        record_convolutions(training, training.draw(0)), machine.working_type(training.precision), training.device
    )
    ceilings = machine.ceiling_actions(training.precision)
    kinds = list(dict.fromkeys(call.kind for call in floor.calls))
    times = interleaved(
        {
            "step": floor.step,
            "forward": floor.forward,
            **{kind: partial(floor.step, kind=kind) for kind in kinds},
            **{name: action for name, (action, _) in ceilings.items()},
        },
        rounds,
        training.device,
    )
    table = table_of(f"Convolutions of {title} ({rounds} rounds)", "", "calls", "GFLOP", "s", "TFLOP/s")

    def row(name: str, calls: Sequence[Convolution], work: float, key: str) -> None:
        seconds = times["step"] - times["forward"] if key == "backward" else times[key]
        table.add_row(name, str(len(calls)), show(work / 1e9), show(seconds), show(work / seconds / 1e12))

    forward = sum(call.forward_work for call in floor.calls)
    total = sum(call.work for call in floor.calls)
    row("all: the floor", floor.calls, total, "step")
    row("forward", floor.calls, forward, "forward")
    row("backward", [call for call in floor.calls if call.learnt_from], total - forward, "backward")
    for kind in kinds:
        calls = [call for call in floor.calls if call.kind == kind]
        row(kind, calls, sum(call.work for call in calls), kind)
    machine.ceiling_rows(table, times, {name: work for name, (_, work) in ceilings.items()})
    return table


def measure_method(name: Literal["uda", "iic"], width: int, size: int, rounds: int) -> Table:
    """The table of a UDA step with a batch of 1 + 1, or of an IIC step with a batch of 10, on generated images."""
    kinds: dict[str, tuple[Any, TrainConfig]] = {
        "uda": (UDA, TrainUDAConfig(width=width, labels=2)),
        "iic": (IIC, TrainIICConfig(width=width, crop=size)),
    }
    kind, config = kinds[name]
    with training_on_noise(kind, config, size, images=20, steps=1) as training:
        title = f"a step: {training.method.name}, width {width}, {size} x {size}, batch {config.batch_size}"
        return measure(training, f"{title}, {training.precision.name}", rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("uda", "iic"), default="uda")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    console.print(measure_method(options.method, options.width, options.size, options.rounds))


if __name__ == "__main__":
    main()
