"""Unsupervised Data Augmentation (Xie et al. 2020) for segmentation, as in the study's section 2.3.1.

A step sees labelled images X_l with masks and unlabelled images X:

- supervised: soft Dice between the prediction on W(X_l) and W(mask), W a weak transform;
- unsupervised: X' = W(X) and X'' = W(S(X)), with the same weak W and a strong S, and the predictions on both held
  together by KL divergence or by mutual information (`consistency.py`);
- pseudo-labels, where asked for: images that a forest has labelled are among the labelled ones (`pseudo_labels.py`);
- borders, where asked for: a second head learns where objects end (`border.py`);
- denoising, where asked for: another head tells hidden pixels of both from their surroundings (`denoising.py`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bioseg_cli.augment.affine import Affine
from bioseg_cli.compute.device import Precision
from bioseg_cli.config import BORDER_HEAD, STATES
from bioseg_cli.dataset.area import labelled_area, unlabelled_pool
from bioseg_cli.dataset.batches import IGNORE, ImageBatch, ImageSource, looped_order, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import UsageError
from bioseg_cli.metrics.confusion import confusion_counts, mean_iou
from bioseg_cli.model.unet import UNet, own_batch_statistics
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Conclusion, Labels, Status, TrainedOn
from bioseg_cli.training import border, denoising
from bioseg_cli.training.adapted_norm import adapt_states
from bioseg_cli.training.alike import flags_of_control
from bioseg_cli.training.calibrate import calibrate_states
from bioseg_cli.training.consistency import Consistency
from bioseg_cli.training.labels import labels_to_learn, remarks_on
from bioseg_cli.training.losses import cross_entropy, drop_learnt, soft_dice_loss, tsa_threshold
from bioseg_cli.training.method import Row, list_metrics
from bioseg_cli.training.mixing import Example
from bioseg_cli.training.pseudo_labels import forest_labels
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.views import UDABatch, Views


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
        denoised = {denoising.HEAD: dataset.image_shape[0]} if config.denoise else {}
        bordered = {BORDER_HEAD: 2} if config.border else {}
        self.heads = {"main": len(dataset.classes), **bordered, **denoised}
        self.training_heads = frozenset(denoised)
        labels = labels_to_learn(dataset, config)
        self.labelled: IntArray = labels.indices
        self.unlabelled: IntArray = unlabelled_pool(dataset, self.labelled)
        self.validation = dataset.indices("val")
        validated = int(dataset.labelled[self.validation].sum())
        self.criteria = config.criteria if validated else {}
        self.consistency = config.unsup_loss != "none"
        self._unsupervised = Consistency(config, deep=dataset.deep)
        self.teacher_decay = self._unsupervised.teacher_decay
        self._sees_unlabelled = self.consistency or bool(denoised)
        if (self._sees_unlabelled or config.pseudo_labels != "none") and not len(self.unlabelled):
            raise UsageError(
                "Every training image is used with its label: none is left to learn from without one",
                where=dataset.path,
                fix=f"Give a smaller --ratio, or {flags_of_control(config.model_dump())}.",
            )
        began = time.monotonic()
        self.pseudo_labels: Mapping[int, Pixels] = {}
        if config.pseudo_labels == "forest":
            self.pseudo_labels = forest_labels(dataset, self.labelled, self.unlabelled, config.seed)
        self.labelling_seconds = time.monotonic() - began
        # The labelled images keep their order, of which the draws are a function.
        taught = [index for index in self.pseudo_labels if index not in self.labelled]
        self._learnt: IntArray = np.append(self.labelled, np.array(taught, dtype=np.int64))
        self.name = (
            (f"uda-{config.unsup_loss}" if self.consistency else "supervised")
            + ("-forest" if self.pseudo_labels else "")
            + ("-denoise" if denoised else "")
        )
        drawn = f"-draw{config.label_draw}" if config.label_draw else "-named" if config.label_images else ""
        self.run_name = f"{dataset.path.stem}-{self.name}-{len(self.labelled)}labels{drawn}-seed{config.seed}"
        self.record = TrainedOn(
            labels=Labels(
                count=len(self.labelled),
                of=len(dataset.label_order),
                draw=config.label_draw,
                images=tuple(dataset.name(index) for index in self.labelled.tolist()),
                unseen=labels.unseen,
                **labelled_area(dataset, self.labelled),
            ),
            unlabelled=len(self.unlabelled) if self._sees_unlabelled else len(self.pseudo_labels),
            validation=validated,
        )
        self.warnings = labels.warnings
        self.remarks = remarks_on(dataset, config, validated)
        # The study loops the smaller subset: an epoch is one pass over the larger, in the control too.
        whole_pass = -(-max(len(self.labelled), len(self.unlabelled)) // config.batch_size)
        self.epoch_steps = config.epoch_steps or whole_pass
        marked = border.marking(dataset, self.labelled, config.border) if config.border else None
        self._source = ImageSource(dataset, config.cache_bytes, instead=marked or self.pseudo_labels.get)
        self._views = Views(dataset, config)

    def with_budget(self, config: TrainUDAConfig) -> UDA:
        """The same method with another number of updates and steps per epoch; what it has read and labelled is kept."""
        other = copy.copy(self)
        other.config = config
        other.epoch_steps = config.epoch_steps or self.epoch_steps
        return other

    def draw(self, epoch: int, step: int, progress: float = 0.0) -> UDABatch:
        """The batch of a step with its views: see `method.Method.draw`."""
        config = self.config
        crop = random_stream(config.seed, "crop", epoch, step)
        labelled = self._source.batch(
            self._turn(self._learnt, 0, epoch, step),
            crop=config.crop,
            random=crop,
            around_labels=config.crop_around == "labels",
        )
        unlabelled = None
        if self._sees_unlabelled:
            unlabelled = self._source.batch(self._turn(self.unlabelled, 1, epoch, step), crop=config.crop, random=crop)
        return self._views.of(labelled, unlabelled, epoch, step, progress)

    def _turn(self, subset: IntArray, which: int, epoch: int, step: int) -> IntArray:
        size = self.config.batch_size
        order = looped_order(subset, self.epoch_steps * size, random_stream(self.config.seed, "order", which, epoch))
        return order[step * size : (step + 1) * size]

    def loss(
        self, network: nn.Module, batch: UDABatch, precision: Precision, teacher: UNet | None = None
    ) -> dict[str, Tensor]:
        """Supervised, border, unsupervised, denoising and total loss of a step, float32 scalars."""
        labelled = batch.labelled.to(self.device)
        mirrored = self.config.geometry == "wide"
        images = labelled.images if batch.labelled_capture is None else batch.labelled_capture.apply(labelled.images)
        images = batch.labelled_weak.warp(images, mirrored=mirrored)
        labels = batch.labelled_weak.warp(labelled.labels, "nearest", fill=0 if mirrored else IGNORE, mirrored=mirrored)
        labels, borders = border.apart(labels)
        seen = images if batch.hidden is None else batch.hidden[0].hide(images)
        unlabelled = None if batch.unlabelled is None else batch.unlabelled.to(self.device)
        # Labelled and weak images feed the running batch-norm statistics kept for prediction; strong ones, inverted or
        # solarized, are normalised by their own, here and in validation, and leave those alone.
        target: Tensor | None = None
        if unlabelled is None or not self.consistency:
            with precision.autocast():
                said = network(seen)
        elif self._unsupervised.fixed_target:
            # A pass of its own, without the backward pass that batch norm would tie to that of the labelled images.
            with precision.autocast():
                said = network(seen)
            weak_images = self._unsupervised.weak_view(unlabelled, batch)
            target = self._unsupervised.target(network, teacher, weak_images, precision)
        else:
            weak_images = self._unsupervised.weak_view(unlabelled, batch)
            with precision.autocast():
                joint = network(torch.cat([seen, weak_images]))
            said = {name: logits[: len(seen)] for name, logits in joint.items()}
            target = joint["main"].float()[len(seen) :]
        logits = said["main"].float()
        losses = {"supervised": self._supervised(logits, labels, batch.progress)}
        total = losses["supervised"]
        if BORDER_HEAD in said:
            losses["border"] = self._labelled_loss(said[BORDER_HEAD].float(), borders)
            total = total + losses["border"]
        if unlabelled is not None and target is not None:
            example = Example.of_labels(images, labels, self.heads["main"])
            losses["unsupervised"] = self._unsupervised.loss(network, unlabelled, target, batch, precision, example)
            total = total + self._unsupervised.weight(batch.progress) * losses["unsupervised"]
        if unlabelled is not None and batch.hidden is not None:
            valid = batch.labelled_weak.valid_mask(labelled.shown, mirrored=mirrored)
            told = batch.hidden[0].loss(said[denoising.HEAD].float(), images, valid, self._views.spread)
            told = (told + self._denoising(network, unlabelled, batch.hidden[1], precision)) / 2
            losses["denoising"] = told
            total = total + self.config.denoise * told
        return {**losses, "total": total}

    def _denoising(
        self, network: nn.Module, images: ImageBatch, hidden: denoising.HiddenPixels, precision: Precision
    ) -> Tensor:
        """The denoising loss of unlabelled images as they are: moved, their noise would be that of several pixels."""
        with precision.autocast(), own_batch_statistics(network):
            told = network(hidden.hide(images.images))[denoising.HEAD].float()
        return hidden.loss(told, images.images, images.shown, self._views.spread)

    def _supervised(self, logits: Tensor, labels: Tensor, progress: float) -> Tensor:
        """The supervised loss of training, without what training-signal annealing leaves out."""
        if self.config.tsa != "none":
            labels = drop_learnt(logits, labels, tsa_threshold(self.config.tsa, progress, logits.shape[1]))
        return self._labelled_loss(logits, labels)

    def _labelled_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Soft Dice, or the mean of it and cross entropy."""
        config = self.config
        dice = soft_dice_loss(
            logits,
            labels,
            squared=config.dice_squared,
            background=config.dice_background,
            pool_batch=config.dice == "batch",
            smooth=config.dice_smooth,
        )
        return dice if config.sup_loss == "dice" else (dice + cross_entropy(logits, labels)) / 2

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
                    strong=self._views.strong(1, random_stream(self.config.seed, "validate", index)),
                    progress=0.0,
                )
                unsupervised.append(float(self._unsupervised.loss(network, batch, logits, views, precision)))
        metrics = {"val_supervised": float(np.mean(supervised))}
        metrics["val_unsupervised"] = float(np.mean(unsupervised)) if unsupervised else 0.0
        metrics["val_total"] = metrics["val_supervised"] + self.config.unsup_weight * metrics["val_unsupervised"]
        metrics["val_mean_iou"] = mean_iou(counts)
        return metrics

    def describe(self, metrics: Mapping[str, float]) -> str:
        """The metrics of an epoch in a line."""
        return list_metrics(metrics) or "no validation image"

    def conclude(self, run: RunDirectory, rows: Sequence[Row], precision: Precision, output: Output) -> Conclusion:
        """Estimate the statistics of the saved states on all images where that was asked for; calibrate the states."""
        if isinstance(run, UnwrittenRun):
            return Conclusion(status=Status.FINISHED)
        adapted = None
        if self.config.norm_images == "all":
            states = [state for state in STATES if run.checkpoint(state).is_file()]
            adapted = adapt_states(run, states, self.all_images, precision)
            output.say(f"The batch-norm statistics of every saved state are now those of all {adapted} training images")
        labelled = self.validation[self.dataset.labelled[self.validation]]
        calibration = calibrate_states(run, self.dataset, labelled, precision, output)
        return Conclusion(status=Status.FINISHED, norm_images=adapted, calibration=calibration)

    def all_images(self) -> Iterator[Tensor]:
        """The training images, whole, in batches."""
        images, size = self.dataset.indices("train"), self.config.batch_size
        for start in range(0, len(images), size):
            yield self._source.batch(images[start : start + size]).images

    def images_of(self, batch: UDABatch) -> list[str]:
        """Names of the images of a batch."""
        indices = batch.labelled.indices + (() if batch.unlabelled is None else batch.unlabelled.indices)
        return [self.dataset.name(index) for index in indices]
