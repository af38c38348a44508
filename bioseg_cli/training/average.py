"""An exponential moving average of a network's weights, as UDA evaluates it (Xie et al. 2020, appendix)."""

from __future__ import annotations

import copy

import torch

from bioseg_cli.model.unet import UNet


class WeightAverage:
    """Keeps average = d * average + (1 - d) * weights, with d = min(decay, 1 - 1 / updates).

    The cap makes the first updates count as a plain mean: the average never remembers the random start. Batch-norm
    statistics are averaged along with the weights: an average of weights under the statistics of others is no network.

    One that follows has d = min(decay, (1 + updates) / (10 + updates)): a plain mean is still half of the first, poor
    weights when the network has long been a good one. A teacher cannot wait for that.

    Args:
        network: whose weights they are.
        decay: the largest d.
        follows: whether the first updates soon count for little.

    Attributes:
        network: the averaged network, in evaluation mode.
    """

    def __init__(self, network: UNet, decay: float, *, follows: bool = False) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.follows = follows

    @torch.no_grad()
    def update(self, network: UNet, updates: int) -> None:
        """Take in the weights after `updates` updates, counted from 1."""
        decay = min(self.decay, (1 + updates) / (10 + updates) if self.follows else 1 - 1 / updates)
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], 1 - decay)
            else:
                average.copy_(current[name])
