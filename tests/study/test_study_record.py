"""A damaged manifest of a study is refused with what is wrong in it, whatever stands where something else should."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from bioseg_cli.errors import DataError
from bioseg_cli.runs.manifest import write_manifest
from bioseg_cli.study.collect import results_of_study
from bioseg_cli.study.folder import StudyFolder

RUN = {
    "name": "A-kl-2labels", "data": "A", "loss": "kl", "budget": {"count": 2, "title": "2 labels"},
    "draw": 0, "seed": 0, "hash": "abc", "status": "missing",
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "command": "study", "title": "a study", "config": {"data": {"A": "a.h5"}}, "data": {"A": {"uda": "a.h5"}},
    "runs": [RUN, {**RUN, "name": "A-kl-compared", "variant": "width 4", "failure": "Memory ran out"}],
}  # fmt: skip


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.yaml", WHOLE)
    results = results_of_study(StudyFolder(tmp_path))
    assert [(run.name, run.data, run.failure) for run in results.runs] == [
        ("A-kl-2labels", "A", None),
        ("A-kl-compared", "A (width 4)", "Memory ran out"),
    ]
    assert results.runs[0].count == 2
    assert results.files == {"A": {"uda": Path("a.h5")}, "A (width 4)": {"uda": Path("a.h5")}}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("data",), None, "data: input should be"),
        (("data", "A"), [1], "data.A: input should be"),
        (("data",), {}, "data: 'A' is missing"),
        (("runs",), "none", "runs: input should be"),
        (("runs", 0), [], "runs.0: input should be"),
        (("runs", 0, "name"), None, "runs.0.name: input should be"),
        (("runs", 0, "draw"), "first", "runs.0.draw: input should be"),
        (("runs", 0, "budget", "title"), [], "runs.0.budget.title: input should be"),
        (("config", "split"), "all", "split: input should be"),
        (("title",), 3, "title: input should be"),
    ],
)
def test_what_is_damaged_is_named(place: tuple[str | int, ...], value: object, said: str, tmp_path: Path) -> None:
    content = copy.deepcopy(WHOLE)
    inside: Any = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    write_manifest(tmp_path / "manifest.yaml", content)
    with pytest.raises(DataError, match="The manifest of the study is damaged") as error:
        results_of_study(StudyFolder(tmp_path))
    assert said in error.value.what and error.value.where == str(tmp_path / "manifest.yaml")
