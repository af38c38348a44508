"""What a step of UDA sees: the views of its images, drawn from nothing but seed, epoch and step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import LABELLED_SEVERITY, Capture, draw_capture
from bioseg_cli.augment.policy import StrongView, draw_strong, draw_strong_capture, draw_weak, draw_wide
from bioseg_cli.dataset.batches import ImageBatch, grey_level_spread, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.training.denoising import HiddenPixels, draw_hidden
from bioseg_cli.training.mixing import Mixing, draw_mixing
from bioseg_cli.training.uda_settings import TrainUDAConfig


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
    mixing: Mixing | None = None
    """What is pasted into the strong views; None leaves them whole."""
    hidden: tuple[HiddenPixels, HiddenPixels] | None = None
    """Pixels of the labelled and of the unlabelled images that the denoising head has to tell; None where there is no
    such head."""


class Views:
    """Draws the views of batches.

    Args:
        dataset: open data set.
        config: settings.

    Attributes:
        spread: standard deviation of the grey levels of training images, where something is drawn in its unit.
    """

    def __init__(self, dataset: Dataset, config: TrainUDAConfig) -> None:
        self.config = config
        self.spread = grey_level_spread(dataset) if config.augment == "microscopy" or config.denoise else 0.0

    def of(
        self, labelled: ImageBatch, unlabelled: ImageBatch | None, epoch: int, step: int, progress: float
    ) -> UDABatch:
        """The images of a step with their views."""
        config = self.config
        size = config.batch_size
        random = random_stream(config.seed, "augment", epoch, step)
        draw_geometry = draw_wide if config.geometry == "wide" else draw_weak
        labelled_weak, weak = draw_geometry(size, random), draw_geometry(size, random)
        strong = self.strong(size, random)
        labelled_capture = None
        if config.augment == "microscopy":
            labelled_capture = draw_capture(
                size, self.spread, random, severity=LABELLED_SEVERITY, exposure=config.exposure
            )
        mixing, hidden = None, None
        height, width = labelled.images.shape[2:]
        if unlabelled is not None and config.mix != "none" and config.unsup_loss != "none":
            # What is pasted and its target have to lie in one frame: the strong view has the weak one's geometry.
            strong = replace(strong, rotation=Affine.identity(size))
            mixing = draw_mixing(config.mix, size, height, width, random_stream(config.seed, "mix", epoch, step))
        if unlabelled is not None and config.denoise:
            drawn = random_stream(config.seed, "hide", epoch, step)
            hidden = draw_hidden(size, height, width, drawn), draw_hidden(size, height, width, drawn)
        return UDABatch(
            labelled=labelled,
            labelled_weak=labelled_weak,
            unlabelled=unlabelled,
            weak=weak,
            strong=strong,
            progress=progress,
            labelled_capture=labelled_capture,
            mixing=mixing,
            hidden=hidden,
        )

    def strong(self, batch: int, random: np.random.Generator) -> StrongView:
        """A strong augmentation of so many images."""
        if self.config.augment == "microscopy":
            return draw_strong_capture(batch, self.spread, random, exposure=self.config.exposure)
        return draw_strong(batch, self.config.strong_ops, random)
