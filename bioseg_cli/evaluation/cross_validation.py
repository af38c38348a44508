"""How good a run is where no labelled image can be spared: each is left out of a short training and then scored.

The trainings use the run's own settings and labels and a share of its updates, so that the figure is of the recipe and
the labels, and rather too low than too high. A run with a single labelled image is cut into parts, and each part of its
labels is left out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.config import build_config
from bioseg_cli.dataset.area import labelled_area
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.ground_truth import DatasetTruth, counts_of_images, drawn_remarks
from bioseg_cli.evaluation.report import Evaluation, LabelBudget, Report, shown_path
from bioseg_cli.evaluation.scores import Resampling, score_images
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.states import recorded_data
from bioseg_cli.metrics.confusion import confusion_counts
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.training.adapted_norm import estimate_statistics
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.initial import Start, start_of
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

BUDGET_SHARE = 0.25
LEAST_UPDATES = 300
"""Each training has this share of the run's updates, and no fewer than these where the run had as many."""
MOST_LABELS = 10
"""With more labelled images a validation split costs little and says more."""
PARTS_OF_ONE = 4
"""Parts that the labels of a single image are cut into."""


@dataclass(frozen=True)
class Fold:
    """What one training leaves out.

    Attributes:
        index: of the labelled image that is scored.
        part: (H, W), true where its labels are left out and scored; everywhere, but for a run with a single image.
    """

    index: int
    part: NDArray[np.bool_]


class DatasetWithout(Dataset):
    """A data set as a training sees it that leaves a fold out: without those labels, and without validation.

    Args:
        path: of the data set.
        labelled: the labelled images of the run.
        fold: what is left out.
    """

    def __init__(self, path: Path, labelled: IntArray, fold: Fold) -> None:
        super().__init__(path)
        self._fold = fold
        self.label_order = labelled[labelled != fold.index] if fold.part.all() else labelled
        self.split = np.where(self.split == "train", "train", "test")

    def labels(self, index: int) -> Pixels:
        """The labels, `ignore` in the part that is left out."""
        labels = super().labels(index)
        return (
            np.where(self._fold.part, self.ignore, labels).astype(labels.dtype) if index == self._fold.index else labels
        )


