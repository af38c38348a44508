"""`bioseg study`: a comparison of methods, label budgets and repeats, carried out and gone on with."""

from __future__ import annotations

from bioseg_cli.cli.shown import show_done
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.study.settings import StudyConfig


def study(config: StudyConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Compare methods over label budgets, label draws and seeds, with controls: run what a plan still lacks."""
    from bioseg_cli.cli.tables.study import render, render_runs
    from bioseg_cli.study import session
    from bioseg_cli.study.result import StudyResult

    def show(result: StudyResult) -> None:
        if result.results is None:
            output.show(render_runs(result.runs))
        else:
            output.show(render(result.results))
            output.show(f"Tables and figures: bioseg report {result.path}")
        output.result(result.to_json())

    show_done(lambda: session.run(config, output, overwrite=overwrite), show)
