"""MONAI's sliding window over an image in memory, as its users write it: float32, contiguous, in evaluation mode."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor, nn

INSTALL = "MONAI is not installed and is left out; install it with: pip install -c constraints.txt -e '.[bench]'"


def installed() -> bool:
    return importlib.util.find_spec("monai") is not None


@torch.inference_mode()
def predict(network: nn.Module, image: Tensor, roi: int, overlap: float, batch: int) -> Tensor:
    """Labels (H, W) of a normalised image (1, C, H, W)."""
    from monai.inferers import sliding_window_inference

    logits = sliding_window_inference(
        image, (roi, roi), batch, lambda tiles: network(tiles)["main"], overlap=overlap, mode="constant"
    )
    assert isinstance(logits, Tensor)
    return logits.argmax(dim=1)[0]
