"""Scoring runs on the data sets they were trained for, through the same predictor as `bioseg predict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.calibration import Calibration, of_image
from bioseg_cli.evaluation.class_order import call_classes
from bioseg_cli.evaluation.clusters import (
    as_classes,
    chosen_heads,
    chosen_mappings,
    cluster_tables,
    counts_of_clusters,
    likeliest_clusters,
    mapping_notes,
)
from bioseg_cli.evaluation.controls import control_notes, refuse_no_control
from bioseg_cli.evaluation.document import ClusterMapping
from bioseg_cli.evaluation.failures import RunFailures
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, Predict, counts_of_images, remarks
from bioseg_cli.evaluation.network import NetworkOnGroundTruth
from bioseg_cli.evaluation.objects import ImageObjects, count_objects, image_counts, refuse_strokes
from bioseg_cli.evaluation.report import Evaluation, Figures, Report, shown_path
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, difference, score_images
from bioseg_cli.evaluation.seen import SeenScored, seen_among
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.states import SavedState, data_path, label_budgets, load_state, saved_states
from bioseg_cli.evaluation.unseen import unseen_classes, unseen_note
from bioseg_cli.metrics.confusion import confusion_counts
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.objects.instances import Mask, ObjectRule, find_objects
from bioseg_cli.objects.of_run import rules_of_run
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.verified import verify_before_use

SPLIT_REMARKS = {
    "train": "The runs were trained on this split: the figures say nothing of new images.",
    "val": "The saved states were chosen on this split, which flatters them; the test split is untouched by training.",
}
IMAGES_HELD = 16
"""Images whose clusters are kept for the figures: those of one run's."""

Counts = TypeVar("Counts")


