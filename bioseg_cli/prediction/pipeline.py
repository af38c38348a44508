"""From image files to masks: reading, network and writing at the same time, whatever the size of an image.

Images that need no tiles are read whole in a few threads, and those of one size are predicted together. Larger ones
are read, predicted and written a row of tiles at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import is_device_failure
from bioseg_cli.compute.memory import is_out_of_memory
from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.frames import Frame, FrameReader, ImageFailed, Unreadable, of_image
from bioseg_cli.prediction.outputs import Outputs
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import Source
from bioseg_cli.runs.output import ProgressDisplay

WHOLE = 100
"""Steps of the progress of a single image."""


def _of_all(error: Exception) -> bool:
    """Whether other images would meet the same: in smaller batches or tiles they may not."""
    return isinstance(error, OutputError) or is_out_of_memory(error) or is_device_failure(error)


class ImagePrediction:
    """Prediction of many images.

    Args:
        predictor: the model.
        config: what is written, and where.
        done: called with the record's entry of each image that is done, in order.
        leave_out: called with each image that cannot be read or predicted, and why.
        unlike: called with each image that is unlike the training images, before its mask is written, and in what.
        progress: counts images, or the hundredths of a single one.
        rules: how objects are told apart, where they are written.
    """

    def __init__(
        self,
        predictor: Predictor,
        config: PredictConfig,
        done: Callable[[FileEntry], None],
        leave_out: Callable[[Source, BiosegError], None],
        unlike: Callable[[Source, Sequence[str]], None],
        progress: ProgressDisplay,
        rules: ObjectRules,
    ) -> None:
        self._predictor = predictor
        self._config = config
        self._reader = FrameReader(predictor, config)
        self._done = done
        self._leave_out = leave_out
        self._unlike = unlike
        self._progress = progress
        self._rules = rules
        self._settled: set[tuple[str, str]] = set()  # files and names of the sources that are done or left out
        self._current: Frame | None = None  # that the network has come to
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
                self._attempt([source for source in sources if not self._is_settled(source)])
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._current is None:
                    raise
            # Out here, what the traceback held is free for the next attempt.
            if not self._predictor.back_off():
                source, (_, height, width) = self._current.source, self._current.opened.shape
                self._drop(source, self._predictor.out_of_memory(height, width, source.path))

    def _attempt(self, sources: Sequence[Source]) -> None:
        waiting: list[Frame] = []  # of one size, to be predicted together
        with (
            Outputs(self._config, self._predictor.decoder, self._rules, self._written, self._drop) as outputs,
            closing(self._reader.frames(sources)) as frames,
        ):
            for frame in frames:
                if isinstance(frame, Unreadable):
                    waiting = [other for other in waiting if other.source is not frame.source]
                    self._abandon(frame, outputs)
                    continue
                if self._is_settled(frame.source):
                    continue  # an earlier frame of it failed
                if frame.number == 0 and frame.opened.about.unlike_training:
                    self._unlike(frame.source, frame.opened.about.unlike_training)
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

    def _predict_whole(self, frames: Sequence[Frame], outputs: Outputs) -> None:
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
                self._abandon(ImageFailed(self._current.source, error).failure, outputs)
            return
        for frame, probabilities in zip(frames, predicted, strict=True):
            if self._is_settled(frame.source):
                continue  # an earlier frame of it could not be written
            try:
                with of_image(frame.source):
                    outputs.take(frame.source, frame.opened, frame.number, 0, probabilities, frame.gathered)
            except ImageFailed as error:
                self._abandon(error.failure, outputs)

    def _predict_rows(self, frame: Frame, outputs: Outputs) -> None:
        """Predict a frame that is larger than a tile."""
        self._current = frame
        opened, number, gathered = frame.opened, frame.number, frame.gathered
        _, height, width = opened.shape

        def read(start: int, stop: int) -> NDArray[Any]:
            with of_image(frame.source):
                pixels = opened.read(number, start, stop)
                if gathered is not None:
                    gathered.take_pixels(start, pixels)
                return pixels

        try:
            with closing(self._predictor.finished_rows(read, height, width)) as finished:
                for top, probabilities in finished:
                    with of_image(frame.source):
                        outputs.take(frame.source, opened, number, top, probabilities, gathered)
                    self._show((number + (top + probabilities.shape[-2]) / height) / opened.frames)
        except ImageFailed as error:
            self._abandon(error.failure, outputs)
        except Exception as error:
            if _of_all(error):
                raise
            self._abandon(ImageFailed(frame.source, error).failure, outputs)

    def _abandon(self, failure: Unreadable, outputs: Outputs) -> None:
        """Leave an image out, and what is written of it."""
        outputs.abandon(failure.source)
        self._drop(failure.source, failure.error)

    def _is_settled(self, source: Source) -> bool:
        return (str(source.path), source.name) in self._settled

    def _drop(self, source: Source, error: BiosegError) -> None:
        self._settled.add((str(source.path), source.name))
        self._leave_out(source, error)
        self._show(1)

    def _written(self, entry: FileEntry) -> None:
        self._done(entry)
        self._settled.add((entry.input, entry.name))
        self._show(1)

    def _show(self, share: float) -> None:
        """Count an image that is done, or as much as there is of a single one."""
        if not self._single:
            if share == 1:
                self._progress.advance()
        elif (steps := int(WHOLE * share)) > self._steps:
            self._progress.advance(steps - self._steps)
            self._steps = steps
