"""How good a run is where no labelled image can be spared: each is left out of a short training and then scored.

The trainings use the run's own settings and labels and a share of its updates, so that the figure is of the recipe and
the labels, and rather too low than too high. A run with a single labelled image is cut into parts, and each part of its
labels is left out in turn. Runs with the same labels stand in one report, which says which of them to use; and the
predictions for what was left out are what a temperature can be fitted on where there is no validation image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.dataset.area import labelled_area
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.arms import Arm, compared_arms, comparison_notes
from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.choice import choose
from bioseg_cli.evaluation.document import CrossValidation, LabelBudget
from bioseg_cli.evaluation.folds import DatasetWithout, Fold
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, counts_of_images, drawn_remarks
from bioseg_cli.evaluation.report import Evaluation, Report, shown_path
from bioseg_cli.evaluation.scores import Resampling, difference, score_images
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.metrics.confusion import confusion_counts
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import HeldOut
from bioseg_cli.runs.verified import verify_before_use
from bioseg_cli.training.adapted_norm import estimate_statistics
from bioseg_cli.training.calibrate import FittedTemperature, drawn_pixels, store_held_out_temperature
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.uda import UDA


def cross_validated(config: EvaluateConfig, output: Output) -> list[Report]:
    """Train and score every run's recipe on its own labelled images, each left out in turn.

    Returns:
        A report for all runs that were trained on the same data with the same labelled images.

    Raises:
        UsageError: a run or a control that this is not for, see `arms.compared_arms`.
        DataError: no run, or its data set is gone or has changed, or labels that teach nothing without one of them.
    """
    device = resolve_device(config.device)
    trainings = _Trainings(config, resolve_precision(config.precision, device), output)
    groups, control = compared_arms(config)
    return [
        trainings.report(arms, control if control is not None and control.compares_by == arms[0].compares_by else None)
        for arms in groups
    ]


@dataclass(frozen=True)
class _HeldOut:
    """What the trainings of an arm say of the labels that they were trained without.

    Attributes:
        counts: confusion counts (K, K) of each image, by its index.
        temperature: fitted on the predictions; None where they are means of views.
    """

    counts: Mapping[int, NDArray[np.int64]]
    temperature: FittedTemperature | None


@dataclass(frozen=True)
class _Trainings:
    """The trainings that the settings ask for, and what comes of them."""

    config: EvaluateConfig
    precision: Precision
    output: Output

    def report(self, arms: Sequence[Arm], control: Arm | None) -> Report:
        """The scores of arms with the same labels, and of their control; with several of them, which to use."""
        every = [*([] if control is None else [control]), *arms]
        resampling = Resampling(self.config.draws, self.config.seed, self.config.by_group)
        with Dataset(every[0].data) as dataset:
            verify_before_use(dataset, self.output)
            truth = DatasetGroundTruth(dataset, "train", every[0].labelled)
            found = {arm: self._row(arm, dataset, truth, resampling) for arm in every}
            control_row = None if control is None else found[control][0]
            rows = [found[arm][0] for arm in arms]
            if control_row is not None:
                rows = [row.compared_with(difference(row.images, control_row.images, resampling)) for row in rows]
            images = rows[0].images
            wanted = [name for name in self.config.chosen_baselines if name != "forest"]
            baselines, said = score_baselines(wanted, truth, dataset, images, resampling, self.output)
        chosen, choice = choose(rows, control_row, resampling) if len(every) > 1 else (None, None)
        notes = [
            *([] if choice is None else [choice]),
            *_fold_notes(every),
            *(remark for arm in every for remark in arm.state.remarks),
            *([] if control is None else comparison_notes(arms, control)),
            *(note for _, note in found.values() if note is not None),
            *drawn_remarks(truth, images),
            *said,
        ]
        return Report(
            shown_path(dataset.path),
            "cross-validated training",
            tuple(rows),
            baselines,
            control_row,
            tuple(dict.fromkeys(notes)),
            None if chosen is None else chosen.name,
        )

    def _row(
        self, arm: Arm, dataset: Dataset, truth: DatasetGroundTruth, resampling: Resampling
    ) -> tuple[Evaluation, str | None]:
        """The score of an arm, and what a reader must know of its temperature, which is stored where that was asked."""
        held_out = self._held_out(arm, dataset)
        fitted = held_out.temperature
        if self.config.calibrate and fitted is not None:
            source = HeldOut(folds=len(arm.folds), updates=arm.updates)
            with owned_folder(arm.run.path, say=self.output.say):
                arm.run.manifest.calibration = store_held_out_temperature(arm.run, fitted, len(arm.labelled), source)
                arm.run.save_manifest()
        images = counts_of_images(truth, [held_out.counts[index] for index in truth.indices.tolist()])
        names = [class_info.name for class_info in truth.classes]
        row = Evaluation(
            arm.name,
            images,
            score_images(images, names, resampling),
            labels=LabelBudget(
                count=len(truth.indices), of=len(dataset.label_order), **labelled_area(dataset, truth.indices)
            ),
            cross_validation=CrossValidation(
                folds=len(arm.folds),
                updates=arm.updates,
                temperature=None if fitted is None else fitted.temperature,
                nll=None if fitted is None else fitted.nll,
                stored=self.config.calibrate,
            ),
        )
        return row, None if fitted is None else _temperature_note(arm, fitted, stored=self.config.calibrate)

    def _held_out(self, arm: Arm, dataset: Dataset) -> _HeldOut:
        classes, ignore = len(dataset.classes), dataset.ignore
        # The parts of one image are scored together, as one image.
        counts = dict.fromkeys(arm.labelled.tolist(), np.zeros((classes,) * 2, dtype=np.int64))
        drawn = dict(zip(arm.labelled.tolist(), drawn_pixels(dataset, arm.labelled), strict=True))
        logits, labels = [], []
        for number, fold in enumerate(arm.folds, 1):
            left_out = "" if fold.part.all() else f"part {number} of "
            self.output.say(
                f"{arm.name}: training {number} of {len(arm.folds)}, {arm.updates} updates, without {left_out}"
                f"{dataset.name(fold.index)}"
            )
            predictor = self._trained_without(fold, arm, dataset)
            probabilities = predictor.probabilities(dataset.image(fold.index), dataset.path)
            true = dataset.labels(fold.index)
            scored = np.where(fold.part, true, ignore)
            counts[fold.index] = counts[fold.index] + confusion_counts(
                scored, predictor.labels(probabilities), classes, ignore
            )
            fitted_on = drawn[fold.index] & fold.part
            # Logits but for a constant.
            logits.append(np.log(np.maximum(probabilities[:, fitted_on].T, np.finfo(np.float32).tiny)))
            labels.append(true[fitted_on])
        # A temperature is of single views.
        temperature = None if self.config.tta else FittedTemperature.of(np.concatenate(logits), np.concatenate(labels))
        return _HeldOut(counts, temperature)

    def _trained_without(self, fold: Fold, arm: Arm, dataset: Dataset) -> Predictor:
        """A network that was trained without a fold."""
        with DatasetWithout(dataset.path, arm.labelled, fold) as remaining:
            every = {"labels": len(remaining.label_order), "ratio": None, "label_draw": 0, "label_images": ()}
            training = arm.training.model_copy(update=every)
            method = UDA(remaining, training, self.precision.device)
            run = UnwrittenRun(dataset.path.parent, arm.run.manifest.model_copy(deep=True))
            weights = None if arm.start is None else arm.start.fitting(training, remaining, method).tensors
            trainer = Trainer(
                method, remaining, training, self.precision, run, self.output, lambda: False, Alone(), weights
            )
            trainer.fit()
            if training.norm_images == "all":
                estimate_statistics(trainer.kept.eval(), method.all_images(), self.precision)
            model = LoadedModel(trainer.kept.eval(), trainer.card("last"), dataset.path)
        return Predictor(model, self.precision, tta=self.config.tta)


def _fold_notes(arms: Sequence[Arm]) -> list[str]:
    """What was trained: a sentence for all arms where it is the same of all."""
    said = {}
    for arm in arms:
        parts = f"{len(arm.folds)} labelled images"
        if len(arm.labelled) == 1:
            parts = f"{len(arm.folds)} parts of the one labelled image"
        said[arm.name] = (
            f"{parts}, each scored by a network that was trained without it, with {arm.updates} of the run's "
            f"{arm.run.manifest.updates} updates. The run itself has all labels and all updates."
        )
    if len(set(said.values())) == 1:
        return [f"Cross-validation: {next(iter(said.values()))}"]
    return [f"Cross-validation of {name}: {sentence}" for name, sentence in said.items()]


def _temperature_note(arm: Arm, fitted: FittedTemperature, *, stored: bool) -> str:
    before, after = fitted.nll
    gain = f"with it their negative log-likelihood is {after:.4f}, without {before:.4f}"
    if stored:
        return (
            f"{arm.name}: its saved states have the temperature {fitted.temperature:.3g} now, fitted to the "
            f"predictions for what was left out: {gain}."
        )
    kept = arm.run.manifest.calibration is not None and arm.run.manifest.calibration.states
    written = "the run keeps its own" if kept else "nothing was written, --calibrate stores it in the run"
    return (
        f"{arm.name}: the temperature {fitted.temperature:.3g} is the best for the predictions for what was left out: "
        f"{gain}; {written}."
    )
