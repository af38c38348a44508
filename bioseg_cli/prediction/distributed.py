"""Prediction of files in several processes, of this machine or of others.

The files are cut into parts. Each is predicted into a temporary folder in the output folder, and its masks are moved
into place when it ends: what is there is whole, and the record is that of one process.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from bioseg_cli.compute.device import resolve_device
from bioseg_cli.compute.jobs import run_jobs, threads_each
from bioseg_cli.errors import BiosegError, DataError, OutputError
from bioseg_cli.io.files import write_failure
from bioseg_cli.model.saved import load_model
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.likeness import unlike_training
from bioseg_cli.prediction.local import left_out
from bioseg_cli.prediction.part import WANTED, Part, PartEnd, do_part, lost_part
from bioseg_cli.prediction.record import FailureEntry, FileEntry, Outcome
from bioseg_cli.prediction.settings import PARTS_PREFIX, PredictConfig
from bioseg_cli.prediction.sources import AnySource, VolumeSource
from bioseg_cli.printable import printable
from bioseg_cli.runs.output import Output, ProgressDisplay

PARTS_EACH = 4
"""Parts for each worker: with more, the last ones end closer together, and more time goes into starting them."""
WORKERS = 16
"""How many a scheduler is taken to have: they come and go."""
FILES_A_PART = 64
"""Files of a part at most: what was done of it is lost when its worker dies."""


class DistributedPrediction:
    """A model whose predictions several processes make; members as those of `LocalPrediction`."""

    def __init__(self, checkpoint: Path, config: PredictConfig, output: Output, rules: ObjectRules) -> None:
        if config.scheduler is None:
            resolve_device(config.device)  # its processes will have what this one has
        self.manner = "in several processes" if config.scheduler is None else f"on the workers of {config.scheduler}"
        self.model = load_model(checkpoint, torch.device("cpu"))
        given = {"raw_clusters": config.raw_clusters, "borders": config.objects}
        self.decoder = HeadDecoder.of(self.model, config.head, **given)
        self._config = config
        self._rules = rules
        self._output = output
        # By file and name: a file may be given twice, in its folder and in one above.
        self._place: dict[tuple[str, str], int] = {}
        self._files: list[FileEntry] = []
        self._failures: list[FailureEntry] = []
        self._ends: dict[int, Outcome] = {}  # of parts, by the place of their first file

    @property
    def outcome(self) -> Outcome:
        """What has come of it so far, in the order of one process."""
        merged = Outcome(device=None, precision=None, environment=None, tiles=None).having(
            files=tuple(sorted(self._files, key=self._place_of)),
            failures=tuple(sorted(self._failures, key=self._place_of)),
        )
        return (
            merged.having(**merged_manner([self._ends[place] for place in sorted(self._ends)]))
            if self._ends
            else merged
        )

    def predict(self, sources: Sequence[AnySource], ended: Callable[[], None] = lambda: None) -> list[BiosegError]:
        """Predict every source, see `LocalPrediction.predict`.

        Args:
            sources: files.
            ended: called after each part, when its files are in `outcome`.

        Raises:
            UsageError: Dask is not installed.
            RunError: no scheduler answers, or it has another bioseg.
            OutputError: nothing can be written.
        """
        config = self._config
        jobs = min(config.jobs, len(sources))
        # Images first, as in one process.
        ordered = sorted(sources, key=lambda source: isinstance(source, VolumeSource))
        self._place = {(str(source.path), source.name): place for place, source in enumerate(ordered)}
        with (
            _temporary_folder(config.out) as folder,
            self._output.progress("Predicting", len(sources)) as progress,
        ):
            size = self._files_a_part(len(sources), jobs)
            crashed = self._do(_parts_of(ordered, size), folder, jobs, ended, progress)
            # One file may have been the cause: each of the others gets its mask.
            self._do([[source] for source in crashed], folder, jobs, ended, progress)
        outcome = self.outcome
        if isinstance(outcome.device, tuple) or isinstance(outcome.precision, tuple):
            self._output.warn(
                "The workers differ in device or precision, and so in rounding. Give --device, --precision."
            )
        return [DataError(entry.error) for entry in outcome.failures]

    def _place_of(self, entry: FileEntry | FailureEntry) -> int:
        return self._place[entry.input, entry.name]

    def _files_a_part(self, count: int, jobs: int) -> int:
        workers = jobs if self._config.scheduler is None else WORKERS
        return min(FILES_A_PART, math.ceil(count / (PARTS_EACH * workers)))

    def _do(
        self,
        parts: Sequence[Sequence[AnySource]],
        folder: Path,
        jobs: int,
        ended: Callable[[], None],
        progress: ProgressDisplay,
    ) -> list[AnySource]:
        """Do parts; returns the files of those of several that crashed."""
        config = self._config
        shared = {"run": self.model.path.absolute(), "state": None, "out": folder, "jobs": 1, "scheduler": None}
        shared |= {"files_from": None, "part": None}
        planned = [
            Part(
                number=number,
                names=tuple(source.name for source in sources),
                config=config.model_copy(
                    update={**shared, "inputs": tuple(source.path.absolute() for source in sources)}
                ),
                threads=threads_each(jobs) if config.scheduler is None else None,
                processes=jobs,
                rules=self._rules,
            )
            for number, sources in enumerate(parts)
        ]
        crashed: list[AnySource] = []
        if not planned:
            return crashed
        with (
            closing(run_jobs(do_part, planned, at_once=jobs, scheduler=config.scheduler, lost=lost_part)) as ends,
            _stopped_on_failure(folder),
        ):
            for part, end in ends:
                sources = parts[part.number]
                if end.crashed and len(sources) > 1:
                    crashed += sources
                    continue
                self._take(sources, end)
                ended()
                progress.advance(len(sources))
        return crashed

    def _take(self, sources: Sequence[AnySource], end: PartEnd) -> None:
        """Move the outputs of a part into place, and take its entries, with the inputs as they were given."""
        if end.unwritable is not None:
            what, fix = end.unwritable
            raise OutputError(what, where=self._config.out, fix=fix)
        if end.outcome is None or end.out is None:
            first, last = sources[0].path, sources[-1].path
            problem = str(end.problem)
            self._output.warn(f"Left out {first if first == last else f'{first} to {last}'}: {problem}")
            for source in sources:
                self._failures.append(FailureEntry(input=str(source.path), name=source.name, error=problem))
            return
        given = {str(source.path.absolute()): str(source.path) for source in sources}
        files = [entry.having(input=given[entry.input]) for entry in end.outcome.files]
        # Of a part without any file, what it was computed with counts last.
        place = min(map(self._place_of, files), default=len(self._place) + len(self._ends))
        self._ends[place] = end.outcome
        for entry in files:
            for name in entry.outputs:
                _move(end.out / name, self._config.out / name)
            self._files.append(entry)
            if entry.unlike_training:
                self._output.warn(unlike_training(Path(entry.input).name, entry.unlike_training))
        for failure in end.outcome.failures:
            path = failure.input
            error = failure.error.replace(printable(path), printable(given[path]))
            self._failures.append(failure.having(input=given[path], error=error))
            self._output.warn(left_out(error))


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=PARTS_PREFIX, dir=out)).absolute()
    except OSError as error:
        raise write_failure(error, out / PARTS_PREFIX) from error
    try:
        (folder / WANTED).touch()
        yield folder
    finally:
        (folder / WANTED).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stopped_on_failure(folder: Path) -> Iterator[None]:
    """What fails within it, or Ctrl-C, tells the processes first that nobody waits for them."""
    try:
        yield
    except BaseException:
        (folder / WANTED).unlink(missing_ok=True)
        raise


def _move(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    except OSError as error:
        raise write_failure(error, target) from error


def _parts_of(sources: Sequence[AnySource], size: int) -> list[Sequence[AnySource]]:
    return [sources[first : first + size] for first in range(0, len(sources), size)]


def merged_manner(ends: Sequence[Outcome]) -> dict[str, Any]:
    """What parts were computed with: a value where all have the same, else the tuple of them; and their tiles."""
    manner: dict[str, Any] = {}
    for name in ("device", "precision", "environment"):
        distinct: list[Any] = []
        for end in ends:
            if (value := getattr(end, name)) not in distinct:
                distinct.append(value)
        manner[name] = distinct[0] if len(distinct) == 1 else tuple(distinct)
    tiles = [end.tiles for end in ends if end.tiles is not None]
    smallest = min(tiles, key=lambda each: each.tile)
    return {**manner, "tiles": smallest.having(largest_batch=max(each.largest_batch for each in tiles))}
