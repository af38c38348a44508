"""A trained model on images in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.api.settings import ArgumentNames, settings_of
from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.config import DeviceName, PrecisionName, StateName
from bioseg_cli.errors import Interrupted
from bioseg_cli.io.arrays import channels_first, checked_values
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model import saved
from bioseg_cli.prediction.likeness import deviations, refuse_meaningless
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.runs.directory import checkpoint_of
from bioseg_cli.runs.logged import LoggedOutput

OnShare = Callable[[float], bool | None]
"""Is called with the share of an image that is done, from 0 to 1; returning False stops the prediction."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Attributes:
        labels: (H, W), uint8 or uint16: the number of a class in `classes`.
        probabilities: (K, H, W), float32, calibrated as far as the run is: of each class.
        classes: K names, the background first.
        pixel_size: of the image, where it was given.
        expected_iou: mean IoU that the probabilities promise, without any label; None of clusters. Of probabilities
            that nothing has calibrated it may be far off.
        warnings: what must be known of it, in sentences.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    pixel_size: PixelSize | None
    expected_iou: float | None
    warnings: tuple[str, ...] = ()


class Model:
    """A trained network, ready to predict; made by `load_model`. Threads may share it: one predicts at a time.

    Attributes:
        path: file of the weights.
        state: of the run that it is, such as best-supervised.
        classes: names of the classes, the background first; a label is an index into them.
        colours: that show the classes: red, green and blue, from 0 to 255.
        channels: C, that images must have.
        pixel_size: of the training images, where known.
        device: on which it predicts.
    """

    def __init__(self, config: PredictConfig) -> None:
        device = resolve_device(config.device)
        self._config = config
        self._precision = resolve_precision(config.precision, device)
        self._model = saved.load_model(checkpoint_of(config.run, config.state), device)
        self._lock = threading.Lock()
        self._output = LoggedOutput()
        self._progress: OnShare | None = None
        self._made = config, self._predictor(config)
        card = self._model.card
        self.path = self._model.path
        self.state = card.state
        values = self._made[1].decoder.values
        self.classes = tuple(value.name for value in values)
        self.colours = tuple(value.colour for value in values)
        self.channels = card.architecture.in_channels
        self.pixel_size = card.training_pixel_size()
        self.device = str(device)

    def __repr__(self) -> str:
        return f"<Model {self.path}: {', '.join(self.classes)}>"

    def predict(
        self,
        image: NDArray[Any],
        *,
        axes: Literal["YX", "YXC", "CYX"] | None = None,
        pixel_size: PixelSize | float | None = None,
        tta: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
        any_dtype: bool = False,
        progress: OnShare | None = None,
        force: bool = False,
    ) -> Prediction:
        """Predict one image of any size: the labels and probabilities that `bioseg predict` writes for its file.

        Args:
            image: (H, W), (H, W, C) or (C, H, W), of the pixel type of the training images.
            axes: what its axes are. By default the number of channels decides; where it leaves two ways, it is asked.
            pixel_size: of the image; a number is micrometres. It is compared with that of the training images.
            tta: average the predictions of eight quarter turns and reflections.
            tile: side of the tiles of larger images, in pixels.
            overlap: pixels that neighbouring tiles share.
            any_dtype: accept another pixel type, whose intensities mean the same.
            progress: called after each tile with the share of the image that is done; returning False stops. Where
                memory runs out, the image begins again in smaller tiles.
            force: also predict an image in which the network can see nothing.

        Raises:
            UsageError: nothing says which axis holds the channels, or tiles that do not fit.
            DataError: another number of channels or pixel type than the training images', values that are not finite,
                or an image in which the network can see nothing.
            RunError: memory ran out.
            Interrupted: `progress` returned False.
        """
        size = PixelSize(pixel_size, pixel_size) if isinstance(pixel_size, float | int) else pixel_size
        asked = {"tta": tta, "tile": tile, "overlap": overlap, "any_dtype": any_dtype, "force": force}
        with ArgumentNames(PredictConfig), self._lock:
            config = settings_of(PredictConfig, {**dict(self._config), **asked})
            pixels = checked_values(channels_first(np.asarray(image), axes, self.channels), None)
            if config != self._made[0]:
                self._made = config, self._predictor(config)
            predictor, self._progress = self._made[1], progress
            predictor.check(len(pixels), pixels.dtype)
            unlike = deviations(self._model.card, pixels, size)
            if not force:
                refuse_meaningless(unlike, None)
            raw = predictor.probabilities(pixels)
            labels = predictor.labels(raw)
            probabilities = predictor.decoder.probabilities(raw)
        expected = predictor.decoder.expected_iou()
        if expected is not None:
            expected.add(probabilities, labels)
        warnings = tuple(deviation.sentence for deviation in unlike)
        for warning in warnings:
            self._output.warn(warning)
        return Prediction(
            labels,
            probabilities,
            self.classes,
            size,
            None if expected is None else expected.mean(),
            warnings,
        )

    def _predictor(self, config: PredictConfig) -> Predictor:
        return Predictor.of(self._model, config, self._precision, say=self._output.say, progress=self._tell)

    def _tell(self, share: float) -> None:
        if self._progress is not None and self._progress(share) is False:
            raise Interrupted("The prediction was stopped")


def load_model(
    run_or_file: str | os.PathLike[str],
    *,
    state: StateName | None = None,
    head: Literal["main", "aux"] = "main",
    raw_clusters: bool = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> Model:
    """Load the model of a run directory, or a `.safetensors` file taken from one.

    Args:
        run_or_file: what `bioseg train-*` wrote.
        state: which state of the run; by default the one that stands for it.
        head: which head of a run of train-iic.
        raw_clusters: labels are the numbers of clusters and not the classes they were mapped to (train-iic).
        device: auto, cpu, cuda or mps.
        precision: auto takes bfloat16 where the hardware multiplies it natively, else float32.

    Raises:
        UsageError: the device is not there, or the model has no such head, no clusters or no mapping.
        DataError: no run, a run without that state, or a damaged model.
    """
    run = Path(run_or_file)
    with ArgumentNames(PredictConfig):
        given = {
            "run": run,
            "state": state,
            "head": head,
            "raw_clusters": raw_clusters,
            "device": device,
            "precision": precision,
        }
        # No file is read or written: images come as arrays.
        return Model(settings_of(PredictConfig, {**given, "inputs": (run,), "out": run}))
