"""`bioseg evaluate`: how good runs or predicted masks are, and how sure that is."""

from __future__ import annotations

from bioseg_cli.cli.shown import show_done
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.runs.console import ConsoleOutput


def evaluate(config: EvaluateConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Score runs on a data set, or masks of any tool against ground truth: IoU and Dice with intervals."""
    from bioseg_cli.cli.tables.evaluation import render
    from bioseg_cli.evaluation import session
    from bioseg_cli.evaluation.result import EvaluationResult

    def show(result: EvaluationResult) -> None:
        for report in result.reports:
            output.show(render(report))
        output.result(result.to_json())

    show_done(lambda: session.run(config, output, overwrite=overwrite), show)
