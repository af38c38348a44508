"""From per-image confusion counts to a score: pooled and image-wise, with bootstrap intervals.

The definitions, one each, are in docs/evaluate.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.evaluation import document
from bioseg_cli.evaluation.document import DifferenceRecord, ImageWise, Intervals, ScoreRecord
from bioseg_cli.metrics.confusion import dice_per_class, iou_per_class, mean_iou, mean_over_classes, pixel_accuracy
from bioseg_cli.metrics.intervals import bootstrap_interval, bootstrap_mean

Limits = tuple[float, float]


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn."""

    draws: int = 1000
    seed: int = 0
    by_group: bool = False


@dataclass(frozen=True)
class ImageCounts:
    """Confusion counts of each image that was scored.

    Attributes:
        names: (N,) of the images.
        groups: (N,) group of each image.
        counts: (N, K, K) pixels; rows are true classes.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    counts: NDArray[np.int64]

    def image_iou(self) -> NDArray[np.float64]:
        """(N,) mean IoU of each image over the classes it holds."""
        return mean_over_classes(iou_per_class(self.counts))


@dataclass(frozen=True)
class Score:
    """What was measured on N images with K classes; a value of a class absent from labels and predictions is NaN.

    Attributes:
        classes: (K,) names, the background first.
        images: N.
        confusion: (K, K) pooled counts; rows are true classes.
        iou, dice: (K,) of the pooled counts.
        mean_iou, mean_iou_foreground: means of `iou` over classes, with and without class 0.
        pixel_accuracy: share of the counted pixels that are right.
        image_wise_mean, image_wise_sd: mean and standard deviation (ddof 1) of the images' own mean IoU.
        intervals: 95 % bootstrap limits of the single numbers, by name.
        iou_intervals: (K,) limits of `iou`.
    """

    classes: tuple[str, ...]
    images: int
    confusion: NDArray[np.int64]
    iou: NDArray[np.float64]
    dice: NDArray[np.float64]
    mean_iou: float
    mean_iou_foreground: float
    pixel_accuracy: float
    image_wise_mean: float
    image_wise_sd: float
    intervals: Mapping[str, Limits] = field(repr=False)
    iou_intervals: tuple[Limits, ...] = field(repr=False)

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that neither labels nor predictions hold: left out of the means."""
        return tuple(name for name, value in zip(self.classes, self.iou, strict=True) if np.isnan(value))

    def record(self) -> ScoreRecord:
        """What the document says of it; None for what has no value."""
        names = self.classes
        return ScoreRecord(
            mean_iou=_number(self.mean_iou),
            mean_iou_foreground=_number(self.mean_iou_foreground),
            iou=dict(zip(names, map(_number, self.iou), strict=True)),
            dice=dict(zip(names, map(_number, self.dice), strict=True)),
            pixel_accuracy=_number(self.pixel_accuracy),
            image_wise=ImageWise(mean=_number(self.image_wise_mean), sd=_number(self.image_wise_sd)),
            intervals=Intervals(
                **{name: known_limits(limits) for name, limits in self.intervals.items()},
                iou=dict(zip(names, map(known_limits, self.iou_intervals), strict=True)),
            ),
            images=self.images,
            confusion=self.confusion.tolist(),
        )


@dataclass(frozen=True)
class Difference:
    """Mean IoU of one minus that of another on the same images, with the paired bootstrap's 95 % limits."""

    mean_iou: float
    limits: Limits

    def record(self) -> DifferenceRecord:
        """What the document says of it."""
        return DifferenceRecord(difference=_number(self.mean_iou), interval=known_limits(self.limits))


def score_images(images: ImageCounts, classes: Sequence[str], resampling: Resampling) -> Score:
    """Score images from their confusion counts.

    Raises:
        DataError: there is no image, or no pixel of any was counted.
    """
    pooled = images.counts.sum(axis=0)
    if pooled.sum() == 0:
        raise DataError("There is no labelled pixel to score", fix="Choose another --split, or add masks.")
    own = images.image_iou()
    own = own[~np.isnan(own)]
    limits = bootstrap_interval(
        images.counts,
        _pooled_values,
        groups=images.groups if resampling.by_group else None,
        draws=resampling.draws,
        seed=resampling.seed,
    )
    image_wise = bootstrap_mean(
        images.image_iou(),
        groups=images.groups if resampling.by_group else None,
        draws=resampling.draws,
        seed=resampling.seed,
    )
    pairs = [(float(low), float(high)) for low, high in limits.T]
    return Score(
        classes=tuple(classes),
        images=len(images.names),
        confusion=pooled,
        iou=iou_per_class(pooled),
        dice=dice_per_class(pooled),
        mean_iou=mean_iou(pooled),
        mean_iou_foreground=mean_iou(pooled, background=False),
        pixel_accuracy=float(pixel_accuracy(pooled)),
        image_wise_mean=float(own.mean()),
        image_wise_sd=float(own.std(ddof=1)) if own.size > 1 else np.nan,
        intervals={
            "mean_iou": pairs[0],
            "mean_iou_foreground": pairs[1],
            "pixel_accuracy": pairs[2],
            "image_wise": image_wise,
        },
        iou_intervals=tuple(pairs[3:]),
    )


def difference(images: ImageCounts, control: ImageCounts, resampling: Resampling) -> Difference:
    """Mean IoU of `images` minus that of `control`, both resampled by the same draws.

    Raises:
        DataError: the two are not the same images.
    """
    if images.names != control.names:
        raise DataError("The run and the control were not scored on the same images", fix="Give both the same --data.")
    limits = bootstrap_interval(
        np.stack([images.counts, control.counts], axis=1),
        _mean_iou_gain,
        groups=images.groups if resampling.by_group else None,
        draws=resampling.draws,
        seed=resampling.seed,
    )
    gain = mean_iou(images.counts.sum(axis=0)) - mean_iou(control.counts.sum(axis=0))
    return Difference(gain, (float(limits[0]), float(limits[1])))


def known_limits(limits: Limits) -> document.Limits:
    """Lower and upper limit; None for a limit that has no value."""
    low, high = limits
    return _number(low), _number(high)


def _pooled_values(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(draws, K, K) -> (draws, 3 + K): both means, accuracy, and each class's IoU."""
    iou = iou_per_class(sums)
    return np.column_stack(
        [mean_over_classes(iou), mean_over_classes(iou, background=False), pixel_accuracy(sums), iou]
    )


def _mean_iou_gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(draws, 2, K, K) -> (draws,): mean IoU of the first minus that of the second."""
    both = mean_over_classes(iou_per_class(sums))
    return both[..., 0] - both[..., 1]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
