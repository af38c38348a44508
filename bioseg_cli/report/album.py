"""All pictures of a report, as far as data sets and saved models are still there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.report import pictures
from bioseg_cli.report.chosen import Scored, clustering, leading_run, middle_budget, shown_runs
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.strips import Album, Gallery, Strip
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output

if TYPE_CHECKING:
    from bioseg_cli.report.viewer import Viewer


Draw = Callable[["Viewer", Sequence[Scored]], Sequence[Strip]]


def draw_album(findings: Findings, output: Output) -> Album:
    """Draw what can be drawn; of everything else the reason is kept."""
    typical, cases, clusters = [], [], []
    names = findings.results.data
    with output.progress("Pictures", 2 * len(names)) as progress:
        for data in names:
            budget = middle_budget(findings, data)
            if budget is not None:
                shown = shown_runs(findings, data, budget)
                typical.append(_gallery(findings, data, "uda", pictures.typical, shown))
                leading = leading_run(findings, data, shown)
                cases.append(_gallery(findings, data, "uda", pictures.worst_and_best, [leading]))
            progress.advance()
            scored = clustering(findings, data)
            if scored is not None:
                clusters.append(_gallery(findings, data, "iic", pictures.segmented, [scored]))
            progress.advance()
    return Album(tuple(typical), tuple(cases), tuple(clusters))


def _gallery(findings: Findings, data: str, method: str, draw: Draw, shown: Sequence[Scored]) -> Gallery:
    try:
        file = _data_file(findings, data, method)
        _check(shown)
        from bioseg_cli.report.viewer import Viewer

        with Dataset(file) as dataset:
            viewer = Viewer(dataset, cast("SplitName", findings.results.split))
            classes = tuple((class_info.name, class_info.colour) for class_info in dataset.classes)
            return Gallery(data, tuple(shown), tuple(draw(viewer, shown)), classes)
    except BiosegError as error:
        said = error.what if error.where is None else f"{error.what} ({error.where})"
        return Gallery(data, tuple(shown), problem=said)


def _data_file(findings: Findings, data: str, method: str) -> Path:
    files = findings.results.files.get(data, {})
    if method not in files:
        raise DataError(f"No data set file is known for {data}")
    if not files[method].is_file():
        # Said here, before torch is loaded for nothing.
        raise DataError("The data set is gone", where=files[method])
    return files[method]


def _check(shown: Sequence[Scored]) -> None:
    """Raise `DataError` where no saved model of any run is there."""
    problems = []
    for scored in shown:
        try:
            RunDirectory.open(scored.run.path).existing_checkpoint(str(scored.row.state))
        except BiosegError as error:
            problems.append(error)
    if len(problems) == len(shown):
        raise problems[0]
