"""Batches of labelled and unlabelled images, drawn without hidden state.

Everything random about a step is a function of (seed, epoch, step), so a run that resumes at any step sees exactly
what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels

IGNORE = -1
"""The label of pixels that count nowhere, in tensors."""

SPREAD_IMAGES = 20
"""Training images that the spread of grey levels is measured on, for noise and offsets in its unit."""

Purpose = Literal["order", "crop", "augment", "validate", "mix", "hide"]
_STREAMS: dict[Purpose, int] = {"order": 0, "crop": 1, "augment": 2, "validate": 3, "mix": 4, "hide": 5}


@dataclass(frozen=True)
class ImageBatch:
    """Images of one subset. B images, C channels, H x W pixels."""

    images: Tensor
    """(B, C, H, W) float32 in [0, 1]."""
    labels: Tensor
    """(B, H, W) int64 class codes, `IGNORE` where a pixel counts nowhere; all `IGNORE` for unlabelled images."""
    shown: Tensor
    """(B, 1, H, W) float32, 1 where the image shows its source and 0 where it was padded."""
    indices: tuple[int, ...]
    """Their indices in the data set."""

    def to(self, device: torch.device) -> ImageBatch:
        """The same batch on another device."""
        return ImageBatch(self.images.to(device), self.labels.to(device), self.shown.to(device), indices=self.indices)


def random_stream(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """The generator of one purpose at one position (epoch, step, ...): independent of every other."""
    return np.random.default_rng([seed, _STREAMS[purpose], *position])


class ImageSource:
    """Reads images of an open data set as tensors, keeping what fits in memory.

    Args:
        dataset: open data set.
        cache_bytes: decoded images are kept in memory up to this much; beyond it they are read again.
        labels: whether masks are read; without, every label is `IGNORE`.
        instead: the mask (H, W) of an image that is learnt in place of that of the data set; None where there is none.
    """

    def __init__(
        self,
        dataset: Dataset,
        cache_bytes: int,
        *,
        labels: bool = True,
        instead: Callable[[int], Pixels | None] | None = None,
    ) -> None:
        self.dataset = dataset
        self._cache_bytes = cache_bytes
        self._labels = labels
        self._instead = instead
        self._cache: dict[int, tuple[Pixels, Pixels]] = {}
        self._cached_bytes = 0

    def _pixels(self, index: int) -> tuple[Pixels, Pixels]:
        if index in self._cache:
            return self._cache[index]
        image = self.dataset.image(index)
        unread = np.broadcast_to(np.uint16(self.dataset.ignore), image.shape[1:])
        labels = None if self._instead is None else self._instead(index)
        if labels is None:
            labels = self.dataset.labels(index) if self._labels else unread
        if self._cached_bytes + image.nbytes + labels.nbytes <= self._cache_bytes:
            self._cache[index] = image, labels
            self._cached_bytes += image.nbytes + labels.nbytes
        return image, labels

    def batch(
        self,
        indices: IntArray,
        *,
        crop: int | None = None,
        random: np.random.Generator | None = None,
        around_labels: bool = False,
    ) -> ImageBatch:
        """Read images, whole or each as a random square of `crop` pixels drawn from `random`.

        A crop lies where the image shows its source, as far as that is large enough. With `around_labels` it holds a
        labelled pixel: in half of the crops, of a class other than the background.
        """
        images, labels, shown = [], [], []
        for index in indices.tolist():
            image, label = self._pixels(index)
            extent = self.dataset.extent(index)
            visible = np.zeros(label.shape, dtype=np.float32)
            visible[extent] = 1
            if crop is not None:
                if random is None:
                    raise ValueError("a random crop needs a generator")
                anchor = _labelled_pixel(label, self.dataset.ignore, random) if around_labels else None
                window = tuple(
                    _crop_window(part, length, crop, random, None if anchor is None else anchor[axis])
                    for axis, (part, length) in enumerate(zip(extent, label.shape, strict=True))
                )
                image, label, visible = image[:, *window], label[window], visible[window]
            images.append(self.dataset.info.normalisation.apply(image))
            labels.append(np.where(label == self.dataset.ignore, IGNORE, label.astype(np.int64)))
            shown.append(visible[None])
        return ImageBatch(
            images=torch.from_numpy(np.stack(images)),
            labels=torch.from_numpy(np.stack(labels)),
            shown=torch.from_numpy(np.stack(shown)),
            indices=tuple(indices.tolist()),
        )


FOREGROUND_SHARE = 0.5
"""Of the crops around labels, so many are around a pixel that is no background."""


def _labelled_pixel(labels: Pixels, ignore: int, random: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of a labelled pixel, drawn at random; None where there is none.

    For the foreground a class is drawn first, each as likely as another, so that a rare one is seen.
    """
    if random.random() < FOREGROUND_SHARE:
        present = np.unique(labels)
        present = present[(present != 0) & (present != ignore)]
        wanted = labels == random.choice(present) if len(present) else labels != ignore
    else:
        wanted = labels != ignore
    places = np.flatnonzero(wanted)
    if not len(places):
        return None
    row, column = np.unravel_index(random.choice(places), labels.shape)
    return int(row), int(column)


def _crop_window(
    extent: slice, length: int, crop: int, random: np.random.Generator, anchor: int | None = None
) -> slice:
    """Where a crop lies along one axis; one with an anchor holds it."""
    if crop >= length:
        return slice(None)
    # A crop that is larger than the extent contains all of it, where the image is long enough for that.
    low, high = np.clip(sorted((extent.start, extent.stop - crop)), 0, length - crop)
    if anchor is not None:
        low, high = max(low, anchor - crop + 1), min(high, anchor)
    start = int(random.integers(low, high, endpoint=True))
    return slice(start, start + crop)


def looped_order(subset: IntArray, count: int, random: np.random.Generator) -> IntArray:
    """`count` draws from `subset`: shuffled, and shuffled anew each time it is used up (the study's section 2.3.1)."""
    rounds = -(-count // len(subset))
    return np.concatenate([random.permutation(subset) for _ in range(rounds)])[:count]


def grey_level_spread(dataset: Dataset) -> float:
    """Standard deviation of the grey levels of training images in [0, 1], each about its own mean."""
    training = dataset.indices("train")[:SPREAD_IMAGES]
    return float(np.mean([dataset.normalised(index)[:, *dataset.extent(index)].std() for index in training]))
