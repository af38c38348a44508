"""All pictures of a report, as far as data sets and saved models are still there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bioseg_cli.config import SplitName
from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.report.chosen import Scored, clustering, leading_run, middle_budget, shown_runs
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.strips import Album, Gallery
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.output import Output

if TYPE_CHECKING:
    from bioseg_cli.report.viewer import Viewer


def draw_album(findings: Findings, output: Output) -> Album:
    """Draw what can be drawn; of everything else the reason is kept."""
    typical, cases, clusters = [], [], []
    names = findings.results.data
    with output.progress("Pictures", 2 * len(names)) as progress:
        for data in names:
            budget = middle_budget(findings, data)
            if budget is not None:
                shown = shown_runs(findings, data, budget)
                overview, extremes = _of_classes(findings, data, shown)
                typical.append(overview)
                cases.append(extremes)
            progress.advance()
            scored = clustering(findings, data)
            if scored is not None:
                clusters.append(_of_clusters(findings, data, scored))
            progress.advance()
    return Album(tuple(typical), tuple(cases), tuple(clusters))


def _of_classes(findings: Findings, data: str, shown: Sequence[Scored]) -> tuple[Gallery, Gallery]:
    leading = leading_run(findings, data, shown)
    try:
        file = _data_file(findings, data, "uda")
        _check(shown)
        from bioseg_cli.report.pictures import typical, worst_and_best
        from bioseg_cli.report.viewer import viewing

        with viewing(file, cast("SplitName", findings.results.split)) as viewer:
            classes = _classes(viewer)
            first = Gallery(data, tuple(shown), (typical(viewer, shown),), classes)
            try:
                strips = tuple(worst_and_best(viewer, leading))
                return first, Gallery(data, (leading,), strips, classes)
            except BiosegError as error:
                return first, Gallery(data, (leading,), problem=_said(error))
    except BiosegError as error:
        return Gallery(data, tuple(shown), problem=_said(error)), Gallery(data, (leading,), problem=_said(error))


def _of_clusters(findings: Findings, data: str, scored: Scored) -> Gallery:
    try:
        file = _data_file(findings, data, "iic")
        _check([scored])
        from bioseg_cli.report.pictures import segmented
        from bioseg_cli.report.viewer import viewing

        with viewing(file, cast("SplitName", findings.results.split)) as viewer:
            return Gallery(data, (scored,), (segmented(viewer, scored),), _classes(viewer))
    except BiosegError as error:
        return Gallery(data, (scored,), problem=_said(error))


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


def _classes(viewer: Viewer) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    return tuple((class_info.name, class_info.colour) for class_info in viewer.truth.classes)


def _said(error: BiosegError) -> str:
    return error.what if error.where is None else f"{error.what} ({error.where})"
