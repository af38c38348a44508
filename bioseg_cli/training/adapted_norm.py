"""Batch-norm statistics of all training images, for a control whose gain is not that of adapted statistics.

A training with a consistency sees unlabelled images, and they feed half of the statistics that prediction uses. A
network normalised for its images predicts better, and has learnt nothing by it. With `--norm-images all` the statistics
of every saved state are estimated anew when the training is over, on all training images, labelled or not, without a
label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bioseg_cli.compute.device import Precision
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.directory import RunDirectory


@torch.no_grad()
def estimate_statistics(network: UNet, batches: Iterator[Tensor], precision: Precision) -> int:
    """Replace the running statistics by the mean over batches of those of each batch; returns the number of images.

    Means and variances are made as in training, of batches normalised by their own, but each image counts alike. What
    the statistics were before is of no account.

    Args:
        network: in evaluation mode before and after; its weights stay.
        batches: images (B, C, H, W).
        precision: with the device.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    for images in batches:
        seen += len(images)
        for norm in norms:
            # The first batch replaces what stands there, and each image then has the same weight.
            norm.momentum = len(images) / seen
        with precision.autocast():
            network(images.to(precision.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return seen


def adapt_states(
    run: RunDirectory, states: Sequence[str], batches: Callable[[], Iterator[Tensor]], precision: Precision
) -> int:
    """Estimate the statistics of saved states anew, and save them; returns the number of images.

    Args:
        run: whose saved states are changed; done twice, it leaves what it left once.
        states: their names.
        batches: gives the images of all batches, once for each state.
        precision: with the device.
    """
    count = 0
    for state in states:
        model = load_model(run.checkpoint(state), precision.device)
        network: UNet = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        count = estimate_statistics(network, batches(), precision)
        save_model(model.path, network.state_dict(), model.card)
    return count
