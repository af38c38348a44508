"""Unsupervised Data Augmentation (Xie et al. 2020) for segmentation, as in the study's section 2.3.1.

A step sees labelled images X_l with masks and unlabelled images X:

- supervised: soft Dice between the prediction on W(X_l) and W(mask), W a weak transform;
- unsupervised: X' = W(X) and X'' = W(S(X)), with the same weak W and a strong S. The prediction on X'' is brought
  to X' by W S^-1 W^-1 (S^-1 alone, as the study words it, misses by twice the angle where W flips), pixels that
  left the frame in either view are masked out, and the two predictions are held together by KL divergence or by
  mutual information.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import LABELLED_SEVERITY, Capture, draw_capture
from bioseg_cli.augment.policy import StrongView, draw_strong, draw_strong_capture, draw_weak, draw_wide
from bioseg_cli.config import StateName
from bioseg_cli.dataset.batches import (
    IGNORE,
    ImageBatch,
    ImageSource,
    grey_level_spread,
    looped_order,
    random_stream,
)
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import UsageError
from bioseg_cli.metrics.confusion import confusion_counts, mean_iou
from bioseg_cli.model.unet import UNet, own_batch_statistics, without_dropout
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.device import Precision
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.launch import this_launch
from bioseg_cli.training.adapted_norm import adapt_states
from bioseg_cli.training.labels import labels_to_learn
from bioseg_cli.training.losses import (
    cross_entropy,
    drop_learnt,
    kl_consistency,
    mutual_information_loss,
    pseudo_label_consistency,
    soft_dice_loss,
    tsa_threshold,
)
from bioseg_cli.training.method import Criterion, Row, RunEnd, list_metrics, probabilities
from bioseg_cli.training.settings import TrainUDAConfig

FIXMATCH_CONFIDENCE = 0.95

CRITERIA: Mapping[StateName, Criterion] = {
    "best-supervised": Criterion("val_supervised", higher_is_better=False),
    "best-final": Criterion("val_total", higher_is_better=False),
    "best-miou": Criterion("val_mean_iou", higher_is_better=True),
}


@dataclass(frozen=True)
class UDABatch:
    """What one step sees."""

    labelled: ImageBatch
    labelled_weak: Affine
    unlabelled: ImageBatch | None
    """None in a supervised control."""
    weak: Affine
    strong: StrongView
    progress: float
    """Share of the budget spent, in [0, 1)."""
    labelled_capture: Capture | None = None
    """Intensity changes of the labelled images; None leaves them as they are."""


class UDA:
    """Dice on the labelled, consistency on the unlabelled images.

    Args:
        dataset: open data set; its test split is never read.
        config: settings.
        device: where views and losses are computed.

    Raises:
        DataError: masks of a single class.
        UsageError: more labels asked for than there are, labels that show a single class, or no unlabelled image is
            left for the consistency.
    """

    outputs: ClassVar[Literal["classes"]] = "classes"

    def __init__(self, dataset: Dataset, config: TrainUDAConfig, device: torch.device) -> None:
        self.dataset = dataset
        self.config = config
        self.device = device
        self.heads = {"main": len(dataset.classes)}
        labels = labels_to_learn(dataset, config)
        self.labelled: IntArray = labels.indices
        self.unlabelled: IntArray = np.setdiff1d(dataset.indices("train"), self.labelled)
        self.validation = dataset.indices("val")
        validated = int(dataset.labelled[self.validation].sum())
        self.criteria = CRITERIA if validated else {}
        self.consistency = config.unsup_loss != "none"
        self._fixed_target = config.unsup_loss == "fixmatch" or (config.unsup_loss == "kl" and config.stop_gradient)
        if self.consistency and not len(self.unlabelled):
            raise UsageError(
                "Every training image is used with its label: none is left for the unsupervised loss",
                where=dataset.path,
                fix="Give a smaller --ratio, or --unsup-loss none.",
            )
        self.name = f"uda-{config.unsup_loss}" if self.consistency else "supervised"
        drawn = f"-draw{config.label_draw}" if config.label_draw else ""
        self.run_name = f"{dataset.path.stem}-{self.name}-{len(self.labelled)}labels{drawn}-seed{config.seed}"
        self.record = {
            "labels": {
                "count": len(self.labelled),
                "of": len(dataset.label_order),
                "draw": config.label_draw,
                "images": [dataset.name(index) for index in self.labelled.tolist()],
                "unseen": list(labels.unseen),
            },
            "unlabelled": len(self.unlabelled) if self.consistency else 0,
            "validation": validated,
        }
        self.warnings = labels.warnings
        self.remarks = []
        if self.consistency and config.augment == "paper" and dataset.image_shape[0] != 3:
            self.remarks.append("The images are not RGB: of the nine strong operations, color changes nothing")
        if not validated:
            self.remarks.append(
                "No validation image has a mask: no best state can be chosen, and the last one is kept"
                + (" (--ema 0.99 would average it over the last updates)" if config.ema is None else "")
            )
        # The study loops the smaller subset: an epoch is one pass over the larger, in the control too.
        whole_pass = -(-max(len(self.labelled), len(self.unlabelled)) // config.batch_size)
        self.epoch_steps = config.epoch_steps or whole_pass
        self._source = ImageSource(dataset, config.cache_bytes)
        self._spread = grey_level_spread(dataset) if config.augment == "microscopy" else 0.0
        self._deep = dataset.deep

    def draw(self, epoch: int, step: int) -> UDABatch:
        """The batch of a step with its views: a function of seed, epoch and step alone."""
        config = self.config
        crop = random_stream(config.seed, "crop", epoch, step)
        views = random_stream(config.seed, "augment", epoch, step)
        labelled = self._source.batch(
            self._turn(self.labelled, 0, epoch, step),
            crop=config.crop,
            random=crop,
            around_labels=config.crop_around == "labels",
        )
        unlabelled = None
        if self.consistency:
            unlabelled = self._source.batch(self._turn(self.unlabelled, 1, epoch, step), crop=config.crop, random=crop)
        draw_geometry = draw_wide if config.geometry == "wide" else draw_weak
        labelled_weak, weak = draw_geometry(config.batch_size, views), draw_geometry(config.batch_size, views)
        strong = self._strong_view(config.batch_size, views)
        labelled_capture = None
        if config.augment == "microscopy":
            labelled_capture = draw_capture(config.batch_size, self._spread, views, severity=LABELLED_SEVERITY)
        return UDABatch(
            labelled=labelled,
            labelled_weak=labelled_weak,
            unlabelled=unlabelled,
            weak=weak,
            strong=strong,
            labelled_capture=labelled_capture,
            progress=(epoch * self.epoch_steps + step) / config.total_steps(self.epoch_steps),
        )

    def _strong_view(self, batch: int, random: np.random.Generator) -> StrongView:
        if self.config.augment == "microscopy":
            return draw_strong_capture(batch, self._spread, random)
        return draw_strong(batch, self.config.strong_ops, random)

    def _turn(self, subset: IntArray, which: int, epoch: int, step: int) -> IntArray:
        size = self.config.batch_size
        order = looped_order(subset, self.epoch_steps * size, random_stream(self.config.seed, "order", which, epoch))
        return order[step * size : (step + 1) * size]

    def loss(self, network: nn.Module, batch: UDABatch, precision: Precision) -> dict[str, Tensor]:
        """Supervised, unsupervised and total loss of a step, float32 scalars."""
        labelled = batch.labelled.to(self.device)
        mirrored = self.config.geometry == "wide"
        images = labelled.images if batch.labelled_capture is None else batch.labelled_capture.apply(labelled.images)
        images = batch.labelled_weak.warp(images, mirrored=mirrored)
        labels = batch.labelled_weak.warp(labelled.labels, "nearest", fill=0 if mirrored else IGNORE, mirrored=mirrored)
        if batch.unlabelled is None:
            with precision.autocast():
                logits = network(images)["main"]
            supervised = self._supervised(logits.float(), labels, batch.progress)
            return {"supervised": supervised, "total": supervised}
        unlabelled = batch.unlabelled.to(self.device)
        weak_images = batch.weak.warp(unlabelled.images)
        # Labelled and weak images feed the running batch-norm statistics kept for prediction; strong ones, inverted or
        # solarized, are normalised by their own, here and in validation, and leave those alone.
        if self._fixed_target:
            # A pass of its own, without the backward pass that batch norm would tie to that of the labelled images, and
            # without dropout: a target is what the network says, and not what a random half of it says.
            with precision.autocast():
                logits = network(images)["main"].float()
                with torch.no_grad(), without_dropout(network):
                    weak_logits = network(weak_images)["main"].float()
        else:
            with precision.autocast():
                joint = network(torch.cat([images, weak_images]))["main"].float()
            logits, weak_logits = joint.split(len(images))
        supervised = self._supervised(logits, labels, batch.progress)
        unsupervised = self._consistency(network, precision, unlabelled, weak_logits, batch)
        total = supervised + self.config.unsup_weight * unsupervised
        return {"supervised": supervised, "unsupervised": unsupervised, "total": total}

    def _consistency(
        self, network: nn.Module, precision: Precision, images: ImageBatch, weak_logits: Tensor, views: UDABatch
    ) -> Tensor:
        """The unsupervised loss between the weak prediction and the strong one, aligned to it."""
        weak, rotation = views.weak, views.strong.rotation
        to_strong = weak.after(rotation)
        strong_images = to_strong.warp(views.strong.colour(images.images, deep=self._deep))
        with precision.autocast(), own_batch_statistics(network):
            strong = probabilities(network(strong_images)["main"])
        align = weak.after(rotation.inverse()).after(weak.inverse())
        # Where everything is shown the interpolation weights sum to 1, and so do the moved probabilities.
        valid = align.valid_mask(to_strong.valid_mask(images.shown)) * weak.valid_mask(images.shown)
        aligned = align.warp(strong)
        if self.config.unsup_loss == "iid":
            return mutual_information_loss(probabilities(weak_logits), aligned, valid)
        if self.config.unsup_loss == "fixmatch":
            sure = FIXMATCH_CONFIDENCE if self.config.confidence is None else self.config.confidence
            return pseudo_label_consistency(weak_logits.float(), aligned, valid, confidence=sure)
        return kl_consistency(
            weak_logits.float(),
            aligned,
            valid,
            temperature=self.config.sharpen,
            confidence=self.config.confidence,
            stop_gradient=self.config.stop_gradient,
        )

    def _supervised(self, logits: Tensor, labels: Tensor, progress: float) -> Tensor:
        """The supervised loss of training, without what training-signal annealing leaves out."""
        if self.config.tsa != "none":
            labels = drop_learnt(logits, labels, tsa_threshold(self.config.tsa, progress, logits.shape[1]))
        return self._labelled_loss(logits, labels)

    def _labelled_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Soft Dice, or the mean of it and cross entropy."""
        dice = self._dice(logits, labels)
        return dice if self.config.sup_loss == "dice" else (dice + cross_entropy(logits, labels)) / 2

    def _dice(self, logits: Tensor, labels: Tensor) -> Tensor:
        config = self.config
        return soft_dice_loss(
            logits,
            labels,
            squared=config.dice_squared,
            background=config.dice_background,
            pool_batch=config.dice == "batch",
            smooth=config.dice_smooth,
        )

    @torch.no_grad()
    def validate(self, network: UNet, precision: Precision) -> dict[str, float]:
        """Losses and mean IoU on the whole validation images, each with one fixed strong view.

        Without a labelled validation image there are none.
        """
        if not self.criteria:
            return {}
        supervised, unsupervised = [], []
        counts = np.zeros((self.heads["main"], self.heads["main"]), dtype=np.int64)
        for index in self.validation.tolist():
            batch = self._source.batch(np.array([index])).to(self.device)
            with precision.autocast():
                logits = network(batch.images)["main"].float()
            if self.dataset.labelled[index]:
                supervised.append(float(self._labelled_loss(logits, batch.labels)))
                counts += confusion_counts(
                    batch.labels.cpu().numpy(), logits.argmax(dim=1).cpu().numpy(), len(counts), IGNORE
                )
            if self.consistency:
                views = UDABatch(
                    labelled=batch,
                    labelled_weak=Affine.identity(1),
                    unlabelled=batch,
                    weak=Affine.identity(1),
                    strong=self._strong_view(1, random_stream(self.config.seed, "validate", index)),
                    progress=0.0,
                )
                unsupervised.append(float(self._consistency(network, precision, batch, logits, views)))
        metrics = {"val_supervised": float(np.mean(supervised))}
        metrics["val_unsupervised"] = float(np.mean(unsupervised)) if unsupervised else 0.0
        metrics["val_total"] = metrics["val_supervised"] + self.config.unsup_weight * metrics["val_unsupervised"]
        metrics["val_mean_iou"] = mean_iou(counts)
        return metrics

    def describe(self, metrics: Mapping[str, float]) -> str:
        """The metrics of an epoch in a line."""
        return list_metrics(metrics) or "no validation image"

    def conclude(self, run: RunDirectory, rows: Sequence[Row], precision: Precision, output: Output) -> RunEnd:
        """Where asked to, estimate the batch-norm statistics of every saved state on all training images."""
        # One process does it: nothing of it is shared out, and the others do not write.
        if self.config.norm_images == "all" and this_launch().first:
            count = adapt_states(run, (*self.criteria, "last"), self.all_images, precision)
            run.manifest["norm_images"] = count
            output.say(f"The batch-norm statistics of every saved state are now those of all {count} training images")
        return "finished"

    def all_images(self) -> Iterator[Tensor]:
        """The training images, whole, in batches."""
        images, size = self.dataset.indices("train"), self.config.batch_size
        for start in range(0, len(images), size):
            yield self._source.batch(images[start : start + size]).images

    def images_of(self, batch: UDABatch) -> list[str]:
        """Names of the images of a batch."""
        indices = batch.labelled.indices + (() if batch.unlabelled is None else batch.unlabelled.indices)
        return [self.dataset.name(index) for index in indices]