def evaluate_runs(
    config: EvaluateConfig, output: Output, figures: Figures, failures: RunFailures | None = None
) -> list[Report]:
    """Score every run on the split of its data set, a report a data set.

    Args:
        config: settings.
        output: for progress bars.
        figures: draws what was scored while its images can be read.
        failures: takes the runs that cannot be scored; the others are. None = the first failure is raised.

    Raises:
        DataError: no run, no such state, a data set that is gone or has changed, or other classes than the run's.
        UsageError: a head or a mapping that a run does not have, or a control that is none.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    failures = failures or RunFailures(several=False)
    states: list[SavedState] = []
    for run in config.runs:
        with failures.of(run):
            states += saved_states(RunDirectory.open(run), config.state)
    if config.mapping != "both" and states and not any(state.of_clusters for state in states):
        raise UsageError("--mapping is for runs of train-iic, and there is none", fix="Leave it out.")
    control = None
    if config.control is not None:
        wanted = None if config.state == "all" else config.state
        (control,) = saved_states(RunDirectory.open(config.control), wanted)
        refuse_no_control(states, control)
    by_data: dict[Path, list[SavedState]] = {}
    for state in states:
        with failures.of(state.run.path):
            by_data.setdefault(data_path(state, config), []).append(state)
    reports: list[Report] = []
    for path, group in by_data.items():
        with ExitStack() as opened:
            scoring = None
            with failures.of(*(state.run.path for state in group)):
                dataset = opened.enter_context(Dataset(path))
                verify_before_use(dataset, output, whole=config.split == "test")
                if config.classes:
                    call_classes(dataset, config.classes)
                scoring = _Scoring(config, dataset, precision, output, figures, failures)
            if scoring is not None:
                reports += scoring.reports(group, control)
    return reports


class _Scoring:
    """Scores saved states on one data set.

    Attributes:
        notes: what a reader must know, as far as it is known.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        dataset: Dataset,
        precision: Precision,
        output: Output,
        figures: Figures,
        failures: RunFailures,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.precision = precision
        self.output = output
        self.figures = figures
        self.failures = failures
        self.truth = DatasetGroundTruth(dataset, config.split)
        self.resampling = Resampling(config.draws, config.seed, config.by_group)
        self._seen: dict[Path, SeenScored] = {}
        split = SPLIT_REMARKS.get(config.split)
        self.notes = [*self.truth.remarks, *([] if split is None else [split])]
        if config.objects:
            refuse_strokes(self.truth)
            self.notes.append(self.truth.objects_are)

    def reports(self, states: Sequence[SavedState], control: SavedState | None) -> list[Report]:
        """Everything scored on the data set; none where no state could be."""
        control_row = None if control is None else self._control(control)
        rows: list[Evaluation] = []
        for state in states:
            with self.failures.of(state.run.path):
                model = self._load(state)
                if model.card.outputs == "clusters":
                    rows += self._cluster_rows(state, model)
                else:
                    rows += self._class_rows(state, model, control_row)
        if not rows:
            return []
        if control is not None:
            self.notes += control_notes(states, control)
        notes = [*self.notes, *remarks(self.truth, rows[0].images, by_group=self.config.by_group)]
        baselines, said = score_baselines(
            self.config.chosen_baselines,
            self.truth,
            self.dataset,
            rows[0].images,
            self.resampling,
            self.output,
            label_budgets(states, self.dataset),
        )
        report = Report(
            data=shown_path(self.dataset.path),
            split=self.config.split,
            evaluations=tuple(rows),
            baselines=baselines,
            control=control_row,
            notes=tuple(dict.fromkeys([*notes, *said])),
        )
        return [report]

    def _load(self, state: SavedState) -> LoadedModel:
        model, said = load_state(state, self.dataset, self.precision.device, same_data=self.config.data is None)
        self.notes += said
        run = state.run
        if run.path not in self._seen:
            self._seen[run.path] = seen_among(run, self.dataset, self.truth.indices, self.config)
        self.notes += self._seen[run.path].notes
        return model

    def _control(self, state: SavedState) -> Evaluation:
        return self._classes(state, self._load(state))[0]

    def _class_rows(self, state: SavedState, model: LoadedModel, control: Evaluation | None) -> list[Evaluation]:
        """The row of a model that predicts classes."""
        chosen_heads(self.config, state, model.card)
        row, predict = self._classes(state, model)
        if control is not None:
            row = row.compared_with(difference(row.images, control.images, self.resampling))
        self.figures.differences(row, self.truth, predict)
        return [row]

    def _classes(self, state: SavedState, model: LoadedModel) -> tuple[Evaluation, Predict]:
        predictor = self._predictor(model)

        def forward(images: Pixels) -> NDArray[np.float32]:
            return predictor.probabilities(images, self.dataset.path)

        def maps(joined: NDArray[np.float32]) -> list[tuple[Pixels, NDArray[np.float32], Mask | None]]:
            own, borders = predictor.decoder.apart(joined)
            seen = [None] * len(own) if borders is None else borders
            return list(zip(predictor.labels(own), own, seen, strict=True))

        network = NetworkOnGroundTruth(self.truth, self._batch(predictor), forward, maps)
        classes, ignore, decoder = len(self.truth.classes), self.truth.ignore, predictor.decoder
        rules = self._rules(state)
        if (sentence := decoder.sentence()) is not None:
            self.notes.append(f"{state.name}: {sentence[0].lower()}{sentence[1:]}.")

        def count(
            number: int, labels: Pixels, said: tuple[Pixels, NDArray[np.float32], Mask | None]
        ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]:
            predicted, probabilities, borders = said
            counts = confusion_counts(labels, predicted, classes, ignore)
            objects = None
            if rules is not None:
                true = self.truth.objects(number)
                objects = image_counts(true, find_objects(predicted, rules, borders), labels == ignore, classes)
            return counts, of_image(decoder, probabilities, predicted, labels, ignore), objects

        counts, confidences, objects = zip(*self._tracked(state, network.compared(count)), strict=True)
        calibration = Calibration.of(decoder, confidences)
        several = self.config.state == "all"
        self.notes.append(calibration.sentence(f"{state.name}, {state.state}" if several else state.name))
        row = self._evaluation(state, counts_of_images(self.truth, counts))
        scored = None if rules is None else ImageObjects.of(self.truth, objects, self.resampling)
        return replace(row, calibration=calibration, objects=scored), lambda number: network(number)[0]

    def _rules(self, state: SavedState) -> list[ObjectRule] | None:
        """How the objects of a run are told apart; None where they are not scored."""
        if not self.config.objects:
            return None
        rules, whence = rules_of_run(state.run.path, [info.name for info in self.truth.classes])
        self.notes.append(f"{state.name}: {whence[0].lower()}{whence[1:]}.")
        return rules.of_classes(len(self.truth.classes))

    def _cluster_rows(self, state: SavedState, model: LoadedModel) -> list[Evaluation]:
        """A row for each head and mapping of a model that predicts clusters."""
        predictor = self._predictor(model, raw_clusters=True)
        heads = chosen_heads(self.config, state, model.card)
        clusters = {head: model.card.architecture.heads[head] for head in heads}
        classes, ignore = len(self.truth.classes), self.truth.ignore

        def forward(images: Pixels) -> dict[str, NDArray[np.float32]]:
            return predictor.probabilities_by_head(heads, images, self.dataset.path)

        def count(_number: int, labels: Pixels, maps: Mapping[str, Pixels]) -> dict[str, NDArray[np.int64]]:
            return cluster_tables(labels, maps, clusters, classes, ignore)

        network = NetworkOnGroundTruth(self.truth, self._batch(predictor), forward, likeliest_clusters)
        counts = counts_of_clusters(self.truth, self._tracked(state, network.compared(count)))
        # Every head and mapping has a figure, mostly of the same images.
        segment = lru_cache(maxsize=IMAGES_HELD)(network)
        mappings = {head: chosen_mappings(self.config, state, model.card, head, counts) for head in heads}
        self.notes += mapping_notes(self.config, state, model.card, mappings, self.dataset.content_hash)
        rows, rules = [], self._rules(state)
        for head, chosen in mappings.items():
            for mapping in chosen:
                row = self._evaluation(state, counts.mapped(head, mapping), head, mapping)
                predict = as_classes(segment, head, mapping)
                if rules is not None:
                    found = (find_objects(predict(number), rules) for number in range(len(self.truth.names)))
                    row = replace(row, objects=count_objects(self.truth, found, self.output, self.resampling))
                self.figures.differences(row, self.truth, predict)
                rows.append(row)
        self.figures.clusters(rows, self.truth, segment)
        return rows

    def _predictor(self, model: LoadedModel, *, raw_clusters: bool = False) -> Predictor:
        asked = self.config
        predictor = Predictor(model, self.precision, raw_clusters=raw_clusters, tta=asked.tta, borders=asked.objects)
        try:
            predictor.check(self.dataset.image_shape[0], self.dataset.image_dtype)
        except DataError as error:
            fix = "Prepare the data set from images like those."
            raise DataError(error.what, where=self.dataset.path, fix=fix) from None
        return predictor

    def _batch(self, predictor: Predictor) -> int:
        return predictor.batch_size(*self.dataset.image_shape[1:])

    def _tracked(self, state: SavedState, counts: Iterator[Counts]) -> Iterator[Counts]:
        return self.output.track(counts, f"Scoring {state.name} {state.state}", len(self.truth.names))

    def _evaluation(
        self, state: SavedState, images: ImageCounts, head: str | None = None, mapping: ClusterMapping | None = None
    ) -> Evaluation:
        score = score_images(images, [class_info.name for class_info in self.truth.classes], self.resampling)
        # The oracle's images are those that are scored.
        unseen = None if mapping is not None and mapping.kind == "oracle" else unseen_classes(state, self.dataset)
        if unseen:
            self.notes.append(unseen_note(state, unseen))
        seen = self._seen[state.run.path].record
        return Evaluation(
            state.name, images, score, state.state, state.labels, head=head, mapping=mapping, unseen=unseen, seen=seen
        )
