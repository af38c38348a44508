"""Scoring a folder of predicted masks, whichever tool made them. Without torch, so that it starts at once."""

from __future__ import annotations

import os

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.baselines import OtsuBaseline, assumed_otsu, fit_otsu, score_baselines
from bioseg_cli.evaluation.folders import FolderTruth
from bioseg_cli.evaluation.pairing import PredictedMasks, masks_for_dataset, masks_for_folder
from bioseg_cli.evaluation.report import Draw, Evaluation, Report
from bioseg_cli.evaluation.scores import Resampling, score_images
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.truth import DatasetTruth, Truth, count_images, remarks
from bioseg_cli.runs.console import Output

READERS = min(8, os.cpu_count() or 1)
"""Mask files decoded at once; the decoders release the interpreter lock."""


def evaluate_masks(config: EvaluateConfig, output: Output, draw: Draw) -> Report:
    """Score `--predictions` against `--truth`.

    Args:
        config: settings.
        output: for progress bars.
        draw: called with what was scored while its images can be read.

    Raises:
        DataError: masks that are missing, do not fit each other, or can't be understood.
    """
    if config.predictions is None or config.truth is None:
        raise ValueError("predicted and true masks are needed")
    if config.truth_is_dataset:
        with Dataset(config.truth) as dataset:
            truth = DatasetTruth(dataset, config.split)
            masks = masks_for_dataset(config.predictions, truth, READERS, output)
            otsu = fit_otsu(dataset) if config.baselines else None
            notes = list(truth.remarks)
            return _report(config, truth, masks, otsu, notes, output, draw)
    folder = FolderTruth(config.truth, config.masks_are, config.classes, config.images, output)
    masks = masks_for_folder(config.predictions, folder, READERS, output)
    otsu = assumed_otsu(len(folder.classes)) if config.baselines and config.images is not None else None
    return _report(config, folder, masks, otsu, [f"True masks: {folder.reading.sentence}."], output, draw)


def _report(
    config: EvaluateConfig,
    truth: Truth,
    masks: PredictedMasks,
    otsu: OtsuBaseline | None,
    notes: list[str],
    output: Output,
    draw: Draw,
) -> Report:
    resampling = Resampling(config.draws, config.seed, config.by_group)
    images = count_images(truth, masks, output, description="Scoring masks", workers=READERS)
    names = [one.name for one in truth.classes]
    evaluation = Evaluation(str(config.predictions), images, score_images(images, names, resampling))
    draw(evaluation, truth, masks)
    baselines, said = score_baselines(truth, images, otsu, resampling, output) if config.baselines else ((), ())
    return Report(
        data=str(config.truth),
        split=config.split if config.truth_is_dataset else None,
        evaluations=(evaluation,),
        baselines=baselines,
        notes=(*notes, *masks.notes, *remarks(truth, images, by_group=config.by_group), *said),
    )
