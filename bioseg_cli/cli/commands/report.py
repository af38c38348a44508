"""`bioseg report`: a study or some runs as one page with tables, figures and pictures."""

from __future__ import annotations

from bioseg_cli.report.settings import ReportConfig
from bioseg_cli.runs.console import ConsoleOutput


def report(config: ReportConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Write one HTML page of a study, or of runs: tables and figures as in the paper, intervals, pictures."""
    from rich.text import Text

    from bioseg_cli.report import session

    result = session.run(config, output, overwrite=overwrite)
    output.show(Text("\n".join([f"page  {result.page}", *result.summary])))
    output.result(result.to_json())
