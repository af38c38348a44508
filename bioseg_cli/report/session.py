"""From settings to the page: gather, draw, write once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioseg_cli.errors import UsageError
from bioseg_cli.io.files import refuse_existing, write_text
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.result import ReportResult
from bioseg_cli.report.settings import REPORT_NAME, ReportConfig
from bioseg_cli.report.strips import Album
from bioseg_cli.runs.manifest import now
from bioseg_cli.runs.output import Output
from bioseg_cli.study.collect import results_of
from bioseg_cli.study.folder import is_study
from bioseg_cli.study.results import StudyResults


def run(config: ReportConfig, output: Output, *, overwrite: bool) -> ReportResult:
    """Write the page.

    Raises:
        UsageError: the page exists already, a study among other paths, or a split that is not the study's.
        DataError: not a run or a study, or a data set that runs have to be scored on is gone.
    """
    study = next((path for path in config.runs if is_study(path)), None)
    path = config.out or (Path() if study is None else study) / REPORT_NAME
    with owned_file(path, say=output.say):
        refuse_existing(path, overwrite=overwrite)
        return _run(config, study, path, output)


def _run(config: ReportConfig, study: Path | None, path: Path, output: Output) -> ReportResult:
    results = results_of(config.runs, split=config.split, output=output)
    if study is None:
        refuse_doubles(results)
    elif "split" in config.model_fields_set and config.split != results.split:
        raise UsageError(
            f"The study was scored on its {results.split} split", where=study, fix="Leave out --split, or plan another."
        )
    findings = Findings(results)
    page, album = make_page(findings, output, title=config.title)
    write_text(path, page)
    return ReportResult(path, findings, album)


def refuse_doubles(results: StudyResults) -> None:
    """Raise `UsageError` where tables could not tell two runs apart: one would stand for both."""
    known: dict[tuple[Any, ...], Path] = {}
    for run in results.runs:
        which = run.data, run.loss, run.budget, run.repeat
        if which in known:
            raise UsageError(
                f"{known[which]} and {run.path} have the same data set, loss, labels, label draw and seed: in the "
                "tables they would be one",
                fix="Report them one at a time.",
            )
        known[which] = run.path


def make_page(findings: Findings, output: Output, *, title: str | None = None) -> tuple[str, Album]:
    """The page, and the pictures on it."""
    # Here, as they bring matplotlib.
    from bioseg_cli.report.album import draw_album
    from bioseg_cli.report.page import render
    from bioseg_cli.report.records import read_record

    results = findings.results
    records = [read_record(run) for run in results.runs]
    album = draw_album(findings, output)
    heading = title or results.title
    of_what = "" if heading == results.title else f" of {results.title}"
    made = now()[:16].replace("T", " ")
    about = f"bioseg report{of_what} · {results.split} split · {made} UTC"
    return render(heading, about, findings, records, album), album
