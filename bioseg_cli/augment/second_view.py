"""The second view of an image that IIC pairs with the image itself: what is drawn, apart from what it does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.augment.affine import Affine
from bioseg_cli.config import ViewName

FLIP_PROBABILITY = 0.5

GAIN = 1.5
"""Grey levels are multiplied by a factor between 1 / GAIN and GAIN, as another exposure would."""
GAMMA = 1.5
"""They are raised to a power between 1 / GAMMA and GAMMA."""
OFFSET = 0.2
NOISE = 0.5
"""A constant and Gaussian noise are added, up to these shares of the image's own standard deviation: on a fixed scale
they would drown images that fill a small part of the range, as those of 16 bit often do."""


@dataclass(frozen=True)
class Exposure:
    """How B images are taken again: another gain and background, another response curve, more noise."""

    gain: Tensor
    """(B,)"""
    offset: Tensor
    """(B,) in standard deviations of the image."""
    gamma: Tensor
    """(B,)"""
    noise: Tensor
    """(B,) standard deviation, in standard deviations of the image."""
    noise_seed: int

    def apply(self, images: Tensor) -> Tensor:
        """Change (B, C, H, W) images in [0, 1]; they stay in [0, 1]."""
        gain, offset, gamma, noise = (
            values.to(images)[:, None, None, None] for values in (self.gain, self.offset, self.gamma, self.noise)
        )
        spread = images.std(dim=(1, 2, 3), keepdim=True)
        # Drawn on the CPU, so that every device sees the same noise.
        generator = torch.Generator().manual_seed(self.noise_seed)
        grain = torch.randn(images.shape, generator=generator).to(images)
        exposed = (gain * images + offset * spread).clamp(0, 1) ** gamma
        return (exposed + noise * spread * grain).clamp(0, 1)


@dataclass(frozen=True)
class SecondView:
    """A drawn second view of B images: first the exposure, then the geometry."""

    geometry: Affine
    exposure: Exposure | None

    def of(self, images: Tensor) -> Tensor:
        """The second view of (B, C, H, W) images in [0, 1]; zeros come in from outside the frame."""
        return self.geometry.warp(images if self.exposure is None else self.exposure.apply(images))


def draw_second_view(kinds: Collection[ViewName], batch: int, random: np.random.Generator) -> SecondView:
    """Draw what `kinds` name: a rotation by 0 to 360 degrees, a flip with probability 0.5, another exposure."""
    degrees = random.uniform(0, 360, batch) if "rotation" in kinds else np.zeros(batch)
    flip = random.random(batch) < FLIP_PROBABILITY if "flip" in kinds else np.zeros(batch, dtype=bool)
    exposure = None
    if "photometric" in kinds:
        exposure = Exposure(
            gain=torch.from_numpy(GAIN ** random.uniform(-1, 1, batch)),
            offset=torch.from_numpy(random.uniform(-OFFSET, OFFSET, batch)),
            gamma=torch.from_numpy(GAMMA ** random.uniform(-1, 1, batch)),
            noise=torch.from_numpy(random.uniform(0, NOISE, batch)),
            noise_seed=int(random.integers(2**63)),
        )
    return SecondView(Affine.similarity(torch.from_numpy(degrees), flip=torch.from_numpy(flip)), exposure)
