"""`bioseg study`: a comparison of methods, label budgets and repeats, carried out and gone on with."""

from __future__ import annotations

from bioseg_cli.runs.console import Output
from bioseg_cli.study.settings import StudyConfig


def study(config: StudyConfig, output: Output, overwrite: bool) -> None:
    """Compare methods on label budgets, label draws and seeds, with their controls: run what a plan still lacks."""
    from bioseg_cli.study import session

    session.run(config, output, overwrite=overwrite)
