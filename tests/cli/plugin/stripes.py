"""A recipe, a method, a loss and a reader of annotations as another package adds them.

`tests/cli/test_registry.py` uses all four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bioseg_cli.annotations.geometry import box
from bioseg_cli.annotations.shape import Annotation, Shape, shape_errors
from bioseg_cli.compute.device import Precision
from bioseg_cli.config import ClassInfo, StateName
from bioseg_cli.dataset.batches import ImageBatch, ImageSource, looped_order, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Drawn
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.metrics.confusion import confusion_counts, mean_iou
from bioseg_cli.model.unet import UNet
from bioseg_cli.prepare.recipe import Collection, Loaded, SourceImage
from bioseg_cli.prepare.settings import FrameConfig
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Conclusion, Labels, Status, TrainedOn
from bioseg_cli.training.loss_names import UnsupervisedLoss
from bioseg_cli.training.losses import cross_entropy
from bioseg_cli.training.method import Row, list_metrics
from bioseg_cli.training.settings import Criterion, TrainConfig

SIDE = 32


def mean_square(weak_logits: Tensor, strong_probabilities: Tensor, weight: Tensor) -> Tensor:
    """Mean square of the difference of the probabilities, over the pixels that both views show."""
    square = (weak_logits.softmax(dim=1) - strong_probabilities).square().mean(dim=1, keepdim=True)
    return (weight * square).sum() / weight.sum().clamp(min=1)


mse_loss = UnsupervisedLoss(mean_square)


def read_bars(path: Path) -> list[Annotation]:
    """The bars of a file: a line for each, with its class, its first row and the row behind its last."""
    shapes = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        with shape_errors(path, f"line {number}"):
            class_name, first, end = line.split()
            shapes.append(Shape(f"line {number}", class_name, box(0, int(first), SIDE, int(end))))
    return [Annotation(path, tuple(shapes))]


def stripe_names(path: Path) -> list[str]:
    """No annotations, as a reader must not return them."""
    return [path.name]


class StripesConfig(FrameConfig):
    """Draw bright stripes on a dark ground."""

    command: ClassVar[str] = "prepare stripes"
    recipe: ClassVar[str] = "stripes"
    example: ClassVar[str] = "--out data/stripes.h5"

    count: int = Field(default=16, ge=10, description="Number of images.")

    def collect(self, output: Output) -> Collection:
        """Images of one stripe each."""
        images = tuple(
            SourceImage(f"{number}.tif", 0, (SIDE, SIDE), str(number), True, partial(stripe, self.seed, number))
            for number in range(self.count)
        )
        classes = (BACKGROUND, ClassInfo(name="stripe", colour=(255, 200, 0)))
        return Collection(images, classes, 1, np.dtype(np.uint8), True, "drawn with the images")


def stripe(seed: int, number: int) -> Loaded:
    """Pixels (1, H, W) and labels (H, W) of an image."""
    rng = np.random.default_rng([seed, number])
    labels = np.zeros((SIDE, SIDE), np.uint8)
    first = int(rng.integers(2, SIDE - 12))
    labels[first : first + 10] = 1
    pixels = (150 * labels + rng.integers(0, 60, labels.shape)).astype(np.uint8)[None]
    return Loaded(pixels, Drawn(labels))


class PlainConfig(TrainConfig):
    """Train on labelled images alone by cross entropy."""

    command: ClassVar[str] = "train-plain"
    example: ClassVar[str] = "data/stripes.h5 --steps 30"
    criteria: ClassVar[Mapping[StateName, Criterion]] = {"best-miou": Criterion("val_mean_iou", higher_is_better=True)}

    labels: int = Field(default=4, ge=1, description="Number of labelled images.")
    label_draw: int = Field(default=0, ge=0, description="Which choice of them.")

    def method(self, dataset: Dataset, device: torch.device) -> Plain:
        """See `Plain`."""
        return Plain(dataset, self, device)


class Plain:
    """Cross entropy of labelled images."""

    name = "plain"
    remarks: Sequence[str] = ()
    warnings: Sequence[str] = ()
    training_heads: frozenset[str] = frozenset()
    teacher_decay = None
    outputs = "classes"

    def __init__(self, dataset: Dataset, config: PlainConfig, device: torch.device) -> None:
        self.dataset, self.config, self.device = dataset, config, device
        self.heads = {"main": len(dataset.classes)}
        self.labelled = dataset.label_subset(count=config.labels, draw=config.label_draw)
        self.criteria = config.criteria
        self.epoch_steps = -(-len(self.labelled) // config.batch_size)
        self.run_name = f"{dataset.path.stem}-plain-seed{config.seed}"
        images = tuple(dataset.name(index) for index in self.labelled.tolist())
        labels = Labels(count=len(images), of=len(dataset.label_order), images=images)
        self.record = TrainedOn(labels=labels)
        self._source = ImageSource(dataset, config.cache_bytes)

    def draw(self, epoch: int, step: int, progress: float = 0.0) -> ImageBatch:
        size = self.config.batch_size
        order = looped_order(self.labelled, self.epoch_steps * size, random_stream(self.config.seed, "order", epoch))
        return self._source.batch(order[step * size : (step + 1) * size])

    def loss(
        self, network: nn.Module, batch: ImageBatch, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        batch = batch.to(self.device)
        with precision.autocast():
            logits = network(batch.images)["main"]
        return {"total": cross_entropy(logits.float(), batch.labels)}

    @torch.no_grad()
    def validate(self, network: UNet, precision: Precision) -> dict[str, float]:
        counts = np.zeros((self.heads["main"],) * 2, dtype=np.int64)
        for index in self.dataset.indices("val").tolist():
            batch = self._source.batch(np.array([index])).to(self.device)
            with precision.autocast():
                predicted = network(batch.images)["main"].float().argmax(dim=1)
            counts += confusion_counts(batch.labels.cpu().numpy(), predicted.cpu().numpy(), len(counts), 255)
        return {"val_mean_iou": mean_iou(counts)}

    def describe(self, metrics: Mapping[str, float]) -> str:
        return list_metrics(metrics)

    def conclude(self, run: RunDirectory, rows: Sequence[Row], precision: Precision, output: Output) -> Conclusion:
        return Conclusion(status=Status.FINISHED)

    def images_of(self, batch: Any) -> list[str]:
        return [self.dataset.name(index) for index in batch.indices]
