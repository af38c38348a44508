"""A UDA step for segmentation in plain PyTorch, as most would write it.

float32, contiguous, one forward pass for each of the three views, augmentation with scipy on single images.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.plain_views import rotate, rotate_back, tensor


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    labelled: np.ndarray,
    mask: np.ndarray,
    unlabelled: np.ndarray,
    random: np.random.Generator,
) -> float:
    """One update on one labelled (H, W) image with its mask and one unlabelled (H, W) image."""
    device = next(network.parameters()).device
    weak, strong = random.uniform(-15, 15), random.uniform(0, 360)
    image = tensor(rotate(labelled, weak, 1)[None], device)
    target = torch.from_numpy(rotate(mask, weak, 0).astype(np.int64))[None].to(device)
    original = rotate(unlabelled, weak, 1)
    augmented = np.clip(1 - rotate(original, strong, 1), 0, 1)

    supervised = dice(torch.softmax(network(image)["main"], 1), target)
    with torch.no_grad():
        expected = torch.softmax(network(tensor(original[None], device))["main"], 1)
    predicted = torch.softmax(network(tensor(augmented[None], device))["main"], 1)
    aligned = rotate_back(predicted, [strong])
    unsupervised = F.kl_div(aligned.clamp(min=1e-7).log(), expected, reduction="none").sum(1).mean()

    loss = supervised + unsupervised
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def dice(probabilities: Tensor, target: Tensor) -> Tensor:
    truth = F.one_hot(target, probabilities.shape[1]).movedim(-1, 1).float()
    overlap = (probabilities * truth).sum((2, 3))
    sizes = probabilities.square().sum((2, 3)) + truth.sum((2, 3))
    return (1 - (2 * overlap + 1e-5) / (sizes + 1e-5)).mean()
