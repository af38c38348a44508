"""Prediction with less memory than an image needs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.errors import DataError
from bioseg_cli.model.saved import load_model
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.pipeline import ImagePrediction
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import Source, find_sources
from bioseg_cli.runs.console import ConsoleOutput

CPU = torch.device("cpu")


def predictor_of(model: Path, **options: Any) -> Predictor:
    return Predictor(load_model(model, CPU), resolve_precision("fp32", CPU), **options)


class Limited(torch.nn.Module):
    """A network that has memory for so many pixels at once, and remembers the shapes it was asked for."""

    def __init__(self, network: torch.nn.Module, pixels: float, error: BaseException) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels
        self.error = error
        self.asked: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> Any:
        self.asked.append(tuple(images.shape))
        if images.shape[0] * images.shape[2] * images.shape[3] > self.pixels:
            raise self.error
        return self.network(images)


def limit(predictor: Predictor, pixels: float, error: BaseException | None = None) -> Limited:
    limited = Limited(predictor._network, pixels, error or RuntimeError("[enforce fail] can't allocate memory"))
    predictor._network = limited
    return limited


def predict_files(predictor: Predictor, paths: list[Path], out: Path, **options: Any) -> list[dict[str, Any]]:
    """Predict image files with a predictor that was made for the test; the entries of the record."""
    config = PredictConfig(run=Path("model"), inputs=tuple(paths), out=out, **options)
    entries: list[dict[str, Any]] = []

    def leave_out(source: Any, error: DataError) -> None:
        raise error

    def unlike(source: Any, sentences: Any) -> None:
        """Some of the images have another pixel size."""

    with ConsoleOutput(quiet=True).progress("", len(paths)) as progress, ExitStack() as opened:
        run = ImagePrediction(predictor, config, entries.append, leave_out, unlike, progress, ObjectRules())
        run.run([source for source in find_sources(config, opened) if isinstance(source, Source)])
    return entries


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
