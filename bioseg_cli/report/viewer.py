"""The images of a split and what saved models predict for them. It brings torch: imported only to draw pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.config import STATES, SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.clusters import likeliest_clusters
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth
from bioseg_cli.evaluation.states import SavedState, load_state
from bioseg_cli.metrics.mapping import class_labels
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.report.chosen import Scored
from bioseg_cli.runs.directory import RunDirectory


class Viewer:
    """The labelled images of a split of a data set, and predictions for them.

    Args:
        dataset: open.
        split: of it.

    Attributes:
        truth: the images, by number.
    """

    def __init__(self, dataset: Dataset, split: SplitName) -> None:
        self.truth = DatasetGroundTruth(dataset, split)
        self._dataset = dataset
        self._precision = resolve_precision("auto", resolve_device("auto"))
        self._numbers = {name: number for number, name in enumerate(self.truth.names)}
        self._last: tuple[tuple[Path, str], Predictor] | None = None

    def number(self, name: str) -> int:
        """Number of an image; raises `DataError` where the data set has none of that name."""
        if name not in self._numbers:
            where = self._dataset.path
            raise DataError(f"The data set has no image {name!r}: it is not the one that was scored", where=where)
        return self._numbers[name]

    def has_foreground(self, number: int) -> bool:
        """Whether an image holds anything but background."""
        labels = self.truth.labels(number)
        return bool(((labels != 0) & (labels != self.truth.ignore)).any())

    def labels(self, scored: Scored, number: int) -> Pixels:
        """(H, W) classes that a run predicts for an image; raises `DataError` where the run is gone."""
        predictor = self._predictor(scored)
        labels: Pixels = predictor.labels(predictor.probabilities(self.truth.stored(number), self._dataset.path))
        return labels

    def clusters(self, scored: Scored, number: int) -> tuple[dict[str, Pixels], dict[str, Pixels]]:
        """(H, W) by head: clusters, and the classes they become by the mapping of the run, where it has one.

        Raises:
            DataError: the run is gone, or was trained on other data.
        """
        predictor = self._predictor(scored)
        heads = tuple(predictor.card.architecture.heads)
        image = self.truth.stored(number)[None]
        (maps,) = likeliest_clusters(predictor.probabilities_by_head(heads, image, self._dataset.path))
        mapped = {
            head: class_labels(maps[head], np.array(mapping.classes), np.dtype(np.uint8))
            for head, mapping in predictor.card.mappings.items()
        }
        return maps, mapped

    def _predictor(self, scored: Scored) -> Predictor:
        state = next(name for name in STATES if name == scored.row.state)
        wanted = (scored.run.path, state)
        if self._last is None or self._last[0] != wanted:
            run = RunDirectory.open(scored.run.path)
            saved = SavedState(run, state, run.existing_checkpoint(state))
            model, _ = load_state(saved, self._dataset, self._precision.device, same_data=True)
            of_clusters = model.card.outputs == "clusters"
            # One at a time: a network may fill the memory.
            self._last = wanted, Predictor(model, self._precision, raw_clusters=of_clusters)
        return self._last[1]
