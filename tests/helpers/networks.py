"""A small network on the processor."""

from __future__ import annotations

import torch

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import UNetConfig
from bioseg_cli.model.unet import UNet

CPU = torch.device("cpu")


FP32 = resolve_precision("fp32", CPU)


def small_network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=2, depth=2)).train()
