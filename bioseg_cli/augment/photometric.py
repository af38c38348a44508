"""The eight photometric operations of RandAugment (Cubuk et al. 2020) on float images.

Images are (C, H, W) floats in [0, 1] with any number of channels, and stay so: 16-bit data is never squeezed through
8 bits. On 8-bit values the definitions are Pillow's, up to its rounding to whole grey levels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EQUALIZE_BINS = 256
"""Grey levels told apart by `equalize` on 8-bit data; more for deeper data, see there."""

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the grey version of a colour image (ITU-R BT.601)."""


def autocontrast(image: Tensor) -> Tensor:
    """Stretch each channel to [0, 1]; a constant channel stays as it is."""
    low = image.amin(dim=(-2, -1), keepdim=True)
    high = image.amax(dim=(-2, -1), keepdim=True)
    flat = high <= low
    return torch.where(flat, image, (image - low) / torch.where(flat, torch.ones_like(low), high - low))


def invert(image: Tensor) -> Tensor:
    """1 - x."""
    return 1 - image


def solarize(image: Tensor, threshold: float) -> Tensor:
    """Invert what is at or above `threshold`."""
    return torch.where(image >= threshold, 1 - image, image)


def contrast(image: Tensor, factor: float) -> Tensor:
    """Scale the distance from the mean grey level: 0 is flat, 1 the image, above 1 more contrast."""
    mean = grey(image).mean()
    return blend(image, mean, factor)


def brightness(image: Tensor, factor: float) -> Tensor:
    """Scale the grey levels: 0 is black, 1 the image."""
    return blend(image, torch.zeros_like(image), factor)


def color(image: Tensor, factor: float) -> Tensor:
    """Scale the distance from the grey version; the identity on anything but three channels."""
    return blend(image, grey(image), factor) if image.shape[-3] == 3 else image


def sharpness(image: Tensor, factor: float) -> Tensor:
    """Scale the distance from a smoothed image: 0 is blurred, 1 the image, above 1 sharper. The border stays."""
    channels, height, width = image.shape
    if height < 3 or width < 3:
        return image
    kernel = image.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = image.clone()
    inner = F.conv2d(image[None], kernel.expand(channels, 1, 3, 3), groups=channels)
    smooth[..., 1:-1, 1:-1] = inner[0]
    return blend(image, smooth, factor)


def equalize(image: Tensor, bins: int = EQUALIZE_BINS) -> Tensor:
    """Flatten the histogram of each channel, in which `bins` grey levels are told apart.

    The new value of bin b is the share of pixels below b among those below the last filled bin: 0 in the first filled
    bin, 1 in the last and in no other. With 256 bins the levels are Pillow's lookup table, whose step between two
    levels is a whole number of pixels, (step // 2 + pixels below b) // step with step = (pixels below the last filled
    bin) // 255, and which leaves an image alone where that is 0.
    """
    return torch.stack([_equalize_channel(channel, bins) for channel in image])


def _equalize_channel(channel: Tensor, bins: int) -> Tensor:
    level = (channel.clamp(0, 1) * (bins - 1)).round().to(torch.int64)
    counts = torch.bincount(level.flatten())
    below = counts.cumsum(0) - counts
    below_last = int(below[level.max()])
    if below_last == 0:
        return channel
    if bins != EQUALIZE_BINS:
        # A whole number of pixels is too coarse a step for more bins: 4096 bins would have a step of 2.25 pixels in a
        # crop of 96 x 96, and with 2 instead a ninth of all pixels share the highest level.
        return below[level].to(channel.dtype) / below_last
    step = below_last // (bins - 1)
    if step == 0:
        return channel
    table = ((step // 2 + below) // step).clamp(max=bins - 1)
    return table[level].to(channel.dtype) / (bins - 1)


def grey(image: Tensor) -> Tensor:
    """(1, H, W) grey version: the luma of three channels, the mean of any other number."""
    if image.shape[-3] == 3:
        return (image * image.new_tensor(LUMA)[:, None, None]).sum(dim=-3, keepdim=True)
    return image.mean(dim=-3, keepdim=True)


def blend(image: Tensor, other: Tensor, factor: float) -> Tensor:
    """`other` at factor 0, `image` at 1, extrapolated beyond, clipped to [0, 1]."""
    return (other + factor * (image - other)).clamp(0, 1)
