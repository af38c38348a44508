"""What is known of the runs of a study, or of any runs: how each ended, and its scores.

`SCORES/NAME.json` holds the scores of the run `NAME`, with `hash` and `request` (split, states) that say whether they
are the ones wanted, and `rows`, one a state, head and mapping. `SCORES/DATA.baselines.json` is the same of a data set's
baselines, `SCORES/DATA.forest-5labels-draw0.json` of the forest of a label budget and draw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.document import CalibrationRecord, ScoreRecord
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.runs.section import Section, problems_of
from bioseg_cli.study.grid import Budget
from bioseg_cli.study.statistics import Repeat


class ForestScore(ScoreRecord):
    """The mean score of the forests of a label budget.

    Attributes:
        labels: images that each forest learnt from.
        draws: label draws that the mean is over.
    """

    labels: int
    draws: int


class ScoreRow(Section):
    """One thing that was scored.

    Attributes:
        name: of the run or the baseline.
        state: saved state; None for a baseline.
        head: of a run without labels.
        mapping: `stored` or `oracle`, how its clusters became classes; None for classes.
        score: of all images together.
        images: mean IoU of each image by name, over the classes it holds.
        calibration: None of clusters and baselines, and where an earlier version scored it.
    """

    name: str
    state: str | None
    head: str | None
    mapping: str | None
    score: ScoreRecord
    images: dict[str, float]
    calibration: CalibrationRecord | None = None

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """What `bioseg evaluate` found."""
        iou = evaluation.images.image_iou().tolist()
        return cls(
            name=evaluation.name,
            state=evaluation.state,
            head=evaluation.head,
            mapping=None if evaluation.mapping is None else evaluation.mapping.kind,
            score=evaluation.score.record(),
            images=dict(zip(evaluation.images.names, iou, strict=True)),
            calibration=None if evaluation.calibration is None else evaluation.calibration.record(),
        )

    @property
    def output(self) -> str:
        """What of the run it is: a state, of clusters the head and mapping; of a baseline its name."""
        if self.head is not None:
            return f"{self.head}, {self.mapping}"
        return self.state or self.name

    @property
    def mean_iou(self) -> float:
        """With the background."""
        assert self.score.mean_iou is not None  # there is a labelled pixel, or no score
        return self.score.mean_iou


@dataclass(frozen=True)
class RunResult:
    """One run, as far as it is.

    Attributes:
        name: of its directory.
        path: the directory; there may be none yet.
        data: data set, as tables call it.
        loss: kl, iid, fixmatch, denoise, none (a supervised control), or iic.
        budget: labelled images; None without labels.
        draw, seed: its repeat.
        hash: of settings and data; see `runs.manifest.run_hash`.
        status: finished, collapsed, failed, interrupted, running, or missing.
        failure: what went wrong.
        collapse: of a run of IIC, by state and head: how its clusters came to nothing.
        rows: its scores; none where it has not ended or could not be scored.
        labelled_share: labelled share of the area of its labelled images; None: not recorded.
        unseen: names of the classes that none of its labels shows.
        unlike_control: in what it differs from the run that would be its control; where in something, it has none.
    """

    name: str
    path: Path
    data: str
    loss: str
    budget: Budget | None
    draw: int
    seed: int
    hash: str
    status: str
    failure: str | None = None
    collapse: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rows: tuple[ScoreRow, ...] = ()
    labelled_share: float | None = None
    unseen: tuple[str, ...] = ()
    unlike_control: tuple[str, ...] = ()

    @property
    def repeat(self) -> Repeat:
        """Label draw and seed."""
        return self.draw, self.seed

    @property
    def count(self) -> int | None:
        """Number of labelled images; None without labels."""
        return None if self.budget is None else self.budget.count

    def row(self, state: str, head: str | None = None, mapping: str | None = None) -> ScoreRow | None:
        """Its scores for a state, and for clusters a head and mapping."""
        for row in self.rows:
            if (row.state, row.head, row.mapping) == (state, head, mapping):
                return row
        return None


@dataclass(frozen=True)
class StudyResults:
    """All that was found, whatever of it is missing.

    Attributes:
        title: of the study.
        split: what was scored.
        files: the data set files by the name that tables give them, and by method: {"uda": path, "iic": path}.
        runs: in the order of the plan.
        baselines: by data set; those of its file for train-uda, or where it has none, for train-iic.
        settings: what the plan says, for the record.
    """

    title: str
    split: str
    files: Mapping[str, Mapping[str, Path]]
    runs: tuple[RunResult, ...]
    baselines: Mapping[str, tuple[ScoreRow, ...]]
    settings: Mapping[str, Any]

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets, in order of appearance."""
        return tuple(dict.fromkeys(run.data for run in self.runs))

    @property
    def losses(self) -> tuple[str, ...]:
        """The unsupervised losses, in order of appearance; without the control and IIC."""
        return tuple(dict.fromkeys(run.loss for run in self.runs if run.loss not in ("none", "iic")))

    def values(
        self, data: str, loss: str, budget: int | None, state: str, head: str | None = None, mapping: str | None = None
    ) -> dict[Repeat, float]:
        """Mean IoU of every scored run of a cell, by repeat."""
        found = {}
        for run in self.runs:
            if (run.data, run.loss, run.count) == (data, loss, budget):
                row = run.row(state, head, mapping)
                if row is not None:
                    found[run.repeat] = row.mean_iou
        return found


def run_request(split: str, states: Sequence[str]) -> dict[str, Any]:
    """What the scores of a run depend on beside the run."""
    return {"split": split, "states": list(states)}


def baselines_request(split: str, baselines: Sequence[str]) -> dict[str, Any]:
    """What the scores of a data set's baselines depend on beside the data set."""
    return {"split": split, "baselines": list(baselines)}


def forest_request(split: str, labels: int, draw: int) -> dict[str, Any]:
    """What the scores of a forest depend on beside the data set."""
    return {"split": split, "labels": labels, "draw": draw}


def write_scores(rows: list[ScoreRow], request: Mapping[str, Any], identity: str) -> str:
    """The content of a file of scores."""
    return (
        json.dumps({"hash": identity, "request": request, "rows": [row.model_dump() for row in rows]}, indent=1) + "\n"
    )


def is_scored(path: Path, request: Mapping[str, Any], identity: str) -> bool:
    """Whether the file holds these scores; damaged ones are none, and can be had again."""
    try:
        return read_scores(path, request, identity) is not None
    except DataError:
        return False


def read_scores(path: Path, request: Mapping[str, Any], identity: str | None) -> tuple[ScoreRow, ...] | None:
    """The scores in a file; None where there is none, or it holds those of something else.

    Args:
        path: the file.
        request: what was to be scored.
        identity: hash of what was to be scored; None = whatever it was.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if content["request"] != request or identity not in (None, content["hash"]):
            return None
        return tuple(ScoreRow.model_validate(row) for row in content["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = problems_of(error) if isinstance(error, ValidationError) else error
        raise DataError(f"The scores cannot be read ({said})", where=path, fix="Remove the file and repeat.") from None
