"""Files of scores: what is written, and what is read of those of other versions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.document import ScoreRecord
from bioseg_cli.study.results import ScoreRow, is_scored, read_scores, write_scores

REQUEST = {"split": "test", "states": ["last"]}


def test_scores_are_read_and_written_back_byte_for_byte(tmp_path: Path) -> None:
    row = ScoreRow(
        name="a", state="last", head=None, mapping=None, images={"one": 0.5, "unlabelled": math.nan}, calibration=None,
        score=ScoreRecord(mean_iou=0.5, iou={"rim": None}, confusion=((1, 2), (3, 4))),
    )  # fmt: skip
    text = write_scores([row], REQUEST, "0" * 64)
    content = json.loads(text)
    assert list(content) == ["hash", "request", "rows"]
    assert list(content["rows"][0]) == ["name", "state", "head", "mapping", "images", "calibration", "score"]
    assert content["rows"][0]["score"] == {"mean_iou": 0.5, "iou": {"rim": None}, "confusion": [[1, 2], [3, 4]]}
    (tmp_path / "a.json").write_text(text)
    rows = read_scores(tmp_path / "a.json", REQUEST, "0" * 64)
    assert rows is not None and rows[0].mean_iou == 0.5 and math.isnan(rows[0].images["unlabelled"])
    assert write_scores(list(rows), REQUEST, "0" * 64) == text


def test_scores_of_an_earlier_version_have_no_calibration(tmp_path: Path) -> None:
    row = {"name": "otsu", "state": None, "head": None, "mapping": None, "score": {"mean_iou": 1}, "images": {}}
    (tmp_path / "a.json").write_text(json.dumps({"hash": "1", "request": REQUEST, "rows": [row]}))
    (read,) = read_scores(tmp_path / "a.json", REQUEST, None) or ()
    assert (read.calibration, read.mean_iou, read.score.intervals.mean_iou) == (None, 1.0, None)


def test_damaged_scores_are_named_and_can_be_had_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"hash": "1", "request": REQUEST, "rows": [{"name": "a"}]}))
    with pytest.raises(DataError, match=r"cannot be read .*state: field required.*") as refused:
        read_scores(path, REQUEST, None)
    assert "\n" not in refused.value.what and not is_scored(path, REQUEST, "1")
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"cannot be read .*too many levels"):
        read_scores(path, REQUEST, None)
