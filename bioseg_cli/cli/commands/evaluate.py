"""`bioseg evaluate`: how good runs or predicted masks are, and how sure that is."""

from __future__ import annotations

from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.runs.console import Output


def evaluate(config: EvaluateConfig, output: Output, overwrite: bool) -> None:
    """Score runs on a data set, or masks of any tool against the truth: IoU and Dice per class, with intervals."""
    from bioseg_cli.evaluation import session

    session.run(config, output, overwrite=overwrite)