def cross_validated(config: EvaluateConfig, output: Output) -> list[Report]:
    """Train and score every run's recipe on its own labelled images, each left out in turn; a report a run.

    Raises:
        UsageError: a run of train-iic, or one with too many labelled images.
        DataError: no run, or its data set is gone or has changed.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    return [_report(RunDirectory.open(path), config, precision, output) for path in config.runs]


def _report(run: RunDirectory, config: EvaluateConfig, precision: Precision, output: Output) -> Report:
    if run.manifest.get("command") != TrainUDAConfig.command:
        raise UsageError(
            "Only runs of train-uda learn from labels that could be left out", where=run.path, fix="Leave the run out."
        )
    data = config.data or recorded_data(run)
    with Dataset(data) as dataset:
        if dataset.content_hash != run.manifest["data"]["content_hash"]:
            raise DataError(
                f"{run.path} was trained on other data: the file has changed since, or is another",
                where=data,
                fix="Give the data set of the run with --data.",
            )
        labelled = labelled_images(run, dataset)
        folds = leave_out(dataset, labelled)
        whole = int(run.manifest["progress"]["updates"])
        updates = max(math.ceil(BUDGET_SHARE * whole), min(whole, LEAST_UPDATES))
        settings = {**run.manifest["config"], "steps": updates, "epoch_steps": updates, "patience": None}
        training = build_config(TrainUDAConfig, settings)
        start = start_of(training)
        if start is not None and start.knows_labels_of(dataset):
            raise UsageError(
                f"The run started from {start.source}, which was trained with labels of the same data set: no image "
                "that is left out would be new to it",
                where=run.path,
                fix="Leave the run out, or score it on images of another split.",
            )
        predicted = []
        for number, fold in enumerate(folds, 1):
            left_out = "" if fold.part.all() else f"part {number} of "
            output.say(
                f"{run.path}: training {number} of {len(folds)}, {updates} updates, without {left_out}"
                f"{dataset.name(fold.index)}"
            )
            predicted.append(_prediction(dataset, labelled, fold, training, start, config, precision, output))
        return _scored(run, dataset, folds, predicted, updates, config, output)


def labelled_images(run: RunDirectory, dataset: Dataset) -> IntArray:
    """The labelled images of a run, as its manifest names them.

    Raises:
        UsageError: they are too many.
    """
    names = run.manifest["labels"]["images"]
    if len(names) > MOST_LABELS:
        raise UsageError(
            f"The run has {len(names)} labelled images, and --cross-validate is for {MOST_LABELS} at most",
            where=run.path,
            fix="Score it on its validation split: leave out --cross-validate.",
        )
    of_name = {dataset.name(int(index)): int(index) for index in dataset.label_order}
    return np.array([of_name[name] for name in names], dtype=np.int64)


def leave_out(dataset: Dataset, labelled: IntArray) -> list[Fold]:
    """A fold for each labelled image; of a single one, for each of its parts with about as many labelled pixels.

    The parts are bands across the longer side: pixels of a part then have few neighbours that were trained on.

    Raises:
        DataError: without one of the parts a single image shows one class alone.
    """
    shape = dataset.image_shape[1:]
    if len(labelled) > 1:
        return [Fold(int(index), np.ones(shape, dtype=bool)) for index in labelled]
    index = int(labelled[0])
    labels = dataset.labels(index)
    along = int(np.argmax(shape))
    # Of a few strokes one part may be all there is of a class: then the other way round may leave some of each.
    for bands in (_bands(labels != dataset.ignore, along), _bands(labels != dataset.ignore, 1 - along)):
        parts = [bands == part for part in np.unique(bands)]
        rests = [labels[~part] for part in parts]
        if all(len(np.unique(rest[rest != dataset.ignore])) > 1 for rest in rests):
            return [Fold(index, part) for part in parts]
    raise DataError(
        f"{dataset.name(index)} is the only labelled image, and without one of {PARTS_OF_ONE} parts of its labels it "
        "shows a single class",
        where=dataset.path,
        fix="Draw each class in several places, or label another image too.",
    )


def _bands(drawn: NDArray[np.bool_], along: int) -> NDArray[np.int64]:
    """(H, W) the band of each pixel across an axis, by how many of the labelled pixels come before its middle."""
    before = drawn.sum(axis=1 - along).cumsum()
    bands = np.minimum(PARTS_OF_ONE * (before - 0.5) / before[-1], PARTS_OF_ONE - 1).astype(np.int64).clip(0)
    return np.broadcast_to(np.expand_dims(bands, 1 - along), drawn.shape)


def _prediction(
    dataset: Dataset,
    labelled: IntArray,
    fold: Fold,
    training: TrainUDAConfig,
    start: Start | None,
    config: EvaluateConfig,
    precision: Precision,
    output: Output,
) -> Pixels:
    """Class codes (H, W) of the image of a fold, by a network that was trained without it."""
    with DatasetWithout(dataset.path, labelled, fold) as remaining:
        if len(remaining.label_budgets().classes_in(remaining.label_order)) < 2:
            raise DataError(
                f"Without labels of {dataset.name(fold.index)} the others show a single class: they teach nothing",
                where=dataset.path,
                fix="Label another image too.",
            )
        every = {"labels": len(remaining.label_order), "ratio": None, "label_draw": 0, "label_images": ()}
        training = training.model_copy(update=every)
        method = UDA(remaining, training, precision.device)
        run = UnwrittenRun(dataset.path.parent, {})
        weights = None if start is None else start.fitting(training, remaining, method).tensors
        trainer = Trainer(method, remaining, training, precision, run, output, lambda: False, Alone(), weights)
        trainer.fit()
        if training.norm_images == "all":
            estimate_statistics(trainer.kept.eval(), method.all_images(), precision)
        model = LoadedModel(trainer.kept.eval(), trainer.card("last"), dataset.path)
    predictor = Predictor(model, precision, tta=config.tta)
    codes: Pixels = predictor.labels(predictor.probabilities(dataset.image(fold.index), dataset.path))
    return codes


def _scored(
    run: RunDirectory,
    dataset: Dataset,
    folds: Sequence[Fold],
    predicted: Sequence[Pixels],
    updates: int,
    config: EvaluateConfig,
    output: Output,
) -> Report:
    # The parts of one image are scored together, as one image.
    indices = np.array(list(dict.fromkeys(fold.index for fold in folds)), dtype=np.int64)
    truth = DatasetTruth(dataset, "train", indices)
    counts = dict.fromkeys(indices.tolist(), np.zeros((len(truth.classes),) * 2, dtype=np.int64))
    for fold, codes in zip(folds, predicted, strict=True):
        labels = np.where(fold.part, dataset.labels(fold.index), truth.ignore)
        counts[fold.index] = counts[fold.index] + confusion_counts(labels, codes, len(truth.classes), truth.ignore)
    images = counts_of_images(truth, counts.values())
    resampling = Resampling(config.draws, config.seed, config.by_group)
    names = [one.name for one in truth.classes]
    row = Evaluation(
        str(run.path),
        images,
        score_images(images, names, resampling),
        labels=LabelBudget(len(indices), len(dataset.label_order), **labelled_area(dataset, indices)),
    )
    wanted = [name for name in config.chosen_baselines if name != "forest"]
    baselines, said = score_baselines(wanted, truth, dataset, images, resampling, output)
    parts = f"{len(folds)} parts of the one labelled image" if len(indices) == 1 else f"{len(folds)} labelled images"
    note = (
        f"Cross-validation: {parts}, each scored by a network that was trained without it, with {updates} of the run's "
        f"{run.manifest['progress']['updates']} updates. The run itself has all labels and all updates."
    )
    notes = (note, *drawn_remarks(truth, images), *said)
    return Report(shown_path(dataset.path), "cross-validated training", (row,), baselines, notes=notes)
