"""The outputs of predicted images, one after the other, each told of when its files are there or cannot be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.failures import failure_of
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.image_output import Abandoned, ImageOutput
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source

THREADS = 2
"""Images written at once."""
UNFINISHED = 4
"""Images that wait for the rest of their writing at most."""


class Outputs:
    """The outputs of images one after the other. A context manager, which waits for what is being written.

    Args:
        config: what is written, and where.
        decoder: what the channels of the head become.
        rules: how objects are told apart, where they are written.
        done: called with each image's entry of the record, in order, as soon as its files are there; after an interrupt
            perhaps again with one.
        failed: called with an image whose files cannot be written, in its place, and why; perhaps again like `done`.
    """

    def __init__(
        self,
        config: PredictConfig,
        decoder: HeadDecoder,
        rules: ObjectRules,
        done: Callable[[FileEntry], None],
        failed: Callable[[Source, BiosegError], None],
    ) -> None:
        self._config = config
        self._decoder = decoder
        self._rules = rules
        self._done = done
        self._failed = failed
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="writing")
        self._finished: deque[ImageOutput] = deque()
        self._current: ImageOutput | None = None

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.abandon()
            self._pool.shutdown()
            self._settle_all(kind)
        finally:
            # An interrupt that comes now must not leave files of which nobody is told.
            self._settle_all(kind)

    def take(
        self,
        source: Source,
        opened: OpenSource,
        frame: int,
        top: int,
        probabilities: NDArray[np.float32],
        gathered: GatheredFrame | None,
    ) -> None:
        """Write rows of a frame, see `ImageOutput.take`; all those of one image before the next.

        Raises:
            OutputError: nothing can be written any more.
            Exception: what went wrong with the files of this image.
        """
        if self._current is None:
            self._current = ImageOutput(source, opened, self._config, self._decoder, self._rules)
            self._current.begin(self._pool)
        self._current.take(frame, top, probabilities, gathered)
        if frame == opened.frames - 1 and top + probabilities.shape[-2] == opened.shape[1]:
            # In this order an interrupt between two lines loses no image that will have its files.
            self._finished.append(self._current)
            self._current.finish()
            self._current = None
            while len(self._finished) > UNFINISHED:
                self._settle()

    def _settle_all(self, kind: type[BaseException] | None) -> None:
        while self._finished:
            try:
                self._settle()
            except OutputError:
                if kind is None:
                    raise  # else the first of two errors is told

    def _settle(self) -> None:
        """Tell of the first image that is finished; where an interrupt comes, it is told of again."""
        try:
            self._tell(self._finished[0])
        except Exception:
            self._finished.popleft()
            raise
        self._finished.popleft()

    def _tell(self, output: ImageOutput) -> None:
        try:
            entry = output.entry()
        except OutputError:
            raise
        except Abandoned:
            pass  # an interrupt came when its last rows had just been handed on
        except Exception as error:
            self._failed(output.source, failure_of(output.source, error))
        else:
            self._done(entry)

    def abandon(self, source: Source | None = None) -> None:
        """Remove what was written of an image that is not complete: of `source`, or of any."""
        if self._current is not None and (source is None or source is self._current.source):
            self._current.abandon()
            self._current = None
