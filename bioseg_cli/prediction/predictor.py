"""From pixels to class probabilities with a saved model: the one way, whatever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bioseg_cli.compute.device import Precision
from bioseg_cli.compute.memory import is_out_of_memory
from bioseg_cli.errors import RunError
from bioseg_cli.io.prefetch import prefetched
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.model.unet import folded
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.likeness import refuse_unlike
from bioseg_cli.prediction.memory import fitting_tile, may_halve, refuse_too_large, sees_the_tile, usable_bytes
from bioseg_cli.prediction.settings import DEFAULT_TILE, PredictConfig
from bioseg_cli.prediction.symmetries import SYMMETRIES, brought_back, view_of
from bioseg_cli.prediction.tiling import (
    TilePlan,
    blended_rows,
    gathered,
    lossless_overlap,
    plan_tiles,
    telling,
    tile_rows,
)

BATCH_LIMIT = 64
"""Small images predicted at once at most; more only make the first wait."""


class Predictor:
    """A saved model with the settings it predicts with.

    Args:
        model: network in evaluation mode, and its card.
        precision: what the network multiplies in, and where; the softmax is float32 always.
        head: which head of the network is asked.
        raw_clusters: clusters stay clusters and are not mapped to classes.
        tile: side of the tiles of larger images, in pixels; by default as large as the free memory allows, and smaller
            when an allocation fails nevertheless. Where the network normalises by what it is shown, the tile is part of
            the result: it is then `DEFAULT_TILE` unless it is given, whatever the memory.
        overlap: pixels that neighbouring tiles share; by default `lossless_overlap`, or half a tile where that is less.
        any_dtype: accept pixel types other than the training images'. None: no, and the command has none of the options
            of `predict`, which errors then do not advise.
        say: is told once when memory ran out and smaller batches or tiles took over.
        progress: is told after each tile which share of the tiles of an image is done. Where memory ran out, the image
            begins again. What `progress` raises ends the prediction.
        processes: that share the memory evenly.
        tta: average over the eight quarter turns and reflections of each tile (test-time augmentation).

    Attributes:
        card: of the model.
        decoder: what the channels of the head become.
        tile: side of the tiles, as it is now.
        largest_batch: most images that were predicted at once so far.

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
        tile: int | None = None,
        overlap: int | None = None,
        any_dtype: bool | None = None,
        say: Callable[[str], None] | None = None,
        progress: Callable[[float], None] | None = None,
        processes: int = 1,
        tta: bool = False,
        borders: bool = False,
    ) -> None:
        self.card = model.card
        self.decoder = HeadDecoder.of(model, head, raw_clusters=raw_clusters, borders=borders)
        self._network = folded(model.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._precision = precision
        self._usable = usable_bytes(precision.device, processes)
        self._affordable_tile = fitting_tile(self.card.architecture, self._usable, overlap)
        self._tile_is_default = tile is None and sees_the_tile(self.card.architecture)
        self._tile_may_shrink = tile is None and not self._tile_is_default
        self.tile = tile or (DEFAULT_TILE if self._tile_is_default else self._affordable_tile)
        self.largest_batch = 1
        self._overlap_given = overlap
        self._batch_limit = BATCH_LIMIT
        self._last_batch = 1
        self._say = say
        self._progress = progress
        self._any_dtype = any_dtype
        self._views = SYMMETRIES if tta else SYMMETRIES[:1]
        self._normalisation = model.card.intensities()

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        config: PredictConfig,
        precision: Precision,
        *,
        say: Callable[[str], None],
        progress: Callable[[float], None] | None = None,
        processes: int = 1,
    ) -> Self:
        """The predictor that the settings of `bioseg predict` describe; raises what the class raises."""
        return cls(
            model,
            precision,
            head=config.head,
            raw_clusters=config.raw_clusters,
            tile=config.tile,
            overlap=config.overlap,
            any_dtype=config.any_dtype,
            say=say,
            progress=progress,
            processes=processes,
            tta=config.tta,
            borders=config.objects,
        )

    def check(self, channels: int, dtype: np.dtype[Any], where: Path | None = None) -> None:
        """Raise `DataError` where an image of this kind is not what the model was trained on."""
        refuse_unlike(self.card, channels, dtype, where, any_dtype=self._any_dtype)

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring tiles share."""
        if self._overlap_given is not None:
            return self._overlap_given
        return min(lossless_overlap(self.card.architecture.depth), self.tile // 2)

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size are predicted at once: as many as have the pixels of one tile together."""
        side = self._affordable_tile if self._tile_is_default else self.tile
        return max(1, min(self._batch_limit, side**2 // (height * width)))

    def plan(self, height: int, width: int, where: Path | None = None) -> TilePlan:
        """The tiles of an image of this size, from the file `where`.

        Raises:
            RunError: the free memory is too small for the default tile, and another would change the result.
        """
        if self._tile_is_default:
            shape = min(height, self.tile), min(width, self.tile)
            refuse_too_large(self.card.architecture, shape, self.tile, self._affordable_tile, self._usable, where)
        return plan_tiles(height, width, self.tile, self.overlap, 2**self.card.architecture.depth)

    def normalised(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (..., C, H, W) in their own type as the network takes them."""
        return self._normalisation.apply(pixels)

    def predict_whole(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (B, K, H, W) of normalised images (B, C, H, W) that need no tiles.

        Raises:
            Exception: memory ran out, see `back_off`.
        """
        return self._predict_tile(self.decoder.heads, images)

    def finished_rows(
        self, read: Callable[[int, int], NDArray[Any]], height: int, width: int
    ) -> Generator[tuple[int, NDArray[np.float32]]]:
        """Yield the first row, and the probabilities (..., K, h, W), of finished rows from top to bottom.

        In memory are one row of tiles and the row that is prefetched, not the image. An array that was yielded is good
        until the next is asked for.

        Args:
            read: pixels (..., C, stop - start, W) in their own type of the rows from start to stop. Called in a thread,
                once for every row, in order, ahead of the network.
            height: H, of the image.
            width: W.

        Raises:
            Exception: memory ran out, see `back_off`; or what `read` raises.
        """
        return self._finished_rows(self.decoder.heads, read, self.plan(height, width))

    def _finished_rows(
        self, heads: Sequence[str], read: Callable[[int, int], NDArray[Any]], plan: TilePlan
    ) -> Generator[tuple[int, NDArray[np.float32]]]:
        rows = tile_rows(lambda top, bottom: self.normalised(read(top, bottom)), plan)
        predict = partial(self._predict_tile, heads)
        with closing(prefetched(rows) if len(plan.rows) > 1 else rows) as next_rows:
            told = predict if self._progress is None else telling(predict, len(plan), self._progress)
            yield from blended_rows(told, next_rows, plan)

    def back_off(self) -> bool:
        """Halve the batch, or else the tile, after an allocation failed; False where neither can be any smaller."""
        if self._last_batch > 1:
            self._batch_limit = self._last_batch // 2
        elif self._tile_may_shrink and may_halve(self.tile, self._overlap_given):
            self.tile //= 2
        else:
            return False
        self._last_batch = self.largest_batch = 1
        if self._precision.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._say is not None:
            self._say("Memory ran out: going on with smaller batches or tiles, which the record names")
            self._say = None
        return True

    def out_of_memory(self, height: int, width: int, where: Path | None) -> RunError:
        """The error for an image that does not fit in memory whatever the batch and the tile."""
        what = f"Memory ran out predicting an image of {height} x {width} pixels in tiles of {self.tile}"
        smaller = max(64, min(self.tile, max(height, width)) // 2)
        fix = f"Give --tile {smaller}." if self._any_dtype is not None else "Free some memory."
        return RunError(what, where=where, fix=fix)

    def probabilities(self, pixels: NDArray[Any], where: Path | None = None) -> NDArray[np.float32]:
        """Probability of each channel of the head (..., K, H, W), float32, for pixels in their own type.

        Args:
            pixels: an image (C, H, W), or several of one size (B, C, H, W).
            where: the file that errors name.

        Raises:
            DataError: other channels or another pixel type than the training images (`where` names the file).
            RunError: memory ran out.
        """
        return self._predict(self.decoder.heads, pixels, where)

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
        while True:
            try:
                if pixels.ndim == 3 or len(pixels) <= self._batch_limit:
                    return self._predict_array(heads, pixels, where)
                starts = range(0, len(pixels), self._batch_limit)
                parts = [pixels[start : start + starts.step] for start in starts]
                return np.concatenate([self._predict_array(heads, part, where) for part in parts])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # What the traceback holds is let go before the next attempt.
            if not self.back_off():
                raise self.out_of_memory(height, width, where)

    def _predict_array(self, heads: Sequence[str], pixels: NDArray[Any], where: Path | None) -> NDArray[np.float32]:
        height, width = pixels.shape[-2:]
        plan = self.plan(height, width, where)
        return gathered(self._finished_rows(heads, lambda top, bottom: pixels[..., top:bottom, :], plan), plan)

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger[Any]]:
        """The value of each pixel (..., H, W) in a mask, for probabilities of the head (..., K, H, W)."""
        return self.decoder.labels(probabilities)

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every value of a mask."""
        return self.decoder.dtype

    @torch.inference_mode()
    def _predict_tile(self, heads: Sequence[str], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        images = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(-1, *pixels.shape[-3:])
        self._last_batch = len(images)
        images = images.to(self._precision.device)
        joined = self._predict_view(heads, images, *self._views[0])
        for view in self._views[1:]:
            joined += self._predict_view(heads, images, *view)
        if len(self._views) > 1:
            joined /= len(self._views)
        self.largest_batch = max(self.largest_batch, len(images))
        probabilities: NDArray[np.float32] = joined.cpu().numpy()
        return probabilities.reshape(*pixels.shape[:-3], *probabilities.shape[1:])

    def _predict_view(self, heads: Sequence[str], images: Tensor, turns: int, mirrored: bool) -> Tensor:
        """Probabilities of images after so many quarter turns and a reflection, brought back to the images."""
        view = view_of(images, turns, mirrored)
        with self._precision.autocast():
            logits = self._network(view.contiguous(memory_format=torch.channels_last))
        # Channel by channel from here on, as everything after the network takes them.
        joined = torch.cat([logits[head].contiguous().softmax(dim=1, dtype=torch.float32) for head in heads], dim=1)
        return brought_back(joined, turns, mirrored)
