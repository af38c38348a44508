"""The files of a predicted image, written in a thread while the network goes on: masks, probabilities, pictures.

Rows are compressed and written as they come; nothing of an image is held but a few strips, and its picture. Files have
temporary names until the last row of the last frame is there, so that an image that fails leaves none.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.io.files import replacing
from bioseg_cli.io.legend import Legend
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.estimate import estimated_iou
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.object_files import ObjectFiles
from bioseg_cli.prediction.pages import STRIP_BYTES, Scratch, write_pages
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import OVERLAYS_FOLDER, PROBABILITIES_FOLDER, PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source, mask_path

WAITING = 16
"""Blocks of rows that wait to be written at most."""


@dataclass(frozen=True)
class _Rows:
    """Finished rows of a frame, from row `top` on."""

    frame: int
    top: int
    labels: NDArray[np.unsignedinteger[Any]]
    """(h, W)."""
    probabilities: NDArray[np.float32] | None
    """(V, h, W), where they are written."""
    borders: NDArray[np.bool_] | None
    """(h, W), where the network sees borders of objects."""
    gathered: GatheredFrame | None


class Abandoned(Exception):
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
        self._waiting: queue.Queue[_Rows | Abandoned | None] = queue.Queue(WAITING)
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
        """Write finished rows: probabilities (K, h, W) of the decoder's heads, which may be overwritten afterwards.

        Raises:
            Exception: what went wrong with the rows before.
        """
        step = max(1, STRIP_BYTES // self._width)
        for first in range(0, probabilities.shape[-2], step):
            if self._failure is not None:
                raise self._failure
            rows, borders = self._decoder.apart(probabilities[:, first : first + step])
            labels, written = self._decoder.labels(rows), None
            expected = self._expected[frame]
            if self._config.probabilities or expected is not None:
                likely = self._decoder.probabilities(rows)
                written = likely.copy() if self._config.probabilities else None
            if expected is not None:
                expected.add(likely, labels)
            self._waiting.put(_Rows(frame, top + first, labels, written, borders, gathered))

    def finish(self) -> None:
        """No rows come any more."""
        self._waiting.put(None)

    def abandon(self) -> None:
        """Remove what there is, and wait until it is gone."""
        self._waiting.put(Abandoned())
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
                if rows.borders is not None:
                    rows.gathered.take_borders(rows.top, rows.borders)
                if rows.top + len(rows.labels) == self._height:
                    self._take_frame(rows.frame, rows.gathered, files, written)
            yield rows

    def _take_frame(self, frame: int, gathered: GatheredFrame, files: ExitStack, written: list[Path]) -> None:
        if self._objects is not None:
            self._objects.take(frame, gathered.labels, gathered.borders, gathered.pixels, files)
        if self._config.overlay:
            suffix = f"_f{frame:03d}" if self._opened.frames > 1 else ""
            written.append(self._config.out / OVERLAYS_FOLDER / f"{self.source.name}{suffix}.png")
            picture = Image.fromarray(gathered.draw(self._decoder))
            picture.save(files.enter_context(replacing(written[-1])))
