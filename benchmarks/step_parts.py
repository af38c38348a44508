"""What a training step of any method spends its time on, beside its convolutions alone and beside a plain peer.

The parts, none of which copies what a method does:

- load: drawing a batch: positions, crops, random parameters, normalisation; the images are in memory, as from the
  second epoch on. "read" is the same with every image read from the file and decoded, as in the first epoch.
- network: the passes that the method made of the network in a real step, on the same images and with the same heads
  learnt from, forward and backward, with the mean of the logits as a loss.
- augment and losses: the method's own loss, forward and backward, with a stand-in for the network that gives the logits
  of a real step at no cost. Augment is what of it passes in moving and changing images, predictions and valid masks;
  losses is what remains, the backward pass through the alignment included.
- optimiser: its step alone.
- rest: the step without these parts: what they lose or gain by running together.

A step reads its batch before it computes; the training loop reads ahead in a thread, which hides that where a core is
free. The share that is not the network counts the optimiser too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.convolution_floor import Floor, record_convolutions
from benchmarks.machine import working_type
from benchmarks.timing import Action, Rounds, interleaved, show, show_share, synchronise, table_of
from benchmarks.training import Training
from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.policy import StrongView
from bioseg_cli.augment.second_view import SecondView
from bioseg_cli.model.unet import own_batch_statistics

MOVING = (
    *((Affine, name) for name in ("warp", "valid_mask", "after", "inverse")),
    (StrongView, "colour"),
    (SecondView, "of"),
)
"""What counts as augmentation: where a method changes or moves images, predictions and masks, or works out how."""


@dataclass
class Pass:
    """One call of the network in a step."""

    images: Tensor
    gradient: bool
    """Whether gradients were recorded."""
    own_statistics: bool
    """Whether batch norm used the batch's own statistics and left the running ones."""
    logits: dict[str, Tensor]
    learnt_from: set[str] = field(default_factory=set)
    """The heads that a gradient came back to."""


def record_passes(training: Training, batch: Any) -> list[Pass]:
    """The calls of the network in a step on `batch`, in order; the network's gradients are lost."""
    passes: list[Pass] = []

    def hook(network: nn.Module, given: tuple[Tensor, ...], logits: dict[str, Tensor]) -> None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        own = any(not norm.track_running_stats for norm in norms)
        kept = {head: output.detach().clone() for head, output in logits.items()}
        one_pass = Pass(given[0].detach(), torch.is_grad_enabled(), own, kept)
        passes.append(one_pass)
        for head, output in logits.items():
            if output.requires_grad:
                output.register_hook(lambda _, head=head: one_pass.learnt_from.add(head))

    handle = training.network.register_forward_hook(hook)
    try:
        training.method.loss(training.network, batch, training.precision)["total"].backward()
    finally:
        handle.remove()
        training.optimizer.zero_grad(set_to_none=True)
    return passes


class StandIn(nn.Module):
    """Answers the calls of a step with logits that were computed beforehand."""

    def __init__(self, passes: list[Pass]) -> None:
        super().__init__()
        self._passes = passes
        self._next = 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        answer = self._passes[self._next % len(self._passes)]
        self._next += 1
        gradient = torch.is_grad_enabled()
        return {head: logits.detach().requires_grad_(gradient) for head, logits in answer.logits.items()}


class Clock:
    """Adds up the seconds that pass in some methods of some classes, the outermost call counting."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device
        self._inside = False

    @contextlib.contextmanager
    def watch(self, places: Sequence[tuple[type, str]]) -> Iterator[None]:
        """Count the calls of these methods while the context is open."""
        with contextlib.ExitStack() as patches:
            for owner, name in places:
                patches.enter_context(mock.patch.object(owner, name, self._timed(getattr(owner, name))))
            yield

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            if self._inside:
                return function(*given, **named)
            self._inside = True
            synchronise(self._device)
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                synchronise(self._device)
                self.seconds += time.perf_counter() - start
                self._inside = False

        return timed


class Parts:
    """The parts of a training's step as actions to be timed."""

    def __init__(self, training: Training) -> None:
        self.training = training
        first = training.draw(0)
        self._passes = record_passes(training, first)
        self._floor = Floor(record_convolutions(training, first), working_type(training.precision), training.device)
        self._stand_in = StandIn(self._passes)
        self._batches = [training.draw(number) for number in range(training.steps)]
        self.augment: list[float] = []
        """Seconds of augmentation in every call of `_outside`."""

    def actions(self) -> dict[str, Action]:
        """In an order in which the optimiser finds gradients."""
        return {
            "step": self.training.step,
            "load": self.training.draw,
            "read": self.training.read,
            "outside": self._outside,
            "network": self._network,
            "optimiser": lambda _: self.training.optimizer.step(),
            "floor": self._floor.step,
        }

    def _outside(self, number: int) -> None:
        clock = Clock(self.training.device)
        batch = self._batches[number % len(self._batches)]
        with clock.watch(MOVING):
            losses = self.training.method.loss(self._stand_in, batch, self.training.precision)  # type: ignore[arg-type]
        losses["total"].backward()
        self.augment.append(clock.seconds)

    def _network(self, _: int) -> None:
        network = self.training.network
        self.training.optimizer.zero_grad(set_to_none=True)
        means = []
        for one_pass in self._passes:
            statistics = own_batch_statistics(network) if one_pass.own_statistics else contextlib.nullcontext()
            with self.training.precision.autocast(), torch.set_grad_enabled(one_pass.gradient), statistics:
                logits = network(one_pass.images)
            means += [logits[head].float().mean() for head in sorted(one_pass.learnt_from)]
        torch.stack(means).sum().backward()

    @property
    def passes(self) -> str:
        """The passes in words."""
        return ", ".join(
            f"{len(one_pass.images)} {'forward and backward' if one_pass.learnt_from else 'forward'}"
            for one_pass in self._passes
        )


def measure_parts(training: Training, plain: Action, title: str, rounds: int, *, warm_up: int = 2) -> Table:
    """A table of the step, its parts, its floor and the plain step, with shares of the step.

    Args:
        training: what is measured.
        plain: a step of the plain peer, float32.
        title: of the table.
        rounds: each runs everything once, in turn.
        warm_up: rounds before, which do not count.
    """
    parts = Parts(training)
    times = interleaved({**parts.actions(), "plain": plain}, rounds, training.device, warm_up=warm_up)
    step, network, plain_step = times["step"], times["network"], times["plain"]
    augment = np.array(parts.augment[warm_up:])
    known: dict[str, Rounds] = {
        "load": times["load"],
        "augment: views and alignment": augment,
        "network, forward and backward": network,
        "losses, forward and backward": times["outside"] - augment,
        "optimiser": times["optimiser"],
    }
    table = table_of(f"{title}, {training.precision.name} ({rounds} rounds)", "", "s", "share of the step")
    table.caption = f"passes of the network, images each: {parts.passes}"
    table.add_row("step", show(step), "")
    for name, seconds in {**known, "rest: step - sum": step - sum(known.values())}.items():
        table.add_row(f"  {name}", show(seconds), show_share(seconds / step))
    table.add_row("load where images are read and decoded", show(times["read"]), show_share(times["read"] / step))
    table.add_row("not the network: 1 - network / step", "", show_share(1 - network / step))
    table.add_row("floor: the convolutions alone", show(times["floor"]), show_share(times["floor"] / step))
    table.add_row("plain step, fp32", show(plain_step), "")
    table.add_row("ratio plain / bioseg", show(plain_step / step), "")
    table.add_row("ratio bioseg / floor", show(step / times["floor"]), "")
    return table
