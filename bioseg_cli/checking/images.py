"""What is kept of each image that was read: enough to compare it with all others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bioseg_cli.checking.result import Finding
from bioseg_cli.config import SplitName
from bioseg_cli.dataset.copies import Signature, is_blank, signature
from bioseg_cli.dataset.identity import ImageIdentity
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.printable import listing

SAMPLED_PIXELS = 100_000
"""Pixels of an image that its grey levels are taken from, evenly over it."""
FEWEST_TO_COMPARE = 8
"""With fewer images nobody knows what is usual."""
FAR_OUT = 5.0
"""Interquartile ranges beyond the quartiles from which a value counts as unusual."""
SATURATED_SHARE = 0.01


@dataclass(frozen=True)
class Levels:
    """Grey levels of an image, all channels together.

    Attributes:
        low, median, high: the 0.1, 50 and 99.9 percentiles.
        saturated: share of the pixels that have the highest value of their type; 0 for floats.
    """

    low: float
    median: float
    high: float
    saturated: float

    @classmethod
    def of(cls, pixels: Pixels) -> Levels:
        """The grey levels of pixels (..., W)."""
        flat = pixels.reshape(-1)
        step = max(1, flat.size // SAMPLED_PIXELS)
        while math.gcd(step, pixels.shape[-1]) > 1:  # it would meet the same columns in every row
            step += 1
        sampled = flat[::step]
        low, median, high = np.percentile(sampled, (0.1, 50, 99.9)).tolist()
        highest = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else np.inf
        return cls(low, median, high, float((sampled == highest).mean()))


@dataclass(frozen=True)
class CheckedImage:
    """What is kept of an image.

    Attributes:
        name: in its data set or folder.
        split: None outside of a data set.
        identity: where it came from, and the digest of its pixels.
        blank: all pixels have one value.
        signature: what it looks like, see `dataset.copies`.
        levels: its grey levels.
    """

    name: str
    split: SplitName | None
    identity: ImageIdentity
    blank: bool
    signature: Signature = field(repr=False)
    levels: Levels

    @classmethod
    def of(cls, name: str, split: SplitName | None, identity: ImageIdentity, shown: Pixels) -> CheckedImage:
        """What is kept of pixels (C, H, W), without padding."""
        return cls(name, split, identity, is_blank(shown), signature(shown), Levels.of(shown))


@dataclass(frozen=True)
class Collection:
    """The images of a data set or of a folder.

    Attributes:
        where: the file or folder.
        images: as far as they can be read.
    """

    where: str
    images: tuple[CheckedImage, ...]


def intensity_findings(collection: Collection) -> Iterator[Finding]:
    """Blank and saturated images, and those whose grey levels lie far from those of most."""
    blank = [image.name for image in collection.images if image.blank]
    if blank:
        yield _remark(collection, f"{_count(blank)} of a single value: {listing(blank)}", blank)
    saturated = [image.name for image in collection.images if image.levels.saturated >= SATURATED_SHARE]
    if saturated:
        what = f"{_count(saturated)} saturated in {SATURATED_SHARE:.0%} of the pixels or more: {listing(saturated)}"
        yield _remark(collection, what, saturated)
    others = [image for image in collection.images if not image.blank]
    unusual = [image.name for image, odd in zip(others, _far_out(others), strict=True) if odd]
    if unusual:
        what = f"{_count(unusual)} of other brightness or contrast than most: {listing(unusual)}"
        yield _remark(collection, what, unusual, "Look at the images, and at how they were exported.")


def _far_out(images: Sequence[CheckedImage]) -> list[bool]:
    """Whether an image lies far from the others in brightness, in contrast, or in which end most of its pixels lie."""
    if len(images) < FEWEST_TO_COMPARE:
        return [False] * len(images)
    low, median, high = np.array([(look.levels.low, look.levels.median, look.levels.high) for look in images]).T
    contrast = np.maximum(high - low, np.finfo(np.float64).tiny)
    usual = float(np.median(contrast))
    # Brightness in units of the usual contrast, contrast by its order of magnitude, and the place of the median.
    values = (median / usual, np.log2(contrast), (median - low) / contrast)
    leasts = (0.1, 0.5, 0.1)
    odd = np.zeros(len(images), dtype=bool)
    for value, least in zip(values, leasts, strict=True):
        first, third = np.percentile(value, (25, 75))
        reach = FAR_OUT * max(third - first, least)
        odd |= (value < first - reach) | (value > third + reach)
    return odd.tolist()


def _remark(collection: Collection, what: str, names: Sequence[str], fix: str | None = None) -> Finding:
    return Finding(False, "intensities", collection.where, what, fix, tuple(names))


def _count(names: Sequence[str]) -> str:
    return "1 image is" if len(names) == 1 else f"{len(names)} images are"
