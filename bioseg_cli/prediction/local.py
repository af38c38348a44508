"""Prediction of sources in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.errors import BiosegError, OutputError
from bioseg_cli.model.saved import load_model
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.failures import failure_of
from bioseg_cli.prediction.likeness import unlike_training
from bioseg_cli.prediction.pipeline import WHOLE, ImagePrediction
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.record import FailureEntry, FileEntry, Outcome, Tiles
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import AnySource, Source
from bioseg_cli.runs.manifest import environment
from bioseg_cli.runs.output import Output


class LocalPrediction:
    """A model, ready to predict in this process.

    Args:
        checkpoint: the model.
        config: how it predicts, and where the masks go.
        output: is told of progress, and of what is left out.
        rules: how objects are told apart, where they are written.
        processes: that share the memory of this machine evenly, this one included.

    Attributes:
        model: loaded.
        decoder: what the channels of the head become.
        manner: where and how it predicts, in words.

    Raises:
        UsageError: the device is not there, or the model has no such head, no clusters or no mapping.
        DataError: the model is missing or damaged.
    """

    def __init__(
        self, checkpoint: Path, config: PredictConfig, output: Output, rules: ObjectRules, *, processes: int = 1
    ) -> None:
        device = resolve_device(config.device)
        self._precision = resolve_precision(config.precision, device)
        self.model = load_model(checkpoint, device)
        self._predictor = Predictor.of(self.model, config, self._precision, say=output.say, processes=processes)
        self.decoder = self._predictor.decoder
        self.manner = f"on {device} in {self._precision.name} ({self._precision.reason})"
        self._config = config
        self._rules = rules
        self._output = output
        self._manner = Outcome(device=None, precision=None, environment=None, tiles=None)
        # By file and name: after an interrupt one may be told of twice, and a volume may be called as an image is.
        self._files: dict[tuple[str, str], FileEntry] = {}
        self._failures: dict[tuple[str, str], FailureEntry] = {}

    @property
    def outcome(self) -> Outcome:
        """What has come of it so far: of files and failures those that have ended, and the tiles at the end."""
        return self._manner.having(files=tuple(self._files.values()), failures=tuple(self._failures.values()))

    def predict(self, sources: Sequence[AnySource], ended: Callable[[], None] = lambda: None) -> list[BiosegError]:
        """Predict every source; returns why those that are left out are.

        Args:
            sources: images, which are done first, and volumes.
            ended: called after each source, when it is in `outcome`.

        Raises:
            OutputError: nothing can be written.
        """
        predictor = self._predictor
        self._manner = self._manner.having(
            device=str(self._precision.device), precision=self._precision.name, environment=environment()
        )
        try:
            return self._predict_all(sources, ended)
        finally:
            tiles = Tiles(tile=predictor.tile, overlap=predictor.overlap, largest_batch=predictor.largest_batch)
            self._manner = self._manner.having(tiles=tiles)

    def _predict_all(self, sources: Sequence[AnySource], ended: Callable[[], None]) -> list[BiosegError]:
        failures: list[BiosegError] = []

        def leave_out(source: AnySource, error: BiosegError) -> None:
            failures.append(error)
            entry = FailureEntry(input=str(source.path), name=source.name, error=str(error))
            self._failures[entry.input, entry.name] = entry
            if len(sources) > 1:
                self._output.warn(left_out(str(error)))
            ended()

        def done(entry: FileEntry) -> None:
            self._files[entry.input, entry.name] = entry
            ended()

        def unlike(source: AnySource, sentences: Sequence[str]) -> None:
            self._output.warn(unlike_training(source.path.name, sentences))

        images = [source for source in sources if isinstance(source, Source)]
        if images:
            single = len(images) == 1
            what, total = (f"Predicting {images[0].name}, per cent", WHOLE) if single else ("Predicting", len(images))
            with self._output.progress(what, total) as progress:
                told = (done, leave_out, unlike)
                ImagePrediction(self._predictor, self._config, *told, progress, self._rules).run(images)
        for source in sources:
            if isinstance(source, Source):
                continue
            from bioseg_cli.prediction.volumes import predict_volume  # not installed with every bioseg

            try:
                done(predict_volume(source, self._predictor, self._config, self._output))
            except OutputError:
                raise
            except Exception as error:
                leave_out(source, failure_of(source, error))
        return failures


def left_out(reason: str) -> str:
    """The sentence about a source that could not be predicted."""
    return f"Left out: {'. '.join(reason.splitlines())}"
