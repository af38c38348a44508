"""Intensity changes that a microscope makes: exposure, focus, noise and uneven light, drawn apart from what they do.

Unlike RandAugment's operations, none of them turns an image into one that the instrument could not have taken: nothing
is inverted, solarized or equalized. Each is continuous and signed, and holds for any number of channels and any depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

OPERATION_PROBABILITY = 0.5
LABELLED_SEVERITY = 0.5
"""Share of the range of the changes that labelled images are drawn from in training; strong views have all of it."""

GAIN = 1.6
"""Grey levels are multiplied by a factor between 1 / GAIN and GAIN, at full severity."""
GAMMA = 1.6
"""They are raised to a power between 1 / GAMMA and GAMMA."""
OFFSET = 0.25
"""A constant of up to this many standard deviations of the training images is added or taken away."""
BLUR_PIXELS = 2.0
"""Standard deviation of the Gaussian that defocuses, at most."""
SHARPEN = 1.0
"""How much of what a blur takes away is added, at most: unsharp masking."""
UNSHARP_PIXELS = 1.5
NOISE = 0.3
"""Standard deviation of the noise of the camera, in standard deviations of the training images, at most."""
PHOTONS = (1000.0, 50.0)
"""Photons that a full grey level stands for, from the least to the strongest shot noise."""
SHADING = 0.3
"""How far the light in a corner of the field may differ from that in its middle, as a share, at most."""
COARSEST = 0.5
"""The smallest share of the resolution that an image is sampled down to, and back up."""


Amounts = NDArray[np.float64]


@dataclass(frozen=True)
class Capture:
    """How B images are taken again. Every field is (B,) or starts with B; each has a value that changes nothing."""

    gain: Tensor
    offset: Tensor
    """In grey levels of [0, 1]."""
    gamma: Tensor
    blur: Tensor
    """Standard deviation in pixels; 0 leaves the focus."""
    sharpen: Tensor
    resolution: Tensor
    """Share of the resolution that is left."""
    shading: Tensor
    """(B, 5): weights of y, x, y², yx and x², coordinates in [-1, 1]."""
    photons: Tensor
    """A full grey level's; infinity is no shot noise."""
    noise: Tensor
    """Standard deviation in grey levels."""
    noise_seed: int

    def apply(self, images: Tensor) -> Tensor:
        """The images (B, C, H, W), in [0, 1] before and after: light first, then optics, then the camera."""
        exposed = self.expose(images, self._light(images))
        focused = torch.cat([self._optics(image[None], number) for number, image in enumerate(exposed)])
        return self._camera(focused)

    def expose(self, images: Tensor, light: Tensor | float = 1.0) -> Tensor:
        """The images (B, C, H, W), in [0, 1] before and after, with the grey levels of another exposure.

        Args:
            images: as the instrument took them.
            light: a factor for each pixel, of a shape that fits the images.
        """
        lit = images * _per_image(self.gain, images) * light
        return (lit + _per_image(self.offset, images)).clamp(0, 1) ** _per_image(self.gamma, images)

    def _light(self, images: Tensor) -> Tensor:
        """(B, 1, H, W): a quadratic surface over the field, 1 in its middle."""
        rows, columns = (torch.linspace(-1, 1, length, dtype=images.dtype) for length in images.shape[2:])
        y, x = rows[:, None].expand(len(rows), len(columns)), columns.expand(len(rows), len(columns))
        terms = torch.stack([y, x, y * y, y * x, x * x])
        surface = torch.einsum("bt,thw->bhw", self.shading.to(images.dtype), terms)[:, None]
        return (1 + surface.to(images.device)).clamp(min=0)

    def _optics(self, image: Tensor, number: int) -> Tensor:
        """One image (1, C, H, W), out of focus, sharpened or at a lower resolution."""
        if (sigma := float(self.blur[number])) > 0:
            image = gaussian_blur(image, sigma)
        if (amount := float(self.sharpen[number])) > 0:
            image = (image + amount * (image - gaussian_blur(image, UNSHARP_PIXELS))).clamp(0, 1)
        if (share := float(self.resolution[number])) < 1:
            size = [max(1, round(length * share)) for length in image.shape[2:]]
            coarse = F.interpolate(image, size=size, mode="area")
            image = F.interpolate(coarse, size=image.shape[2:], mode="bilinear", align_corners=False)
        return image

    def _camera(self, images: Tensor) -> Tensor:
        """Shot noise, whose variance grows with the signal, and noise of the electronics."""
        # Drawn on the CPU, so that every device sees the same noise.
        generator = torch.Generator().manual_seed(self.noise_seed)
        grain = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
        variance = images / _per_image(self.photons, images) + _per_image(self.noise, images).square()
        return (images + variance.sqrt() * grain).clamp(0, 1)


