"""What an image looks like in a few numbers that need no label and no network: brightness and texture.

Each channel is measured by itself. Quantiles of the intensities say how bright the image is and how the values are
spread. A pyramid says what there is of each size: every level is the difference of an image and its blurred copy, which
is then halved for the next level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
FEWEST, MOST = 2, 6
"""Levels of the pyramid: structures of about 2, 4, 8, ... pixels."""
COARSEST = 8
"""Pixels that the shorter side of the last level has at least: fewer say more of chance than of the image."""
BLUR = 1.0
"""Standard deviation in pixels of the Gaussian between two levels."""
MARGIN = 2
"""Pixels at the edge of a level that are left out, if it is large enough."""
SMALLEST = 1e-4
"""Added to contrasts before their logarithm: 1/10,000 of the range of the training images is no contrast."""
PEAK = 0.999
"""Quantile of a level that stands for its strongest structures: a single nucleus of a field reaches it."""
OF_OBJECTS = slice(1, 4)
"""Levels that objects are looked for in: the first is mostly noise of the camera, the last are its light."""
EVEN = 6.5
"""Peaks below so many medians are even: 4.9 is what noise alone has, 10 and more what has single objects."""
WEAK = 0.1
"""Share of the peaks of the strongest images below which a level is weak."""
STRONGEST = 0.9
"""Quantile over the images that stands for the strongest of them."""
OF_A_STEP = 1 / 8
"""Share of the step between two values of pixels that is added to medians: a rare flicker by one step is even then."""
FARTHEST = 3.0
"""Standard deviations beyond which an image is as unusual as it can be: one odd image must not decide a feature."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One image.

    Attributes:
        intensity: (C * Q,) quantiles of the intensities.
        texture: (C * 2 L,) for L levels the logarithms of the contrast of each, and of how far its peaks rise above its
            median.
        peaks: (C, levels) strongest structures of the levels of objects.
        evenness: (C, levels) these in medians of their level.
    """

    intensity: Values
    texture: Values
    peaks: Values
    evenness: Values


def levels_for(height: int, width: int) -> int:
    """How many levels images of this size have."""
    return int(np.clip(1 + np.log2(min(height, width) / COARSEST), FEWEST, MOST))


def measure(image: NDArray[np.floating[Any]], levels: int, step: float = 0.0) -> Measured:
    """Measure an image (C, H, W) in [0, 1].

    Args:
        image: without padding.
        levels: of the pyramid.
        step: the least difference of two values; 0 where there is none.
    """
    channels = [_measure_levels(channel, levels) for channel in image.astype(np.float64)]
    contrast, peaks, medians = (np.array([channel[part] for channel in channels]) for part in range(3))
    rise = peaks / (medians + SMALLEST + OF_A_STEP * step)
    texture = np.concatenate([np.log(contrast + SMALLEST), np.log(rise + SMALLEST)], axis=1)
    return Measured(
        intensity=np.quantile(image.reshape(len(image), -1), QUANTILES, axis=1).T.ravel().astype(np.float64),
        texture=texture.ravel(),
        peaks=peaks[:, OF_OBJECTS],
        evenness=rise[:, OF_OBJECTS],
    )


def _measure_levels(channel: Values, levels: int) -> tuple[list[float], list[float], list[float]]:
    """Standard deviation, peak and median of the size of the values, of each level of the pyramid of a channel."""
    contrast, peaks, medians = [], [], []
    for _ in range(levels):
        blurred = ndimage.gaussian_filter(channel, BLUR, mode="nearest", truncate=3)
        level = _without_margin(np.abs(channel - blurred))
        contrast.append(float(np.sqrt(np.mean(level**2))))
        median, peak = np.quantile(level, (0.5, PEAK))
        peaks.append(float(peak))
        medians.append(float(median))
        channel = blurred[::2, ::2]
    return contrast, peaks, medians


def _without_margin(level: Values) -> Values:
    """A level without the pixels whose blur has reached over the edge, where uneven light would look like an object."""
    rows, columns = (slice(MARGIN, -MARGIN) if length > 3 * MARGIN else slice(None) for length in level.shape)
    return level[rows, columns]


def vectors(images: Sequence[Measured]) -> Values:
    """Points (N, F) whose distances say how unlike images are; brightness and texture have the same weight."""
    groups = [np.stack([image.intensity for image in images]), np.stack([image.texture for image in images])]
    return np.concatenate([_standardised(group) / np.sqrt(group.shape[1]) for group in groups], axis=1)


def _standardised(columns: Values) -> Values:
    spread = columns.std(axis=0)
    # What differs by rounding alone does not differ.
    varies = spread > 1e-9 * np.abs(columns).max(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(varies, spread, 1)
    clipped: Values = np.clip(np.where(varies, scaled, 0), -FARTHEST, FARTHEST)
    return clipped


def shows_nothing(images: Sequence[Measured]) -> NDArray[np.bool_]:
    """Whether each image (N,) shows nothing but background, judged beside the others.

    It does where every level of every channel is even, as noise is, and weak beside the strongest images. An image full
    of structure is even too, but not weak; one that is faint throughout may hold single objects, which are not even.
    """
    peaks = np.stack([image.peaks for image in images])
    even = np.stack([image.evenness for image in images]) < EVEN
    weak = peaks < WEAK * np.quantile(peaks, STRONGEST, axis=0)
    found: NDArray[np.bool_] = np.all(even & weak, axis=(1, 2))
    return found
