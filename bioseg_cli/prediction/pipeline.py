"""From image files to masks: reading, network and writing at the same time, whatever the size of an image.

Images that need no tiles are read whole in a few threads, and those of one size are predicted together. Larger ones
are read, predicted and written a row of tiles at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import is_device_failure
from bioseg_cli.compute.memory import is_out_of_memory
from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.io.prefetch import prefetched, prefetched_map
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.failures import failure_of
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.outputs import Outputs
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source
from bioseg_cli.runs.output import ProgressDisplay

PREFETCHED_FILES = 8
"""Images that are read before they are needed at most."""
WHOLE = 100
"""Steps of the progress of a single image."""


@dataclass(frozen=True)
class _Opened:
    """A source whose frames are still to be read."""

    source: Source
    opened: OpenSource


@dataclass(frozen=True)
class _Frame:
    """One frame on its way to the network."""

    source: Source
    opened: OpenSource
    number: int
    pixels: NDArray[np.float32] | None
    """Normalised, (C, H, W); None where the frame is larger than a tile, and read row by row."""
    gathered: GatheredFrame | None


@dataclass(frozen=True)
class _Unreadable:
    """Why a source cannot be read, or not any further."""

    source: Source
    error: BiosegError


class _ImageFailed(Exception):
    """Reading or writing the image at hand failed; the network has nothing to do with it."""

    def __init__(self, source: Source, error: Exception) -> None:
        super().__init__()
        self.failure = _Unreadable(source, failure_of(source, error))


def _of_all(error: Exception) -> bool:
    """Whether other images would meet the same: in smaller batches or tiles they may not."""
    return isinstance(error, OutputError) or is_out_of_memory(error) or is_device_failure(error)


@contextmanager
def _of_image(source: Source) -> Iterator[None]:
    """Whatever fails within it is the failure of one image, but for an output that no image could be written to."""
    try:
        yield
    except (OutputError, _ImageFailed):
        raise
    except Exception as error:
        raise _ImageFailed(source, error) from error


class ImagePrediction:
    """Prediction of many images.

    Args:
        predictor: the model.
        config: what is written, and where.
        done: called with the record's entry of each image that is done, in order.
        leave_out: called with each image that cannot be read or predicted, and why.
        progress: counts images, or the hundredths of a single one.
        rules: how objects are told apart, where they are written.
    """

    def __init__(
        self,
        predictor: Predictor,
        config: PredictConfig,
        done: Callable[[FileEntry], None],
        leave_out: Callable[[Source, BiosegError], None],
        progress: ProgressDisplay,
        rules: ObjectRules,
    ) -> None:
        self._predictor = predictor
        self._config = config
        self._done = done
        self._leave_out = leave_out
        self._progress = progress
        self._rules = rules
        self._settled: set[str] = set()  # names of the sources that are done or left out
        self._current: _Frame | None = None  # that the network has come to
        self._single = False
        self._steps = 0

    def run(self, sources: Sequence[Source]) -> None:
        """Predict all of them, in order.

        Where memory runs out, images that are not written yet are begun again in smaller batches or tiles. An image
        that does not fit whatever the batch and the tile is left out.

        Raises:
            OutputError: nothing can be written.
        """
        self._single = len(sources) == 1
        while True:
            try:
                self._attempt([source for source in sources if source.name not in self._settled])
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._current is None:
                    raise
            # Out here, what the traceback held is free for the next attempt.
            if not self._predictor.back_off():
                source, (_, height, width) = self._current.source, self._current.opened.shape
                self._drop(source, self._predictor.out_of_memory(height, width, source.path))

    def _attempt(self, sources: Sequence[Source]) -> None:
        waiting: list[_Frame] = []  # of one size, to be predicted together
        with (
            Outputs(self._config, self._predictor.decoder, self._rules, self._written, self._drop) as outputs,
            prefetched_map(self._open, sources, most=PREFETCHED_FILES) as opened,
            closing(self._frames(opened)) as frames,
        ):
            for frame in frames:
                if isinstance(frame, _Unreadable):
                    waiting = [other for other in waiting if other.source is not frame.source]
                    self._abandon(frame, outputs)
                    continue
                if frame.source.name in self._settled:
                    continue  # an earlier frame of it failed
                if waiting and (frame.pixels is None or frame.opened.shape != waiting[0].opened.shape):
                    self._predict_whole(waiting, outputs)
                    waiting = []
                if frame.pixels is None:
                    self._predict_rows(frame, outputs)
                    continue
                waiting.append(frame)
                if len(waiting) >= self._predictor.batch_size(*frame.opened.shape[1:]):
                    self._predict_whole(waiting, outputs)
                    waiting = []
            if waiting:
                self._predict_whole(waiting, outputs)

    def _open(self, source: Source) -> _Opened | _Frame | _Unreadable:
        """Open a source; an image that needs no tiles is read at once. Called in threads."""
        try:
            with _of_image(source):
                opened = source.open(self._predictor.card.architecture.in_channels)
            try:
                with _of_image(source):
                    channels, height, width = opened.shape
                    self._predictor.check(channels, opened.dtype, source.path)
                    if opened.frames > 1 or len(self._predictor.plan(height, width, source.path)) > 1:
                        return _Opened(source, opened)
                    frame = self._read_whole(source, opened, 0)
            except BaseException:
                opened.close()
                raise
        except _ImageFailed as error:
            return error.failure
        opened.close()
        return frame

    def _frames(self, sources: Iterator[_Opened | _Frame | _Unreadable]) -> Generator[_Frame | _Unreadable]:
        """Every frame of every source, in order."""
        for one in sources:
            if not isinstance(one, _Opened):
                yield one
                continue
            source, opened = one.source, one.opened
            with closing(opened):
                if len(self._predictor.plan(*opened.shape[1:], source.path)) > 1:
                    for number in range(opened.frames):
                        try:
                            with _of_image(source):
                                gathered = self._gathered(opened)
                        except _ImageFailed as error:
                            yield error.failure
                            break
                        yield _Frame(source, opened, number, None, gathered)
                else:
                    with closing(prefetched(self._whole_frames(source, opened))) as frames:
                        yield from frames

    def _whole_frames(self, source: Source, opened: OpenSource) -> Iterator[_Frame | _Unreadable]:
        for number in range(opened.frames):
            try:
                with _of_image(source):
                    frame = self._read_whole(source, opened, number)
            except _ImageFailed as error:
                yield error.failure
                return
            yield frame

    def _read_whole(self, source: Source, opened: OpenSource, number: int) -> _Frame:
        pixels = opened.read(number, 0, opened.shape[1])
        gathered = self._gathered(opened)
        if gathered is not None:
            gathered.take_pixels(0, pixels)
        return _Frame(source, opened, number, self._predictor.normalised(pixels), gathered)

    def _gathered(self, opened: OpenSource) -> GatheredFrame | None:
        if not (self._config.overlay or self._config.objects):
            return None
        return GatheredFrame(opened.shape, opened.dtype, self._predictor.label_dtype, whole=self._config.objects)

    def _predict_whole(self, frames: Sequence[_Frame], outputs: Outputs) -> None:
        """Predict frames of one size together."""
        self._current = frames[0]
        images = np.stack([frame.pixels for frame in frames if frame.pixels is not None])
        try:
            predicted = self._predictor.predict_whole(images)
        except Exception as error:
            if _of_all(error):
                raise
            if len(frames) > 1:  # one of them is the cause
                for frame in frames:
                    self._predict_whole([frame], outputs)
            else:
                self._abandon(_ImageFailed(self._current.source, error).failure, outputs)
            return
        for frame, probabilities in zip(frames, predicted, strict=True):
            if frame.source.name in self._settled:
                continue  # an earlier frame of it could not be written
            try:
                with _of_image(frame.source):
                    outputs.take(frame.source, frame.opened, frame.number, 0, probabilities, frame.gathered)
            except _ImageFailed as error:
                self._abandon(error.failure, outputs)

    def _predict_rows(self, frame: _Frame, outputs: Outputs) -> None:
        """Predict a frame that is larger than a tile."""
        self._current = frame
        opened, number, gathered = frame.opened, frame.number, frame.gathered
        _, height, width = opened.shape

        def read(start: int, stop: int) -> NDArray[Any]:
            with _of_image(frame.source):
                pixels = opened.read(number, start, stop)
                if gathered is not None:
                    gathered.take_pixels(start, pixels)
                return pixels

        try:
            with closing(self._predictor.finished_rows(read, height, width)) as finished:
                for top, probabilities in finished:
                    with _of_image(frame.source):
                        outputs.take(frame.source, opened, number, top, probabilities, gathered)
                    self._show((number + (top + probabilities.shape[-2]) / height) / opened.frames)
        except _ImageFailed as error:
            self._abandon(error.failure, outputs)
        except Exception as error:
            if _of_all(error):
                raise
            self._abandon(_ImageFailed(frame.source, error).failure, outputs)

    def _abandon(self, failure: _Unreadable, outputs: Outputs) -> None:
        """Leave an image out, and what is written of it."""
        outputs.abandon(failure.source)
        self._drop(failure.source, failure.error)

    def _drop(self, source: Source, error: BiosegError) -> None:
        self._settled.add(source.name)
        self._leave_out(source, error)
        self._show(1)

    def _written(self, entry: FileEntry) -> None:
        self._settled.add(entry.name)
        self._done(entry)
        self._show(1)

    def _show(self, share: float) -> None:
        """Count an image that is done, or as much as there is of a single one."""
        if not self._single:
            if share == 1:
                self._progress.advance()
        elif (steps := int(WHOLE * share)) > self._steps:
            self._progress.advance(steps - self._steps)
            self._steps = steps
