"""From pixels to class probabilities with a saved model: the one way, whatever asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, RunError
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.reading import Reading
from bioseg_cli.prediction.tiling import lossless_overlap, plan_tiles, predict_tiled
from bioseg_cli.runs.device import Precision, is_out_of_memory

CHANNEL_WORDS = {1: "1 channel (grey)", 3: "3 channels (colour)"}


class Predictor:
    """A saved model with the settings it predicts with.

    Args:
        model: network in evaluation mode, and its card.
        precision: what the network multiplies in, and where; the softmax is float32 always.
        head: which head of the network is asked.
        raw_clusters: clusters stay clusters and are not mapped to classes.
        tile: side of the tiles of larger images, in pixels.
        overlap: pixels that neighbouring tiles share; by default `lossless_overlap`, or half a tile where that is less.
        any_dtype: accept pixel types other than the training images'.

    Attributes:
        card: of the model.
        reading: what the channels of the head become.

    Raises:
        UsageError: the model has no such head, no clusters, or no mapping of its clusters.
    """

    def __init__(
        self,
        model: LoadedModel,
        precision: Precision,
        *,
        head: str = "main",
        raw_clusters: bool = False,
        tile: int = 1024,
        overlap: int | None = None,
        any_dtype: bool = False,
    ) -> None:
        self.card = model.card
        self.reading = Reading.of(model, head, raw_clusters=raw_clusters)
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
        """Probability of each channel of the head (..., K, H, W), float32, for pixels in their own type.

        Args:
            pixels: an image (C, H, W), or several of one size (B, C, H, W).
            where: the file that errors name.

        Raises:
            DataError: other channels or another pixel type than the training images (`where` names the file).
            RunError: memory ran out.
        """
        return self._predict((self.reading.head,), pixels, where)

    def probabilities_by_head(
        self, heads: Sequence[str], pixels: NDArray[Any], where: Path | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """The same for several heads, in one pass of the network."""
        joined = self._predict(heads, pixels, where)
        ends = np.cumsum([self.card.architecture.heads[head] for head in heads])
        return dict(zip(heads, np.split(joined, ends[:-1], axis=-3), strict=True))

    def _predict(self, heads: Sequence[str], pixels: NDArray[Any], where: Path | None) -> NDArray[np.float32]:
        self.check(pixels.shape[-3], pixels.dtype, where)
        height, width = pixels.shape[-2:]
        plan = plan_tiles(height, width, self._tile, self._overlap, 2**self.card.architecture.depth)
        try:
            return predict_tiled(partial(self._predict_tile, heads), pixels, plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            what = f"Memory ran out predicting an image of {height} x {width} pixels in tiles of {self._tile}"
            raise RunError(what, where=where, fix=f"Give --tile {max(64, self._tile // 2)}.") from error

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger[Any]]:
        """The value of each pixel (..., H, W) in a mask, for probabilities of the head (..., K, H, W)."""
        return self.reading.labels(probabilities)

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every value of a mask."""
        return self.reading.dtype

    @torch.inference_mode()
    def _predict_tile(self, heads: Sequence[str], pixels: NDArray[Any]) -> NDArray[np.float32]:
        images = torch.from_numpy(self._normalisation.apply(pixels)).reshape(-1, *pixels.shape[-3:])
        images = images.to(self._precision.device, memory_format=torch.channels_last)
        with self._precision.autocast():
            logits = self._network(images)
        joined = torch.cat([logits[head].float().softmax(dim=1) for head in heads], dim=1)
        probabilities: NDArray[np.float32] = joined.cpu().numpy()
        return probabilities.reshape(*pixels.shape[:-3], *probabilities.shape[1:])


def _channels(count: int) -> str:
    return CHANNEL_WORDS.get(count, f"{count} channels")


def _family(dtype: np.dtype[Any]) -> str:
    return "float" if dtype.kind == "f" else dtype.name
