"""How much the predictions of a network for one image differ when the image is turned and reflected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.likeness import is_other_size
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.symmetries import SYMMETRIES
from bioseg_cli.runs.directory import RunDirectory, checkpoint_of
from bioseg_cli.runs.output import Output
from bioseg_cli.suggest.settings import SuggestConfig

Maps = NDArray[np.float32]


class Views:
    """The network of a run, which sees images of a data set from eight sides.

    Args:
        run: the run, or a model taken from it.
        config: which state of the run, and where it computes.
        dataset: the images.
        output: is told where memory ran out.

    Attributes:
        values: what the values of its masks mean.
        of_clusters: they are clusters without a meaning.

    Raises:
        UsageError: the device is not there.
        DataError: the model is missing or damaged, or was trained on images of other channels or another type.
    """

    def __init__(self, run: Path, config: SuggestConfig, dataset: Dataset, output: Output) -> None:
        device = resolve_device(config.device)
        model = load_model(checkpoint_of(run, config.state), device)
        self.of_clusters = model.card.outputs != "classes" and "main" not in model.card.mappings
        precision = resolve_precision(config.precision, device)
        self._predictor = Predictor(model, precision, raw_clusters=self.of_clusters, say=output.say)
        self._predictor.check(dataset.image_shape[0], dataset.image_dtype, dataset.path)
        size, trained = dataset.info.pixel_size, model.card.training_pixel_size()
        if is_other_size(size, trained):
            output.warn(
                f"The images have another pixel size than the training images ({trained}): objects of another size may "
                "be missed, and the network may doubt what is new in size alone."
            )
        self._dataset = dataset
        self._run = run
        self.values: tuple[ClassInfo, ...] = self._predictor.decoder.values

    def disagreement(self, index: int) -> float:
        """Chance that two of the eight views of an image give a pixel another class, averaged over its pixels."""
        mean, chance = self._maps(index)
        return float(np.maximum(chance - (mean**2).sum(axis=0), 0).mean(dtype=np.float64))

    def labels(self, index: int) -> Pixels:
        """(H, W) values of the mask of an image without its padding, by the mean of the eight views."""
        labels: Pixels = self._predictor.labels(self._maps(index, by_value=False)[0])
        return labels

    def _maps(self, index: int, *, by_value: bool = True) -> tuple[Maps, Maps]:
        """The mean probabilities (K, H, W), and the mean chance (H, W) that a view is in two minds by itself.

        Args:
            index: of the image.
            by_value: of each value of a mask, or of each channel of the head.
        """
        pixels = self._dataset.image(index)
        inside = (slice(None), *self._dataset.extent(index))
        total: Any = 0.0
        squares: Any = 0.0
        for turns, mirrored in SYMMETRIES:
            view = np.rot90(pixels[..., ::-1] if mirrored else pixels, turns, (-2, -1))
            turned = self._predictor.probabilities(np.ascontiguousarray(view), self._dataset.path)
            back = np.rot90(turned, -turns, (-2, -1))
            probabilities = (back[..., ::-1] if mirrored else back)[inside]
            if by_value:
                probabilities = self._predictor.decoder.probabilities(np.ascontiguousarray(probabilities))
            total = total + probabilities
            squares = squares + (probabilities**2).sum(axis=0)
        return total / len(SYMMETRIES), squares / len(SYMMETRIES)

    def learnt_from(self) -> IntArray:
        """Indices of the images whose masks the run has seen.

        Raises:
            UsageError: nothing says which they are.
        """
        fix = "Give the --run directory of a training on this data set, or leave out --among all."
        if self._run.suffix == ".safetensors":
            raise UsageError("A model by itself does not say which images it learnt from", where=self._run, fix=fix)
        if self._predictor.card.dataset_hash != self._dataset.content_hash:
            what = "The run was trained on another data set: which of these images it learnt from is not known"
            raise UsageError(what, where=self._run, fix=fix)
        labelled = RunDirectory.open(self._run).manifest.labelled_images
        indices = None if labelled is None or labelled.images is None else self._dataset.named(labelled.images)
        if indices is None:
            raise DataError("The manifest does not name the labelled images of this data set", where=self._run, fix=fix)
        return indices
