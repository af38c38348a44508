"""Scores of single objects: counts of each image and class, and what they amount to, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.document import ObjectNumbers
from bioseg_cli.evaluation.ground_truth import GroundTruth, naming
from bioseg_cli.evaluation.scores import Limits, Resampling, known_limits
from bioseg_cli.metrics.intervals import bootstrap_interval
from bioseg_cli.metrics.matching import (
    THRESHOLDS,
    Count,
    average_precision,
    f1,
    object_counts,
    panoptic_quality,
    precision,
    recall,
    seg,
)
from bioseg_cli.objects.instances import Objects
from bioseg_cli.runs.output import Output

MEASURES = ("mean_ap", "precision", "recall", "f1", "pq", "sq", "rq", "seg")
"""Scores of objects beside the AP at each threshold; precision, recall and F1 are those at the first threshold."""
AP_NAMES = tuple(f"ap_{threshold:.2f}" for threshold in THRESHOLDS)


@dataclass(frozen=True)
class ObjectScore:
    """What was measured on the objects of one class.

    Attributes:
        true, predicted: objects.
        merges: predicted objects that hold several true ones.
        splits: true objects that hold several predicted ones.
        values: of `AP_NAMES` and `MEASURES`; NaN where there is none.
        intervals: their 95 % bootstrap limits.
    """

    true: int
    predicted: int
    merges: int
    splits: int
    values: Mapping[str, float]
    intervals: Mapping[str, Limits] = field(repr=False)

    def record(self) -> ObjectNumbers:
        """What the document says of it, by the documented keys; None for what has no value."""
        return {
            "true_objects": self.true,
            "predicted_objects": self.predicted,
            "merges": self.merges,
            "splits": self.splits,
            **{name: None if np.isnan(value) else value for name, value in self.values.items()},
            "intervals": {name: known_limits(limits) for name, limits in self.intervals.items()},
        }


@dataclass(frozen=True)
class ImageObjects:
    """Object counts of each image.

    Attributes:
        counts: (N, K - 1, COUNTS) of the images and the classes after the background.
        names: (N,) of the images.
        scores: by the name of the class.
    """

    counts: NDArray[np.float64] = field(repr=False)
    names: tuple[str, ...]
    scores: Mapping[str, ObjectScore]

    @classmethod
    def of(cls, truth: GroundTruth, counts: Sequence[NDArray[np.float64]], resampling: Resampling) -> Self:
        """Score all images of a truth from their counts (K - 1, COUNTS), in its order."""
        every = np.stack(counts)
        limits = bootstrap_interval(
            every,
            _values,
            groups=truth.groups if resampling.by_group else None,
            draws=resampling.draws,
            seed=resampling.seed,
        )
        pooled = every.sum(axis=0)
        names = (*AP_NAMES, *MEASURES)
        scores = {
            info.name: ObjectScore(
                true=int(total[Count.TRUE]),
                predicted=int(total[Count.PREDICTED]),
                merges=int(total[Count.MERGES]),
                splits=int(total[Count.SPLITS]),
                values=dict(zip(names, map(float, _values(total)), strict=True)),
                intervals={name: (float(low), float(high)) for name, (low, high) in zip(names, ends.T, strict=True)},
            )
            for info, total, ends in zip(truth.classes[1:], pooled, np.moveaxis(limits, 1, 0), strict=True)
        }
        return cls(every, truth.names, scores)

    def cells(self, image: str) -> dict[str, int | float]:
        """The objects of an image and their F1, of each class, under the names of columns."""
        cells: dict[str, int | float] = {}
        for name, counts in zip(self.scores, self.counts[self.names.index(image)], strict=True):
            cells |= {f"true_objects {name}": int(counts[Count.TRUE])}
            cells |= {f"predicted_objects {name}": int(counts[Count.PREDICTED]), f"f1 {name}": float(f1(counts)[0])}
        return cells

    def record(self) -> dict[str, ObjectNumbers]:
        """What the document says of them, by the name of the class."""
        return {name: score.record() for name, score in self.scores.items()}


def refuse_strokes(truth: GroundTruth) -> None:
    """Raise `DataError` where the truth was drawn in part: strokes are no objects."""
    if truth.drawn_in is not None:
        raise DataError(
            "The true masks were drawn in part, so where single objects end is not known", fix="Leave out --objects."
        )


def count_objects(
    truth: GroundTruth, predicted: Iterable[Objects], output: Output, resampling: Resampling
) -> ImageObjects:
    """Compare the objects of every image.

    Args:
        truth: what is right.
        predicted: the objects of each image, in the order of the truth.
        output: for the progress bar.
        resampling: how intervals are drawn.

    Raises:
        DataError: a prediction has another shape than its image.
    """
    counts = []
    for number, objects in enumerate(output.track(iter(predicted), "Matching objects", len(truth.names))):
        with naming(truth, number):
            ignored = truth.labels(number) == truth.ignore
            counts.append(image_counts(truth.objects(number), objects, ignored, len(truth.classes)))
    return ImageObjects.of(truth, counts, resampling)


def image_counts(truth: Objects, predicted: Objects, ignored: Pixels, classes: int) -> NDArray[np.float64]:
    """Counts (K - 1, COUNTS) of one image, by class.

    Args:
        truth: the true objects.
        predicted: those to be scored. One with more than half of its pixels on ignored ones counts nowhere.
        ignored: (H, W) the pixels that are not counted.
        classes: their number K, the background included.
    """
    seen = _without_ignored(predicted, ignored) if ignored.any() else predicted
    return np.stack([object_counts(_of_class(truth, code), _of_class(seen, code)) for code in range(1, classes)])


def _without_ignored(objects: Objects, ignored: Pixels) -> Objects:
    count = len(objects.classes) + 1
    areas = np.bincount(objects.numbers.ravel(), minlength=count)
    hidden = np.bincount(objects.numbers[ignored], minlength=count)
    dropped = (2 * hidden > areas)[objects.numbers] | ignored
    return Objects(np.where(dropped, 0, objects.numbers), objects.classes)


def _of_class(objects: Objects, code: int) -> NDArray[np.int32]:
    """The numbers (H, W) of the objects of one class alone."""
    of_class = np.concatenate([[False], objects.classes == code])
    alone: NDArray[np.int32] = np.where(of_class[objects.numbers], objects.numbers, 0)
    return alone


def _values(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., COUNTS) -> (..., values): those of `AP_NAMES` and `MEASURES`."""
    ap = average_precision(counts)
    first = [measure(counts)[..., :1] for measure in (precision, recall, f1)]
    return np.concatenate(
        [ap, ap.mean(axis=-1, keepdims=True), *first, panoptic_quality(counts), seg(counts)[..., None]], axis=-1
    )
