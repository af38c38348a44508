"""Intensities to [0, 1], by limits that the training images fix once for the data set and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Normalisation:
    """Affine map of intensities to [0, 1], one pair of limits a channel, fixed once from the training images."""

    method: Literal["minmax", "percentile"]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def apply(self, pixels: Array) -> NDArray[np.float32]:
        """Map `pixels` (..., C, H, W) of any type to float32 in [0, 1], clipped; a channel without range becomes 0."""
        # float32 holds every 16-bit value exactly; wider types need the subtraction in double precision.
        working = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
        low, high = (np.array(limits)[:, None, None] for limits in (self.low, self.high))
        span = high - low
        factor = np.divide(1.0, span, out=np.zeros_like(span), where=span > 0)
        scaled: NDArray[np.floating[Any]] = pixels.astype(working)
        scaled -= low.astype(working)
        scaled *= factor.astype(working)
        return np.clip(scaled, 0, 1, out=scaled).astype(np.float32, copy=False)

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON and YAML can hold; `from_json` reads it back."""
        return {"method": self.method, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(content["method"], tuple(map(float, content["low"])), tuple(map(float, content["high"])))
