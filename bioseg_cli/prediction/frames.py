"""The frames of image files, read before the network needs them; a file that cannot be read stands for itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.io.prefetch import prefetched, prefetched_map
from bioseg_cli.prediction.failures import failure_of
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.likeness import deviations, refuse_meaningless, sampled
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source

PREFETCHED_FILES = 8
"""Images that are read before they are needed at most."""


@dataclass(frozen=True)
class _Opened:
    """A source whose frames are still to be read."""

    source: Source
    opened: OpenSource


@dataclass(frozen=True)
class Frame:
    """One frame on its way to the network."""

    source: Source
    opened: OpenSource
    number: int
    pixels: NDArray[np.float32] | None
    """Normalised, (C, H, W); None where the frame is larger than a tile, and read row by row."""
    gathered: GatheredFrame | None


@dataclass(frozen=True)
class Unreadable:
    """Why a source cannot be read, or not any further."""

    source: Source
    error: BiosegError


class ImageFailed(Exception):
    """Reading or writing the image at hand failed; the network has nothing to do with it."""

    def __init__(self, source: Source, error: Exception) -> None:
        super().__init__()
        self.failure = Unreadable(source, failure_of(source, error))


@contextmanager
def of_image(source: Source) -> Iterator[None]:
    """Whatever fails within it is the failure of one image, but for an output that no image could be written to."""
    try:
        yield
    except (OutputError, ImageFailed):
        raise
    except Exception as error:
        raise ImageFailed(source, error) from error


class FrameReader:
    """Reads images in a few threads; those that need no tiles whole.

    Args:
        predictor: the model.
        config: what is written: pictures and objects need more than rows of a frame.
    """

    def __init__(self, predictor: Predictor, config: PredictConfig) -> None:
        self._predictor = predictor
        self._config = config

    def frames(self, sources: Sequence[Source]) -> Generator[Frame | Unreadable]:
        """Every frame of every source, in order; what cannot be read is in its place."""
        with prefetched_map(self._open, sources, most=PREFETCHED_FILES) as opened:
            for item in opened:
                yield from self._frames_of(item)

    def _open(self, source: Source) -> _Opened | Frame | Unreadable:
        """Open a source; an image that needs no tiles is read at once. Called in threads."""
        try:
            with of_image(source):
                opened = source.open(self._predictor.card.architecture.in_channels)
            try:
                with of_image(source):
                    channels, height, width = opened.shape
                    self._predictor.check(channels, opened.dtype, source.path)
                    if opened.frames > 1 or len(self._predictor.plan(height, width, source.path)) > 1:
                        sample = sampled(opened.shape, opened.frames, opened.read)
                        return _Opened(source, self._compared(source, opened, sample))
                    pixels = opened.read(0, 0, height)
                    frame = self._whole(source, self._compared(source, opened, pixels), 0, pixels)
            except BaseException:
                opened.close()
                raise
        except ImageFailed as error:
            return error.failure
        opened.close()
        return frame

    def _compared(self, source: Source, opened: OpenSource, pixels: NDArray[Any]) -> OpenSource:
        """The source with what is unlike the training images; raises `DataError` where its mask would mean nothing."""
        found = deviations(self._predictor.card, pixels, opened.pixel_size)
        if not self._config.force:
            refuse_meaningless(found, source.path)
        if not found:
            return opened
        sentences = tuple(deviation.sentence for deviation in found)
        return replace(opened, about=opened.about.having(unlike_training=sentences))

    def _frames_of(self, item: _Opened | Frame | Unreadable) -> Generator[Frame | Unreadable]:
        if not isinstance(item, _Opened):
            yield item
            return
        source, opened = item.source, item.opened
        with closing(opened):
            if len(self._predictor.plan(*opened.shape[1:], source.path)) == 1:
                with closing(prefetched(self._whole_frames(source, opened))) as frames:
                    yield from frames
                return
            for number in range(opened.frames):
                try:
                    with of_image(source):
                        gathered = self._gathered(opened)
                except ImageFailed as error:
                    yield error.failure
                    return
                yield Frame(source, opened, number, None, gathered)

    def _whole_frames(self, source: Source, opened: OpenSource) -> Iterator[Frame | Unreadable]:
        for number in range(opened.frames):
            try:
                with of_image(source):
                    frame = self._whole(source, opened, number, opened.read(number, 0, opened.shape[1]))
            except ImageFailed as error:
                yield error.failure
                return
            yield frame

    def _whole(self, source: Source, opened: OpenSource, number: int, pixels: NDArray[Any]) -> Frame:
        gathered = self._gathered(opened)
        if gathered is not None:
            gathered.take_pixels(0, pixels)
        return Frame(source, opened, number, self._predictor.normalised(pixels), gathered)

    def _gathered(self, opened: OpenSource) -> GatheredFrame | None:
        if not (self._config.overlay or self._config.objects):
            return None
        return GatheredFrame(opened.shape, opened.dtype, self._predictor.label_dtype, whole=self._config.objects)