def draw_capture(
    batch: int, spread: float, random: np.random.Generator, *, severity: float = 1.0, exposure: float = 1.0
) -> Capture:
    """Draw for each image which of the changes happen, each with probability one half, and how strong they are.

    An image is blurred or sharpened, not both.

    Args:
        batch: B.
        spread: standard deviation of the training images, in grey levels of [0, 1].
        random: generator.
        severity: share of the full range that is drawn from, in (0, 1].
        exposure: share of the drawn gain, offset, gamma and light that is applied, in [0, 1]; the other changes are the
            same for each share.
    """

    def amount(low: float = 0.0) -> NDArray[np.float64]:
        """(B,) in [low, 1] times the severity; 0 where the change does not happen."""
        happens = random.random(batch) < OPERATION_PROBABILITY
        return np.where(happens, severity * random.uniform(low, 1, batch), 0.0)

    gain, offset, gamma = amount(-1), amount(-1), amount(-1)
    focus = amount(-1)
    surface = random.uniform(-1, 1, (batch, 5))
    shading = SHADING * amount()[:, None] * surface / np.abs(surface).sum(axis=1, keepdims=True)
    shot, resolution, noise = amount(), amount(), amount()
    gain, offset, gamma, shading = (exposure * drawn for drawn in (gain, offset, gamma, shading))
    return _capture(
        spread, gain, offset, gamma, focus, shading, shot, resolution, noise, seed=int(random.integers(2**63))
    )


def _capture(
    spread: float,
    gain: Amounts,
    offset: Amounts,
    gamma: Amounts,
    focus: Amounts,
    shading: Amounts,
    shot: Amounts,
    resolution: Amounts,
    noise: Amounts,
    *,
    seed: int,
) -> Capture:
    """The changes of shares of their ranges, each (B,) and from -1 or 0 to 1; shading is (B, 5), as in `Capture`."""
    few, many = np.log(PHOTONS[1]), np.log(PHOTONS[0])
    return Capture(
        gain=torch.from_numpy(GAIN**gain),
        offset=torch.from_numpy(OFFSET * spread * offset),
        gamma=torch.from_numpy(GAMMA**gamma),
        blur=torch.from_numpy(BLUR_PIXELS * np.maximum(focus, 0)),
        sharpen=torch.from_numpy(SHARPEN * np.maximum(-focus, 0)),
        resolution=torch.from_numpy(1 - (1 - COARSEST) * resolution),
        shading=torch.from_numpy(shading),
        photons=torch.from_numpy(np.where(shot > 0, np.exp(many + (few - many) * shot), np.inf)),
        noise=torch.from_numpy(NOISE * spread * noise),
        noise_seed=seed,
    )


def strongest_captures(spread: float, *, exposure: float = 1.0) -> list[Capture]:
    """Each change alone, of one image, as strong as training makes it; those that go two ways twice.

    Args:
        spread: as in `draw_capture`.
        exposure: as in `draw_capture`.
    """
    none = dict.fromkeys(("gain", "offset", "gamma", "focus", "resolution", "shot", "noise"), np.zeros(1))
    both = (-exposure, exposure) if exposure else ()
    alone = [(name, share) for name in ("gain", "offset", "gamma") for share in both]
    alone += [("focus", 1.0), ("focus", -1.0), ("resolution", 1.0), ("shot", 1.0), ("noise", 1.0)]
    found = [
        _capture(spread, **{**none, name: np.array([share])}, shading=np.zeros((1, 5)), seed=0) for name, share in alone
    ]
    sideways = np.array([[0.0, exposure * SHADING, 0.0, 0.0, 0.0]])
    return [*found, _capture(spread, **none, shading=sideways, seed=0)] if exposure else found


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (B, C, H, W) images by a Gaussian of standard deviation `sigma` pixels, edges repeated."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device, images.dtype)
    channels = images.shape[1]
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    down = F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(B,) values beside (B, C, H, W) images."""
    return values.to(images.device, images.dtype)[:, None, None, None]
