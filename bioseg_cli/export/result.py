"""What `session.run` returns: the file that was written, and how well it agrees with the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.export.settings import FormatName


@dataclass(frozen=True)
class ExportResult:
    """An exported model.

    Attributes:
        model: file of the weights that were exported.
        format: of the file that was written.
        out: this file.
        largest_difference: between the logits of the ONNX graph and those of the network, on images of several sizes.
        sizes: (H, W) of these images.
    """

    model: Path
    format: FormatName
    out: Path
    largest_difference: float
    sizes: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "model": str(self.model),
            "format": self.format,
            "out": str(self.out),
            "largest_difference": self.largest_difference,
            "sizes": [list(size) for size in self.sizes],
        }
