"""The seam between the loop and what is trained: a method says what is computed on a batch, the loop does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from bioseg_cli.compute.device import Precision
from bioseg_cli.config import StateName
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Conclusion, TrainedOn
from bioseg_cli.training.settings import Criterion

Row = Mapping[str, Any]
"""A row of metrics.csv."""


class Method(Protocol):
    """What is computed on a batch."""

    @property
    def name(self) -> str:
        """Short name for messages and the manifest."""

    @property
    def run_name(self) -> str:
        """Name of the run directory where none is given."""

    @property
    def record(self) -> TrainedOn:
        """What the manifest says of it beside the settings, such as the label subset."""

    @property
    def remarks(self) -> Sequence[str]:
        """What the reader should know before it starts."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the reader must see before it starts, such as a class that no label shows."""

    @property
    def heads(self) -> Mapping[str, int]:
        """Output channels of each head of the network."""

    @property
    def training_heads(self) -> frozenset[str]:
        """Those of the heads that only the training needs: saved models are without them."""

    @property
    def teacher_decay(self) -> float | None:
        """Decay of an average of the weights that the loss is given as a teacher; None where it asks for none."""

    @property
    def outputs(self) -> Literal["classes", "clusters"]:
        """What these channels stand for."""

    @property
    def criteria(self) -> Mapping[StateName, Criterion]:
        """The states to keep beside the last one."""

    @property
    def epoch_steps(self) -> int:
        """Updates in an epoch."""

    def draw(self, epoch: int, step: int, progress: float = 0.0) -> Any:
        """The batch of a step, with its augmentation drawn: a function of seed, epoch, step and progress alone.

        Args:
            epoch: from 0.
            step: of the epoch, from 0.
            progress: share of the budget that the updates before it have spent, in [0, 1).
        """

    def loss(
        self, network: nn.Module, batch: Any, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        """The losses by name, scalars in float32; "total" is the one to minimise.

        Args:
            network: what is trained; it gives logits by head, as a `UNet` does.
            batch: of `draw`.
            precision: of the network.
            teacher: the average of its weights so far, in evaluation mode; None where none was asked for.
        """

    def validate(self, network: UNet, precision: Precision) -> dict[str, float]:
        """Metrics of the validation split, by name; deterministic, and never of the test split."""

    def describe(self, metrics: Mapping[str, float]) -> str:
        """The metrics of an epoch in a line for the screen."""

    def conclude(self, run: RunDirectory, rows: Sequence[Row], precision: Precision, output: Output) -> Conclusion:
        """What is left to do with the saved states when the budget is spent; says how the run ended.

        Args:
            run: its saved states may be completed.
            rows: of metrics.csv, one an epoch.
            precision: with the device.
            output: for progress and warnings.
        """

    def images_of(self, batch: Any) -> list[str]:
        """Names of the images of a batch, for messages."""


def list_metrics(metrics: Mapping[str, float]) -> str:
    """Every metric with its value."""
    return ", ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in metrics.items())


def probabilities(logits: Tensor) -> Tensor:
    """Class probabilities in float32, whatever the network multiplied in."""
    return torch.softmax(logits.float(), dim=1)
