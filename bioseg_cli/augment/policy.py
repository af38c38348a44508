"""The weak and the strong augmentation of the study (section 2.3.1): what is drawn, apart from what it does.

`draw_*` takes a generator and returns parameters; applying them is deterministic. So a view can be replayed, shown,
and above all undone: the geometry of a view is one `Affine`, and each view is resampled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.augment import photometric
from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import Capture, draw_capture
from bioseg_cli.config import MAGNITUDE_MAX

WEAK_SCALE = (0.95, 1.05)
WEAK_DEGREES = 15.0
FLIP_PROBABILITY = 0.5

WIDE_SCALE = (0.8, 1.25)
"""Scales of `draw_wide`, which turns by any angle."""

ENHANCE_RANGE = 0.9
"""An enhancement factor at full magnitude is 1 - 0.9 or 1 + 0.9, at magnitude 0 it is 1, the identity."""

DEEP_EQUALIZE_BINS = 4096
"""Grey levels `equalize` tells apart in images of more than 8 bits: 256 would merge most of a 16-bit signal."""

PhotometricName = Literal[
    "autocontrast", "invert", "equalize", "solarize", "contrast", "color", "brightness", "sharpness"
]
PHOTOMETRIC: tuple[PhotometricName, ...] = (
    "autocontrast", "invert", "equalize", "solarize", "contrast", "color", "brightness", "sharpness",
)  # fmt: skip
ROTATION = "rotation"
STRONG = (ROTATION, *PHOTOMETRIC)


@dataclass(frozen=True)
class Operation:
    """One photometric operation with its parameter: a threshold, a factor, or for some none."""

    name: PhotometricName
    parameter: float = 0.0


@dataclass(frozen=True)
class StrongView:
    """A drawn strong augmentation of B images: first the photometric operations, then the rotation.

    Photometric operations see the whole frame, before any corner is rotated out of it: histograms and means are
    of the image, not of the image and black corners.
    """

    operations: tuple[tuple[Operation, ...], ...]
    rotation: Affine
    capture: Capture | None = None
    """Changes that a microscope makes, in place of the operations."""

    def colour(self, images: Tensor, *, deep: bool = False) -> Tensor:
        """Apply the photometric operations to (B, C, H, W) images in [0, 1]; `deep` for more than 8 bits."""
        if self.capture is not None:
            return self.capture.apply(images)
        if not any(self.operations):
            return images
        return torch.stack(
            [_apply(image, operations, deep) for image, operations in zip(images, self.operations, strict=True)]
        )


def draw_weak(batch: int, random: np.random.Generator) -> Affine:
    """Scale 0.95..1.05, rotation within 15 degrees, horizontal flip with probability 0.5."""
    return Affine.similarity(
        degrees=torch.from_numpy(random.uniform(-WEAK_DEGREES, WEAK_DEGREES, batch)),
        scale=torch.from_numpy(random.uniform(*WEAK_SCALE, batch)),
        flip=torch.from_numpy(random.random(batch) < FLIP_PROBABILITY),
    )


def draw_wide(batch: int, random: np.random.Generator) -> Affine:
    """Scale 0.8..1.25, any rotation, flip with probability 0.5: what a field on a slide may look like as well."""
    return Affine.similarity(
        degrees=torch.from_numpy(random.uniform(0, 360, batch)),
        scale=torch.from_numpy(np.exp(random.uniform(np.log(WIDE_SCALE[0]), np.log(WIDE_SCALE[1]), batch))),
        flip=torch.from_numpy(random.random(batch) < FLIP_PROBABILITY),
    )


def draw_strong(batch: int, count: int, random: np.random.Generator) -> StrongView:
    """RandAugment: for each image `count` of the nine operations, with replacement, each of magnitude 1..30.

    Severity grows with magnitude for every operation (some published tables run backwards for Solarize, or have
    their identity in the middle). The rotation is 0..360 degrees whatever the magnitude, as in the study.
    """
    operations: list[tuple[Operation, ...]] = []
    degrees = np.zeros(batch)
    for image in range(batch):
        drawn: list[Operation] = []
        for name in random.choice(STRONG, count).tolist():
            magnitude = int(random.integers(1, MAGNITUDE_MAX, endpoint=True))
            if name == ROTATION:
                degrees[image] += random.uniform(0, 360)
            else:
                sign = 1 if random.random() < 0.5 else -1
                drawn.append(Operation(name, parameter_of(name, magnitude, sign)))
        operations.append(tuple(drawn))
    return StrongView(tuple(operations), Affine.similarity(torch.from_numpy(degrees)))


def draw_strong_capture(batch: int, spread: float, random: np.random.Generator, *, exposure: float = 1.0) -> StrongView:
    """What a microscope changes at full severity, and any rotation; arguments as in `microscopy.draw_capture`."""
    rotation = Affine.similarity(torch.from_numpy(random.uniform(0, 360, batch)))
    return StrongView(((),) * batch, rotation, draw_capture(batch, spread, random, exposure=exposure))


def parameter_of(name: PhotometricName, magnitude: int, sign: int) -> float:
    """The parameter of an operation at a magnitude of 0..30: Solarize's threshold, or an enhancement factor."""
    severity = magnitude / MAGNITUDE_MAX
    if name == "solarize":
        return 1 - severity
    if name in ("contrast", "color", "brightness", "sharpness"):
        return 1 + sign * ENHANCE_RANGE * severity
    return 0.0


_WITH_PARAMETER: dict[str, Callable[[Tensor, float], Tensor]] = {
    "solarize": photometric.solarize,
    "contrast": photometric.contrast,
    "color": photometric.color,
    "brightness": photometric.brightness,
    "sharpness": photometric.sharpness,
}


def _apply(image: Tensor, operations: tuple[Operation, ...], deep: bool) -> Tensor:
    for operation in operations:
        if operation.name == "autocontrast":
            image = photometric.autocontrast(image)
        elif operation.name == "invert":
            image = photometric.invert(image)
        elif operation.name == "equalize":
            image = photometric.equalize(image, DEEP_EQUALIZE_BINS if deep else photometric.EQUALIZE_BINS)
        else:
            image = _WITH_PARAMETER[operation.name](image, operation.parameter)
    return image
