"""What each choice behind the speed of the network gives, measured one at a time.

`python -m benchmarks.choices [--width 64] [--size 512] [--rounds 4] [--compile]`. Batches of 1, with the mean of the
logits as a loss. --compile adds `torch.compile`, which bioseg does not use: it needs a C++ compiler and half a minute
for each graph, of which a training has several.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from functools import partial

import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks import machine
from benchmarks.timing import Action, interleaved, printer, show, table_of
from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.config import UNetConfig
from bioseg_cli.model.unet import UNet, folded
from bioseg_cli.training.optimisation import OPTIMIZERS


class Choices:
    """The same network in several forms, and what is done with them."""

    def __init__(self, width: int, size: int) -> None:
        device = resolve_device("auto")
        self.chosen = resolve_precision("auto", device)
        self.fp32 = resolve_precision("fp32", device)
        torch.manual_seed(0)
        plain = UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=width)).to(device)
        self.contiguous = copy.deepcopy(plain).train()
        self.last = copy.deepcopy(plain).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.views = [torch.rand(1, 1, size, size, device=device) for _ in range(3)]

    def training_pass(self, network: nn.Module, precision: Precision) -> None:
        """Forward and backward on one image."""
        network.zero_grad(set_to_none=True)
        self._loss(network, self.views[0], precision).backward()

    def three_passes(self) -> None:
        """A UDA step: labelled and strong view forward and backward, weak view forward."""
        self.last.zero_grad(set_to_none=True)
        with torch.no_grad():
            self._loss(self.last, self.views[1], self.chosen)
        (
            self._loss(self.last, self.views[0], self.chosen) + self._loss(self.last, self.views[2], self.chosen)
        ).backward()

    def joint_pass(self) -> None:
        """The same with labelled and weak view in one pass, whose batch norm ties them: backward through both."""
        self.last.zero_grad(set_to_none=True)
        joint = self._loss(self.last, torch.cat(self.views[:2]), self.chosen)
        (joint + self._loss(self.last, self.views[2], self.chosen)).backward()

    def prediction(self, network: nn.Module, precision: Precision) -> None:
        """Forward on one image, in evaluation mode."""
        with torch.inference_mode():
            self._loss(network, self.views[0], precision)

    def _loss(self, network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
        with precision.autocast():
            logits: Tensor = network(images)["main"]
        return logits.float().mean()


def measure(width: int, size: int, rounds: int, *, compiled: bool = False) -> Table:
    """Seconds of each alternative, and their ratio to bioseg's way, which is the first of its kind."""
    choices = Choices(width, size)
    table = table_of(f"width {width}, {size} x {size} ({rounds} rounds)", "", "s", "ratio to bioseg's")
    for kind, actions in (
        ("forward and backward", training_passes(choices, compiled=compiled)),
        ("passes of a UDA step", uda_passes(choices)),
        ("Adam", adams(choices.last)),
        ("prediction", predictions(choices, compiled=compiled)),
    ):
        times = interleaved(actions, rounds, choices.chosen.device)
        table.add_section()
        for name, seconds in times.items():
            table.add_row(f"{kind}: {name}", show(seconds), show(seconds / next(iter(times.values()))))
    return table


def training_passes(choices: Choices, *, compiled: bool) -> dict[str, Action]:
    """Precision, layout, and the compiled graph."""
    chosen, fp32 = choices.chosen, choices.fp32
    last, contiguous = choices.last, choices.contiguous
    actions: dict[str, Action] = {
        f"{chosen.name}, channels last": lambda _: choices.training_pass(last, chosen),
        f"{chosen.name}, contiguous": lambda _: choices.training_pass(contiguous, chosen),
        "fp32, channels last": lambda _: choices.training_pass(last, fp32),
        "fp32, contiguous": lambda _: choices.training_pass(contiguous, fp32),
    }
    if compiled:
        graph = torch.compile(last, dynamic=False)
        actions[f"{chosen.name}, channels last, compiled"] = lambda _: choices.training_pass(graph, chosen)
    return actions


def uda_passes(choices: Choices) -> dict[str, Action]:
    """A fixed target without a backward pass, or in one batch with the labelled image."""
    return {
        "target without backward": lambda _: choices.three_passes(),
        "labelled and weak in one": lambda _: choices.joint_pass(),
    }


def adams(network: nn.Module) -> dict[str, Action]:
    """The optimiser's step alone, on gradients of zero."""
    kinds = {"fused": OPTIMIZERS["adam"], "torch's default": torch.optim.Adam}
    copies = {name: copy.deepcopy(network) for name in kinds}
    for parameter in itertools.chain.from_iterable(copied.parameters() for copied in copies.values()):
        parameter.grad = torch.zeros_like(parameter)
    optimizers = {name: kind(copies[name].parameters(), lr=1e-5) for name, kind in kinds.items()}
    return {name: partial(_step, optimizer) for name, optimizer in optimizers.items()}


def _step(optimizer: torch.optim.Optimizer, _: int) -> None:
    optimizer.step()


def predictions(choices: Choices, *, compiled: bool) -> dict[str, Action]:
    """Batch norm folded into the convolutions, precision, and the compiled graph."""
    chosen, fp32 = choices.chosen, choices.fp32
    last, contiguous = (copy.deepcopy(network).eval() for network in (choices.last, choices.contiguous))
    fold = folded(last).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    actions: dict[str, Action] = {
        f"{chosen.name}, channels last, folded": lambda _: choices.prediction(fold, chosen),
        f"{chosen.name}, channels last": lambda _: choices.prediction(last, chosen),
        "fp32, channels last, folded": lambda _: choices.prediction(fold, fp32),
        "fp32, contiguous": lambda _: choices.prediction(contiguous, fp32),
    }
    if compiled:
        graph = torch.compile(fold, dynamic=False)
        actions[f"{chosen.name}, channels last, folded, compiled"] = lambda _: choices.prediction(graph, chosen)
    return actions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    console.print(measure(options.width, options.size, options.rounds, compiled=options.compile))


if __name__ == "__main__":
    main()
