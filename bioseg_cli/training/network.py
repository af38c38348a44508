"""The network of a training: how it begins, and what is saved of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.model.unet import UNet
from bioseg_cli.training.settings import TrainConfig


def build_network(
    config: TrainConfig, dataset: Dataset, heads: Mapping[str, int], training_heads: frozenset[str] = frozenset()
) -> UNet:
    """The network of a configuration, its weights drawn from the configuration's seed.

    Args:
        config: settings.
        dataset: whose images it is for.
        heads: output channels of each.
        training_heads: those that only the training needs. All other weights, and the random state after, are those of
            a network without them: a run and its control begin alike.
    """
    channels = dataset.image_shape[0]
    torch.manual_seed(config.seed)
    network = UNet(config.architecture(channels, dict(heads)))
    if training_heads:
        kept = {name: count for name, count in heads.items() if name not in training_heads}
        torch.manual_seed(config.seed)
        network.load_state_dict(UNet(config.architecture(channels, kept)).state_dict(), strict=False)
    return network


def saved_part(network: UNet, training_heads: frozenset[str]) -> tuple[UNetConfig, dict[str, Tensor]]:
    """Architecture and tensors of a network without the heads that only its training needs."""
    heads = {name: count for name, count in network.config.heads.items() if name not in training_heads}
    left_out = tuple(f"heads.{name}." for name in training_heads)
    tensors = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(left_out)}
    return network.config.model_copy(update={"heads": heads}), tensors
