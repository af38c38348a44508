"""The unsupervised loss of UDA: what unlabelled images are compared with, and how.

The target is what a network says of the weak view X' = W(X): the one in training, or the average of its weights. The
strong view is X'' = W(S(X)), S an intensity change and a rotation. The prediction on X'' is brought to X' by
W S^-1 W^-1 (S^-1 alone, as the study words it, misses by twice the angle where W flips), and pixels that left the frame
in either view are masked out. Where images are mixed, S does not rotate, and both views have one frame already.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bioseg_cli.compute.device import Precision
from bioseg_cli.dataset.batches import ImageBatch
from bioseg_cli.model.unet import UNet, own_batch_statistics, without_dropout
from bioseg_cli.training.loss_names import OWN_LOSSES, installed_loss
from bioseg_cli.training.losses import (
    class_thresholds,
    kl_consistency,
    mutual_information_loss,
    pseudo_label_consistency,
    ramp_up,
)
from bioseg_cli.training.method import probabilities
from bioseg_cli.training.mixing import Example
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.views import UDABatch

FIXMATCH_CONFIDENCE = 0.95

TEACHER_DECAY = 0.99
"""Of the teacher's average, where --ema does not say another."""


class Consistency:
    """The unsupervised loss of a batch.

    Args:
        config: settings.
        deep: whether the stored pixels have more than 8 bits.

    Attributes:
        teacher_decay: of the average of the weights that predicts the target; None where the network itself does.
        fixed_target: whether no gradient flows to the target, which then has a pass of its own.
    """

    def __init__(self, config: TrainUDAConfig, *, deep: bool) -> None:
        self.config = config
        self.fixed_target = config.fixed_target
        taught = config.unsup_loss != "none" and config.teacher == "average"
        self.teacher_decay = (config.ema or TEACHER_DECAY) if taught else None
        own = config.unsup_loss in OWN_LOSSES
        self._installed = None if own else installed_loss(config.unsup_loss)
        self._deep = deep
        # A frame that goes on as its mirror image has no black corners that a network would have to make sense of.
        # Without a teacher or mixing the study's black corners stay, as the runs there are have them.
        self._mirrored = config.geometry == "wide" and (config.teacher == "average" or config.mix != "none")

    def weight(self, progress: float) -> float:
        """What the loss is multiplied by, at a share of the budget."""
        return self.config.unsup_weight * ramp_up(progress, self.config.ramp)

    def weak_view(self, images: ImageBatch, views: UDABatch) -> Tensor:
        """X', (B, C, H, W)."""
        return views.weak.warp(images.images, mirrored=self._mirrored)

    @torch.no_grad()
    def target(self, network: nn.Module, teacher: UNet | None, weak_images: Tensor, precision: Precision) -> Tensor:
        """Logits of the weak view that no gradient flows to, in float32.

        Of the teacher in evaluation mode, under its own batch-norm statistics, or else of the network in its mode but
        without dropout: a target is what the network says, and not what a random half of it says.
        """
        if (teacher is None) is not (self.teacher_decay is None):
            raise ValueError("a teacher was asked for and is not given, or the other way round")
        target_of = network if teacher is None else teacher
        with precision.autocast(), without_dropout(target_of):
            logits: Tensor = target_of(weak_images)["main"].float()
        return logits

    def loss(
        self,
        network: nn.Module,
        images: ImageBatch,
        target: Tensor,
        views: UDABatch,
        precision: Precision,
        labelled: Example | None = None,
    ) -> Tensor:
        """The unsupervised loss between the target and the prediction on the strong view.

        Args:
            network: what is trained.
            images: X.
            target: (B, K, H, W) logits of the weak view.
            views: of the images.
            precision: of the network.
            labelled: labelled images as the supervised loss has them, to be mixed in.
        """
        if views.mixing is None or labelled is None:
            strong, valid = self._aligned(network, images, views, precision)
            return self._compared(target, strong, valid, self._confidence(target, valid))
        shown = views.weak.valid_mask(images.shown, mirrored=self._mirrored)
        colours = views.strong.colour(images.images, deep=self._deep)
        unlabelled = Example(views.weak.warp(colours, mirrored=self._mirrored), target, shown)
        confidence = self._confidence(target, shown)
        example = views.mixing.of(unlabelled, labelled)
        predicted = self._predicted(network, example.images, precision)
        return self._compared(example.target, predicted, example.weight, confidence)

    def _aligned(
        self, network: nn.Module, images: ImageBatch, views: UDABatch, precision: Precision
    ) -> tuple[Tensor, Tensor]:
        """Probabilities of the strong view brought to the weak one, and where both show the pixel."""
        weak, rotation = views.weak, views.strong.rotation
        to_strong = weak.after(rotation)
        strong_images = to_strong.warp(views.strong.colour(images.images, deep=self._deep), mirrored=self._mirrored)
        strong = self._predicted(network, strong_images, precision)
        align = weak.after(rotation.inverse()).after(weak.inverse())
        # Where everything is shown the interpolation weights sum to 1, and so do the moved probabilities.
        valid = align.valid_mask(to_strong.valid_mask(images.shown)) * weak.valid_mask(images.shown)
        return align.warp(strong), valid

    @staticmethod
    def _predicted(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
        """Probabilities of strong or mixed images, which are normalised by their own statistics and leave the running
        ones alone."""
        with precision.autocast(), own_batch_statistics(network):
            return probabilities(network(images)["main"])

    def _confidence(self, target: Tensor, valid: Tensor) -> float | Tensor | None:
        """The threshold of confidence in force, one or one for each class; None counts every pixel."""
        confidence = self.config.confidence
        if confidence is None and self.config.unsup_loss == "fixmatch":
            confidence = FIXMATCH_CONFIDENCE
        if confidence is None or not self.config.class_confidence:
            return confidence
        return class_thresholds(target, valid, confidence)

    def _compared(self, target: Tensor, strong: Tensor, weight: Tensor, confidence: float | Tensor | None) -> Tensor:
        if self.config.unsup_loss == "iid":
            return mutual_information_loss(probabilities(target), strong, weight)
        if self._installed is not None:
            return self._installed.compare(target, strong, weight)
        if self.config.unsup_loss == "fixmatch":
            dice = self.config.pseudo_loss == "ce-dice"
            return pseudo_label_consistency(target, strong, weight, confidence=confidence, dice=dice)
        return kl_consistency(
            target,
            strong,
            weight,
            temperature=self.config.sharpen,
            confidence=confidence,
            stop_gradient=self.config.stop_gradient,
        )
