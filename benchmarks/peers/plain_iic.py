"""An IIC step for segmentation in plain PyTorch, as most would write it.

float32, contiguous, a forward pass for each of the two views, rotation with scipy on single images, the loss of one
head as a matrix product over all pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.plain_views import rotate, rotate_back, tensor


def step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: np.ndarray, head: str, random: np.random.Generator
) -> float:
    """One update of one head on (B, H, W) images."""
    device = next(network.parameters()).device
    degrees = random.uniform(0, 360, len(images))
    turned = np.stack([rotate(image, angle, 1) for image, angle in zip(images, degrees, strict=True)])

    first = torch.softmax(network(tensor(images, device))[head], 1)
    second = torch.softmax(network(tensor(turned, device))[head], 1)
    aligned = rotate_back(second, degrees.tolist())
    inside = rotate_back(torch.ones_like(second[:, :1]), degrees.tolist())
    loss = iid_loss(first * inside, aligned)

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def iid_loss(first: Tensor, second: Tensor) -> Tensor:
    """Negative mutual information of two maps (B, K, H, W) of cluster probabilities."""
    joint = first.movedim(1, 0).flatten(1) @ second.movedim(1, 0).flatten(1).T
    joint = (joint + joint.T) / 2
    joint = (joint / joint.sum()).clamp(min=1e-9)
    rows, columns = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    return -(joint * (joint.log() - rows.log() - columns.log())).sum()
