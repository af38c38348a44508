"""Scoring runs on the data sets they were trained for, through the same predictor as `bioseg predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.config import STATES, ClassInfo, StateName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.baselines import fit_otsu, score_baselines
from bioseg_cli.evaluation.report import Draw, Evaluation, LabelBudget, Report, shown_path
from bioseg_cli.evaluation.scores import Resampling, difference, score_images
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.truth import DatasetTruth, Predict, count_images, remarks
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.device import Precision, resolve_device, resolve_precision
from bioseg_cli.runs.directory import RunDirectory

SPLIT_REMARKS = {
    "train": "The runs were trained on this split: the figures say nothing of new images.",
    "val": "The saved states were chosen on this split, which flatters them; the test split is untouched by training.",
}
STATUS_REMARKS = {
    "running": "is still training; its states may change",
    "interrupted": "was interrupted",
    "failed": "failed",
}


@dataclass(frozen=True)
class SavedState:
    """One state of a run."""

    run: RunDirectory
    state: StateName
    checkpoint: Path

    @property
    def name(self) -> str:
        """The run directory, as it was given."""
        return str(self.run.path)

    @property
    def labels(self) -> LabelBudget | None:
        """The label budget of the training; None where it used none."""
        labels = self.run.manifest.get("labels")
        return None if labels is None else LabelBudget(int(labels["count"]), int(labels["of"]))


def evaluate_runs(config: EvaluateConfig, output: Output, draw: Draw) -> list[Report]:
    """Score every run on the split of its data set, a report a data set.

    Args:
        config: settings.
        output: for progress bars.
        draw: called with what was scored while its images can be read.

    Raises:
        DataError: no run, no such state, a data set that is gone or has changed, or other classes than the run's.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    states = [state for path in config.runs for state in _states(RunDirectory.open(path), config.state)]
    control = None
    if config.control is not None:
        wanted = "best-supervised" if config.state == "all" else config.state
        (control,) = _states(RunDirectory.open(config.control), wanted)
    by_data: dict[Path, list[SavedState]] = {}
    for state in states:
        by_data.setdefault(_data_path(state, config), []).append(state)
    reports = []
    for path, group in by_data.items():
        with Dataset(path) as dataset:
            reports.append(_report(config, dataset, group, control, precision, output, draw))
    return reports


def _states(run: RunDirectory, wanted: str) -> list[SavedState]:
    names = [name for name in STATES if wanted == name or (wanted == "all" and run.checkpoint(name).is_file())]
    # Without any, asking for the first says so.
    return [SavedState(run, name, run.existing_checkpoint(name)) for name in names or STATES[:1]]


def _data_path(state: SavedState, config: EvaluateConfig) -> Path:
    if config.data is not None:
        return config.data
    path = Path(state.run.manifest["data"]["path"])
    if not path.is_file():
        raise DataError(
            f"The data set of the run is gone: {path}", where=state.run.path, fix="Give its new place with --data."
        )
    return path


def _report(
    config: EvaluateConfig,
    dataset: Dataset,
    states: Sequence[SavedState],
    control: SavedState | None,
    precision: Precision,
    output: Output,
    draw: Draw,
) -> Report:
    truth = DatasetTruth(dataset, config.split)
    names = [one.name for one in truth.classes]
    resampling = Resampling(config.draws, config.seed, config.by_group)
    notes = [*truth.remarks, *([SPLIT_REMARKS[config.split]] if config.split in SPLIT_REMARKS else [])]

    def evaluate(state: SavedState) -> tuple[Evaluation, Predict]:
        predict, said = _prediction(state, truth, precision, same_data=config.data is None)
        notes.extend(said)
        images = count_images(truth, predict, output, description=f"Scoring {state.name} {state.state}")
        score = score_images(images, names, resampling)
        return Evaluation(state.name, images, score, state.state, state.labels), predict

    control_row = None if control is None else evaluate(control)[0]
    rows = []
    for state in states:
        row, predict = evaluate(state)
        if control_row is not None:
            row = row.compared_with(difference(row.images, control_row.images, resampling))
        draw(row, truth, predict)
        rows.append(row)
    baselines: tuple[Evaluation, ...] = ()
    notes += remarks(truth, rows[0].images, by_group=config.by_group)
    if config.baselines:
        baselines, said = score_baselines(truth, rows[0].images, fit_otsu(dataset), resampling, output)
        notes += said
    return Report(
        data=shown_path(dataset.path),
        split=config.split,
        evaluations=tuple(rows),
        baselines=baselines,
        control=control_row,
        notes=tuple(dict.fromkeys(notes)),
    )


def _prediction(
    state: SavedState, truth: DatasetTruth, precision: Precision, *, same_data: bool
) -> tuple[Predict, list[str]]:
    """The run's prediction for each image of the truth, as `bioseg predict` makes it, and what to know of the run."""
    dataset = truth.dataset
    card = (model := load_model(state.checkpoint, precision.device)).card
    notes = []
    if (status := state.run.manifest.get("status")) in STATUS_REMARKS:
        notes.append(f"{state.name} {STATUS_REMARKS[status]}.")
    if card.dataset_hash != dataset.content_hash:
        if same_data:
            raise DataError(
                f"{state.name} was trained on other data: the file has changed since, or is another",
                where=dataset.path,
                fix="Give --data to score on it all the same.",
            )
        notes.append(f"{state.name} was trained on another data set than it is scored on.")
    if len(card.classes) != len(dataset.classes):
        raise DataError(
            f"{state.name} has the classes {_names(card.classes)}; the data set {_names(dataset.classes)}",
            where=dataset.path,
            fix="Score it on a data set with its own classes.",
        )
    predictor = Predictor(model, precision)
    try:
        predictor.check(dataset.image_shape[0], dataset.image_dtype)
    except DataError as error:
        raise DataError(error.what, where=dataset.path, fix="Prepare the data set from images like those.") from None

    def predict(number: int) -> Pixels:
        return predictor.labels(predictor.probabilities(dataset.image(int(truth.indices[number])), dataset.path))

    return predict, notes


def _names(classes: Sequence[ClassInfo]) -> str:
    return ", ".join(one.name for one in classes)
