"""How far the probabilities of a scored state can be taken at their word, before and after its temperature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.evaluation.document import CalibrationRecord, ReliabilityBin
from bioseg_cli.metrics.reliability import BINS, Sums, expected_calibration_error, reliability_sums

if TYPE_CHECKING:
    # Not at start: folders of masks are scored without torch.
    from bioseg_cli.prediction.head_decoder import HeadDecoder

DIGITS = 6


@dataclass(frozen=True)
class Calibration:
    """The confidence of all scored pixels beside how many of them are right.

    Attributes:
        temperature: of the state; None where none was fitted.
        before: sums of bins of the probabilities as the network gives them.
        after: of those that the temperature calibrated; the same without one.
    """

    temperature: float | None
    before: Sums
    after: Sums

    @classmethod
    def of(cls, decoder: HeadDecoder, images: Iterable[NDArray[np.float64]]) -> Calibration:
        """All images together, see `of_image`."""
        before, after = np.sum(list(images), axis=0)
        return cls(None if decoder.temperature == 1 else decoder.temperature, before, after)

    def record(self) -> CalibrationRecord:
        """What the document says of it."""
        return CalibrationRecord(
            temperature=self.temperature,
            ece=round(expected_calibration_error(self.after), DIGITS),
            ece_before=round(expected_calibration_error(self.before), DIGITS),
            reliability=_curve(self.after),
            reliability_before=_curve(self.before),
        )

    def sentence(self, name: str) -> str:
        """What a reader must know of it."""
        before, after = (expected_calibration_error(sums) for sums in (self.before, self.after))
        if self.temperature is None:
            return f"{name}: expected calibration error {before:.4f}; no temperature was fitted to the state."
        return (
            f"{name}: expected calibration error {after:.4f}; {before:.4f} without the temperature of "
            f"{self.temperature:.3g} that `predict` applies to probabilities."
        )


def of_image(
    decoder: HeadDecoder, probabilities: NDArray[np.float32], predicted: Pixels, labels: Pixels, ignore: int
) -> NDArray[np.float64]:
    """Sums of bins before and after the temperature, (2, BINS, 3), of an image.

    Args:
        decoder: of the model.
        probabilities: (K, H, W) as the network gives them.
        predicted: (H, W) classes.
        labels: (H, W) true classes.
        ignore: the label whose pixels are left out.
    """
    before = reliability_sums(probabilities, predicted, labels, ignore)
    if decoder.temperature == 1:
        return np.stack([before, before])
    return np.stack([before, reliability_sums(decoder.probabilities(probabilities), predicted, labels, ignore)])


def _curve(sums: Sums) -> tuple[ReliabilityBin, ...]:
    """The bins that hold pixels, in order of confidence."""
    return tuple(
        ReliabilityBin(
            above=place / BINS,
            pixels=int(pixels),
            confidence=round(confidence / pixels, DIGITS),
            accuracy=round(right / pixels, DIGITS),
        )
        for place, (pixels, confidence, right) in enumerate(sums.tolist())
        if pixels
    )
