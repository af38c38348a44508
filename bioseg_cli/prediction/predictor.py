"""From pixels to class probabilities with a saved model: the one way, whatever asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, RunError
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.tiling import lossless_overlap, plan_tiles, predict_tiled
from bioseg_cli.runs.device import Precision, is_out_of_memory

CHANNEL_WORDS = {1: "1 channel (grey)", 3: "3 channels (colour)"}


class Predictor:
    """A saved model with the settings it predicts with.

    Args:
        model: network in evaluation mode, and its card.
        precision: what the network multiplies in, and where; the softmax is float32 always.
        tile: side of the tiles of larger images, in pixels.
        overlap: pixels that neighbouring tiles share; by default `lossless_overlap`, or half a tile where that is less.
        any_dtype: accept pixel types other than the training images'.
    """

    def __init__(
        self,
        model: LoadedModel,
        precision: Precision,
        *,
        tile: int = 1024,
        overlap: int | None = None,
        any_dtype: bool = False,
    ) -> None:
        self.card = model.card
        self._network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._precision = precision
        self._tile = tile
        self._overlap = min(lossless_overlap(model.card.architecture.depth), tile // 2) if overlap is None else overlap
        self._any_dtype = any_dtype
        self._normalisation = model.card.intensities()

    def check(self, channels: int, dtype: np.dtype[Any], where: Path | None = None) -> None:
        """Raise `DataError` where an image of this kind is not what the model was trained on."""
        trained = self.card.architecture.in_channels
        if channels != trained:
            what = f"The image has {_channels(channels)}, the model was trained on {_channels(trained)}"
            fix = "Save it as a grey image." if trained == 1 else "Give images like those it was trained on."
            raise DataError(what, where=where, fix=fix)
        if not self._any_dtype and _family(dtype) != _family(np.dtype(self.card.image_dtype)):
            raise DataError(
                f"The image is {dtype}, the model was trained on {self.card.image_dtype}: the numbers differ",
                where=where,
                fix=f"Give {self.card.image_dtype} images, or --any-dtype if the numbers mean the same.",
            )

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size are predicted at once: as many as have the pixels of one tile together."""
        return max(1, self._tile**2 // (height * width))

    def probabilities(self, pixels: NDArray[Any], where: Path | None = None) -> NDArray[np.float32]:
        """Probability of each class (..., K, H, W), float32, for pixels in their own type.

        Args:
            pixels: an image (C, H, W), or several of one size (B, C, H, W).
            where: the file that errors name.

        Raises:
            DataError: other channels or another pixel type than the training images (`where` names the file).
            RunError: memory ran out.
        """
        self.check(pixels.shape[-3], pixels.dtype, where)
        height, width = pixels.shape[-2:]
        plan = plan_tiles(height, width, self._tile, self._overlap, 2**self.card.architecture.depth)
        try:
            return predict_tiled(self._predict_tile, pixels, plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            what = f"Memory ran out predicting an image of {height} x {width} pixels in tiles of {self._tile}"
            raise RunError(what, where=where, fix=f"Give --tile {max(64, self._tile // 2)}.") from error

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger[Any]]:
        """The most probable class of each pixel (..., H, W), for probabilities (..., K, H, W)."""
        labels: NDArray[np.unsignedinteger[Any]] = probabilities.argmax(axis=-3).astype(self.label_dtype)
        return labels

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every class code."""
        return np.dtype(np.uint8 if self.card.architecture.heads["main"] <= 256 else np.uint16)

    @torch.inference_mode()
    def _predict_tile(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        images = torch.from_numpy(self._normalisation.apply(pixels)).reshape(-1, *pixels.shape[-3:])
        images = images.to(self._precision.device, memory_format=torch.channels_last)
        with self._precision.autocast():
            logits = self._network(images)["main"]
        probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        return probabilities.reshape(*pixels.shape[:-3], *probabilities.shape[1:])


def _channels(count: int) -> str:
    return CHANNEL_WORDS.get(count, f"{count} channels")


def _family(dtype: np.dtype[Any]) -> str:
    return "float" if dtype.kind == "f" else dtype.name
