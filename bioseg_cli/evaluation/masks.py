"""Scoring a folder of predicted masks, whichever tool made them. Without torch, so that it starts at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bioseg_cli.evaluation.baselines import score_baselines
from bioseg_cli.evaluation.folder_ground_truth import FolderGroundTruth
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, GroundTruth, count_images, remarks
from bioseg_cli.evaluation.objects import count_objects, refuse_strokes
from bioseg_cli.evaluation.predicted_masks import PredictedFolder, PredictedMasks, masks_for_dataset, masks_for_folder
from bioseg_cli.evaluation.report import Evaluation, Figures, Report
from bioseg_cli.evaluation.scores import Resampling, score_images
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.io.axes import count_of_frames
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.masks.frames import MaskReader
from bioseg_cli.runs.output import Output

if TYPE_CHECKING:
    from bioseg_cli.dataset.reader import Dataset


def evaluate_masks(config: EvaluateConfig, output: Output, figures: Figures) -> Report:
    """Score `--predictions` against `--truth`.

    Args:
        config: settings.
        output: for progress bars.
        figures: draws what was scored while its images can be read.

    Raises:
        DataError: masks that are missing, do not fit each other, or can't be understood.
    """
    if config.predictions is None or config.truth is None:
        raise ValueError("predicted and true masks are needed")
    reader = MaskReader(stacks=config.stacks)
    without = None if config.truth_is_dataset else config.truth
    predicted = PredictedFolder.of(config.predictions, recursive=config.recursive, without=without)
    if config.truth_is_dataset:
        from bioseg_cli.dataset.reader import Dataset
        from bioseg_cli.runs.verified import verify_before_use

        with Dataset(config.truth) as dataset:
            verify_before_use(dataset, output, whole=config.split == "test")
            truth = DatasetGroundTruth(dataset, config.split)
            masks = masks_for_dataset(predicted, truth, reader, output)
            return _report(config, truth, dataset, masks, list(truth.remarks), output, figures)
    folder = FolderGroundTruth(
        config.truth,
        config.masks_are,
        config.classes,
        config.images,
        reader,
        output,
        config.unlabelled_value,
        recursive=config.recursive,
        without=config.predictions,
    )
    masks = masks_for_folder(predicted, folder, reader, output)
    notes = [f"True masks: {folder.reading.sentence}.", *folder.notes]
    if sentence := count_of_frames(len(set(folder.groups)), len(folder.frames)):
        notes.append(f"True masks: {sentence}.")
    return _report(config, folder, None, masks, notes, output, figures)


def _report(
    config: EvaluateConfig,
    truth: GroundTruth,
    dataset: Dataset | None,
    masks: PredictedMasks,
    notes: list[str],
    output: Output,
    figures: Figures,
) -> Report:
    resampling = Resampling(config.draws, config.seed, config.by_group)
    images = count_images(truth, masks, output, description="Scoring masks")
    names = [class_info.name for class_info in truth.classes]
    evaluation = Evaluation(str(config.predictions), images, score_images(images, names, resampling))
    about_objects = []
    if config.objects:
        refuse_strokes(truth)
        read = partial(masks.objects, classes=len(truth.classes))
        with prefetched_map(read, range(len(truth.names)), most=2 * WORKERS) as found:
            evaluation = replace(evaluation, objects=count_objects(truth, found, output, resampling))
        how = "have the numbers of the masks" if masks.numbered else "are the connected components of each class"
        about_objects = [truth.objects_are, f"Predicted objects {how}."]
    figures.differences(evaluation, truth, masks)
    baselines, said = score_baselines(config.chosen_baselines, truth, dataset, images, resampling, output)
    return Report(
        data=str(config.truth),
        split=config.split if config.truth_is_dataset else None,
        evaluations=(evaluation,),
        baselines=baselines,
        notes=(*notes, *masks.notes, *about_objects, *remarks(truth, images, by_group=config.by_group), *said),
    )
