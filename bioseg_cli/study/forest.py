"""The random forest of a study: grown for each label budget and label draw on the labelled images that its runs have.

It is a row of each budget in the tables, over the label draws, and costs seconds where a run costs minutes. The seeds
and losses of a budget share it: nothing of it depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.evaluation.document import Intervals
from bioseg_cli.evaluation.forest import forest_note, forest_prediction
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth, count_images
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.evaluation.scores import Resampling, score_images
from bioseg_cli.runs.output import Output
from bioseg_cli.study.results import ForestScore, ScoreRow
from bioseg_cli.study.statistics import estimate
from bioseg_cli.training.forest import fit_forest

FOREST = "forest"


def forest_file(data: str, count: int, draw: int) -> str:
    """What the scores of a forest are filed under."""
    return f"{data}.{FOREST}-{count}labels-draw{draw}"


def score_forest(dataset: Dataset, labelled: IntArray, split: SplitName, output: Output) -> ScoreRow:
    """Grow a forest on labelled images of a data set and score it on a split, as `bioseg evaluate` does."""
    truth, resampling = DatasetGroundTruth(dataset, split), Resampling()
    forest = fit_forest(dataset, labelled, resampling.seed)
    output.say(forest_note(forest))
    images = count_images(truth, forest_prediction(forest, truth), output, description="Scoring a forest")
    score = score_images(images, [class_info.name for class_info in truth.classes], resampling)
    return ScoreRow.of(Evaluation(FOREST, images, score))


def forest_rows(found: Mapping[int, Mapping[int, ScoreRow]]) -> tuple[ScoreRow, ...]:
    """A row for each label budget, with the mean over its label draws and Student's interval of it.

    Args:
        found: scores by number of labelled images and by label draw.
    """
    return tuple(_row(count, list(found[count].values())) for count in sorted(found) if found[count])


def _row(count: int, draws: Sequence[ScoreRow]) -> ScoreRow:
    whole = estimate({(draw, 0): row.mean_iou for draw, row in enumerate(draws)})
    score = ForestScore(mean_iou=whole.mean, labels=count, draws=len(draws))
    if whole.interval is not None:
        score = score.having(intervals=Intervals(mean_iou=(whole.interval.low, whole.interval.high)))
    images = {image: float(np.mean([row.images[image] for row in draws])) for image in draws[0].images}
    name = f"{FOREST}, {count} label{'s' * (count > 1)}"
    return ScoreRow(name=name, state=None, head=None, mapping=None, score=score, images=images)


def forest_points(rows: Iterable[ScoreRow]) -> list[tuple[int, float]]:
    """Labelled images and mean IoU of the rows that are forests, by ascending number."""
    return sorted((row.score.labels, row.mean_iou) for row in rows if isinstance(row.score, ForestScore))
