"""How the grey levels of images lie, and whether those of an image are like those of the training images.

A network sees grey levels between two limits that its training images fixed. Of an image from another exposure, another
offset or with inverted contrast it makes a mask as readily, and the mask means nothing. So a few numbers of every
training image are kept with the model, as the least and the greatest of them, and an image is compared with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.io.normalisation import Normalisation

SAMPLED = 2**16
"""Pixels of a channel that are looked at, in whole rows: about so many."""
LEVELS = (0.01, 0.5, 0.99)
"""Quantiles of the grey levels; a hot pixel or a speck of dirt moves none of them."""
FEW = 3
"""All tolerances are doubled for so many training images, and as good as not for many: a few images tell little of what
else belongs to them."""
LEVEL_SHARE, RANGE_SHARE = 0.25, 0.5
"""How far a level may lie beyond those of the training images, in ranges of the normalisation, and in theirs."""
CONTRAST_FACTOR, TEXTURE_FACTOR = 3.0, 2.5
BALANCE, CLIPPED = 0.2, 0.05
VISIBLE = 0.1
"""Of its contrast, the share of an image that lies within the limits of the network at least, or it is not seen."""


@dataclass(frozen=True)
class Intensities:
    """The grey levels of one channel of an image.

    Attributes:
        low, middle, high: the levels that 1, 50 and 99 per cent of the pixels are below.
        contrast: from the low level to the high one.
        balance: where the middle lies between them, 0 = at the low one; 0.5 where there is no contrast.
        texture: mean difference of neighbours in a row, in units of the contrast; 0 where there is none.
        darkest, brightest: shares of the pixels that have the least and the greatest value.
    """

    low: float
    middle: float
    high: float
    contrast: float
    balance: float
    texture: float
    darkest: float
    brightest: float

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> Self:
        """Of the pixels (H, W) of a channel, of which whole rows are looked at."""
        height, width = pixels.shape
        rows = pixels[:: max(1, height * width // SAMPLED)].astype(np.float64)
        low, middle, high = np.quantile(rows, LEVELS).tolist()
        contrast = high - low
        steps = float(np.abs(np.diff(rows, axis=1)).mean()) if width > 1 else 0.0
        return cls(
            low=low,
            middle=middle,
            high=high,
            contrast=contrast,
            balance=(middle - low) / contrast if contrast else 0.5,
            texture=steps / contrast if contrast else 0.0,
            darkest=float((rows == rows.min()).mean()),
            brightest=float((rows == rows.max()).mean()),
        )


MEASURES = tuple(field.name for field in fields(Intensities))


@dataclass(frozen=True)
class Deviation:
    """In what an image is unlike the training images.

    Attributes:
        sentence: for the user.
        meaningless: the network cannot see what is in the image.
    """

    sentence: str
    meaningless: bool = False


@dataclass(frozen=True)
class SeenIntensities:
    """The grey levels of all training images.

    Attributes:
        images: how many were looked at.
        channels: of each channel, the least and the greatest value of each of `MEASURES`.
    """

    images: int
    channels: tuple[dict[str, tuple[float, float]], ...]

    @classmethod
    def of(cls, images: Sequence[Sequence[Intensities]]) -> Self:
        """Of at least one image, by channel."""
        ranges = []
        for channel in zip(*images, strict=True):
            values = {name: [getattr(intensities, name) for intensities in channel] for name in MEASURES}
            ranges.append({name: (min(found), max(found)) for name, found in values.items()})
        return cls(len(images), tuple(ranges))

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON can hold; `from_json` reads it back."""
        return {
            "images": self.images,
            "channels": [{name: list(limits) for name, limits in channel.items()} for channel in self.channels],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError where it is damaged."""
        channels = tuple(
            {name: (float(channel[name][0]), float(channel[name][1])) for name in MEASURES}
            for channel in content["channels"]
        )
        return cls(int(content["images"]), channels)

    def deviations(self, pixels: NDArray[Any], normalisation: Normalisation) -> list[Deviation]:
        """In what the pixels (C, H, W) of an image are unlike the training images, by channel."""
        found: list[Deviation] = []
        for number, (channel, seen) in enumerate(zip(pixels, self.channels, strict=True)):
            limits = normalisation.low[number], normalisation.high[number]
            if limits[0] == limits[1]:
                continue  # the network sees nothing of this channel
            said = _unlike(Intensities.of(channel), seen, limits, 1 + FEW / self.images)
            prefix = f"Channel {number + 1}: " if len(self.channels) > 1 else ""
            found += [Deviation(prefix + deviation.sentence, deviation.meaningless) for deviation in said]
        return found


def _unlike(
    image: Intensities, seen: dict[str, tuple[float, float]], limits: tuple[float, float], doubt: float
) -> list[Deviation]:
    """The deviations of one channel; `doubt` widens all tolerances."""
    if not image.contrast and image.darkest > LEVELS[-1]:
        return [Deviation(f"All pixels have the value {image.middle:g}", meaningless=True)]
    visible = np.clip((image.low, image.high), *limits)
    if visible[1] - visible[0] < VISIBLE * image.contrast:
        what = f"Its grey levels ({image.low:g} to {image.high:g}) lie outside of the range that the network sees"
        return [Deviation(f"{what} ({limits[0]:g} to {limits[1]:g})", meaningless=True)]
    found = [*_levels(image, seen, limits[1] - limits[0], doubt), *_clipped(image, seen, doubt)]
    if image.contrast * CONTRAST_FACTOR * doubt < seen["contrast"][0]:
        what = f"Its contrast of {image.contrast:g} grey levels is low; training images have {_span(seen, 'contrast')}"
        return [*found, Deviation(f"{what}. It may be empty or out of focus")]
    low, high = seen["balance"]
    if not low - BALANCE * doubt <= image.balance <= high + BALANCE * doubt:
        bright = "bright" if image.balance > high else "dark"
        found.append(
            Deviation(f"Most of its pixels are {bright}, unlike those of the training images. It may be inverted")
        )
    low, high = seen["texture"]
    if not low / (TEXTURE_FACTOR * doubt) <= image.texture <= high * TEXTURE_FACTOR * doubt:
        why = "noise or finer structures" if image.texture > high else "blur or a higher magnification"
        differ = f"Neighbouring pixels differ by {image.texture:.1%} of its contrast, and by {low:.1%} to {high:.1%} in"
        found.append(Deviation(f"{differ} training images. That may be {why}"))
    return found


def _levels(image: Intensities, seen: dict[str, tuple[float, float]], scale: float, doubt: float) -> list[Deviation]:
    for name in ("low", "middle", "high"):
        low, high = seen[name]
        beyond = doubt * (LEVEL_SHARE * scale + RANGE_SHARE * (high - low))
        value = getattr(image, name)
        if not low - beyond <= value <= high + beyond:
            share = {"low": 1, "middle": 50, "high": 99}[name]
            what = f"{share} % of its pixels are darker than {value:g}; in training images this level is"
            return [Deviation(f"{what} {_span(seen, name)}")]
    return []


def _clipped(image: Intensities, seen: dict[str, tuple[float, float]], doubt: float) -> list[Deviation]:
    found = []
    for name, word in (("darkest", "lowest"), ("brightest", "highest")):
        share, most = getattr(image, name), seen[name][1]
        if share > most + CLIPPED * doubt:
            found.append(
                Deviation(f"{share:.0%} of its pixels have the {word} value, at most {most:.0%} in training images")
            )
    return found


def _span(seen: dict[str, tuple[float, float]], name: str) -> str:
    low, high = seen[name]
    return f"{low:g} to {high:g}"
