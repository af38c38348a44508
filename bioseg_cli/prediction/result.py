"""What `session.run` returns: the masks that were written, and what could not be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.prediction.record import Counts, PredictionRecord


@dataclass(frozen=True)
class PredictionResult:
    """Files that were predicted.

    Attributes:
        out: folder of the masks.
        record: what `predictions.yaml` in it says.
    """

    out: Path
    record: PredictionRecord

    @property
    def masks(self) -> tuple[Path, ...]:
        """The mask of each image or volume, in order; an image and a volume may be of one name."""
        return tuple(self.out / entry.mask for entry in self.record.files)

    @property
    def counts(self) -> Counts | None:
        """How many files were predicted, predicted again, skipped, or left without an image; with `skip_existing`."""
        return self.record.counts

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg predict --json`."""
        return {**self.record.model_dump(), "out": str(self.out)}
