"""The files of predicted images, written in threads while the network goes on: masks, probabilities, pictures.

Rows are compressed and written as they come; nothing of an image is held but a few strips, and its picture. Files have
temporary names until the last row of the last frame is there, so that an image that fails leaves none.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.io.files import replacing
from bioseg_cli.io.legend import Legend
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.estimate import estimated_iou
from bioseg_cli.prediction.failures import failure_of
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.object_files import ObjectFiles
from bioseg_cli.prediction.pages import STRIP_BYTES, Scratch, write_pages
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import OVERLAYS_FOLDER, PROBABILITIES_FOLDER, PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source, mask_path

WAITING = 16
"""Blocks of rows that wait to be written at most."""
THREADS = 2
"""Images written at once."""
UNFINISHED = 4
"""Images that wait for the rest of their writing at most."""


@dataclass(frozen=True)
class _Rows:
    """Finished rows of a frame, from row `top` on."""

    frame: int
    top: int
    labels: NDArray[np.unsignedinteger[Any]]
    """(h, W)."""
    probabilities: NDArray[np.float32] | None
    """(V, h, W), where they are written."""
    gathered: GatheredFrame | None


class _Abandoned(Exception):
    """The image failed: what was written of it is to be removed."""


class ImageOutput:
    """The files of one image, written as its rows come."""

    def __init__(
        self, source: Source, opened: OpenSource, config: PredictConfig, decoder: HeadDecoder, rules: ObjectRules
    ) -> None:
        self.source = source
        self._opened = opened
        self._config = config
        self._decoder = decoder
        _, self._height, self._width = opened.shape
        self._waiting: queue.Queue[_Rows | _Abandoned | None] = queue.Queue(WAITING)
        self._failure: BaseException | None = None
        self._entry: Future[FileEntry] | None = None
        self._objects = ObjectFiles(source, opened, config, decoder.values, rules) if config.objects else None
        self._expected = [decoder.expected_iou() for _ in range(opened.frames)]

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Write in a thread of `pool`, until there are no more rows."""
        self._entry = pool.submit(self._run)

    def entry(self) -> FileEntry:
        """The record's entry, when the files are there; raises what went wrong with them."""
        assert self._entry is not None  # it has begun
        return self._entry.result()

    def take(self, frame: int, top: int, probabilities: NDArray[np.float32], gathered: GatheredFrame | None) -> None:
        """Write finished rows: probabilities (K, h, W) of the head, which may be overwritten afterwards.

        Raises:
            Exception: what went wrong with the rows before.
        """
        step = max(1, STRIP_BYTES // self._width)
        for first in range(0, probabilities.shape[-2], step):
            if self._failure is not None:
                raise self._failure
            rows = probabilities[:, first : first + step]
            labels, written = self._decoder.labels(rows), None
            expected = self._expected[frame]
            if self._config.probabilities or expected is not None:
                likely = self._decoder.probabilities(rows)
                written = likely.copy() if self._config.probabilities else None
            if expected is not None:
                expected.add(likely, labels)
            self._waiting.put(_Rows(frame, top + first, labels, written, gathered))

    def finish(self) -> None:
        """No rows come any more."""
        self._waiting.put(None)

    def abandon(self) -> None:
        """Remove what there is, and wait until it is gone."""
        self._waiting.put(_Abandoned())
        if self._entry is not None:
            self._entry.exception()

    def _run(self) -> FileEntry:
        ended = False

        def rows() -> Iterator[_Rows]:
            nonlocal ended
            while isinstance(given := self._waiting.get(), _Rows):
                yield given
            ended = True
            if given is not None:
                raise given

        try:
            return self._write(rows())
        except BaseException as error:
            self._failure = error
            while not ended:  # whoever gives rows must not wait for a place in the queue for ever
                ended = not isinstance(self._waiting.get(), _Rows)
            raise

    def _write(self, given: Iterator[_Rows]) -> FileEntry:
        if self._config.zarr_labels is not None:
            return self._write_zarr(given)
        out, size = self._config.out, self._opened.pixel_size
        stack, page = self._opened.stack, (self._height, self._width)
        written = [mask_path(out, self.source)]
        with ExitStack() as files:
            temporary = files.enter_context(replacing(written[0]))
            scratch = None
            if self._config.probabilities:
                written.append(out / PROBABILITIES_FOLDER / f"{self.source.name}.tif")
                temporary_probabilities = files.enter_context(replacing(written[-1]))
                scratch = Scratch(files, written[-1], len(self._decoder.values), self._height, self._width)
            labels = (rows.labels for rows in self._kept(given, scratch, files, written))
            shape = (*stack.values(), *page)
            write_pages(temporary, labels, shape, self._decoder.dtype, "".join(stack) + "YX", size, self._legend())
            if scratch is not None:
                shape = (*stack.values(), len(self._decoder.values), *page)
                dtype = np.dtype(np.float32)
                write_pages(temporary_probabilities, scratch.rows(), shape, dtype, "".join(stack) + "CYX", size)
            if self._objects is not None:
                written += self._objects.write(files)
        entry = self._entry_of(written)
        return entry if self._objects is None else entry.having(objects=self._objects.counts())

    def _write_zarr(self, given: Iterator[_Rows]) -> FileEntry:
        from bioseg_cli.prediction.zarr_masks import labels_path, open_labels  # not installed with every bioseg

        with ExitStack() as files:
            writer = open_labels(files, self._config, self.source, self._decoder)
            for rows in given:
                writer.write(rows.frame, rows.labels)
        return self._entry_of([labels_path(self._config, self.source)])

    def _entry_of(self, written: Sequence[Path]) -> FileEntry:
        entry = FileEntry(
            input=str(self.source.path),
            name=self.source.name,
            outputs=tuple(path.relative_to(self._config.out).as_posix() for path in written),
            shape=(*self._opened.stack.values(), self._height, self._width),
            pixel_size=self._opened.pixel_size,
        )
        if (estimate := estimated_iou(self._expected, self._decoder)) is not None:
            entry = entry.having(estimated_iou=estimate)
        return entry.having(**self._opened.about.given())

    def _legend(self) -> Legend:
        values = self._decoder.values
        colours = [value.colour for value in values] if self._config.lut else None
        return Legend(tuple(value.name for value in values), colours)

    def _kept(
        self, given: Iterator[_Rows], scratch: Scratch | None, files: ExitStack, written: list[Path]
    ) -> Iterator[_Rows]:
        """The same rows; probabilities are set aside, objects found and pictures written when a frame is complete."""
        for rows in given:
            if scratch is not None and rows.probabilities is not None:
                scratch.put(rows.frame, rows.top, rows.probabilities)
            if rows.gathered is not None:
                rows.gathered.take_labels(rows.top, rows.labels)
                if rows.top + len(rows.labels) == self._height:
                    self._take_frame(rows.frame, rows.gathered, files, written)
            yield rows

    def _take_frame(self, frame: int, gathered: GatheredFrame, files: ExitStack, written: list[Path]) -> None:
        if self._objects is not None:
            self._objects.take(frame, gathered.labels, gathered.pixels, files)
        if self._config.overlay:
            suffix = f"_f{frame:03d}" if self._opened.frames > 1 else ""
            written.append(self._config.out / OVERLAYS_FOLDER / f"{self.source.name}{suffix}.png")
            picture = Image.fromarray(gathered.draw(self._decoder))
            picture.save(files.enter_context(replacing(written[-1])))


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
        except _Abandoned:
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
