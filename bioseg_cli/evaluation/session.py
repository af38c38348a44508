"""From settings to what the user sees: scores on the screen, as JSON, as CSV, and a folder with figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioseg_cli.evaluation.report import Draw, Evaluation, Report, images_csv, table_csv
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.table import render
from bioseg_cli.evaluation.truth import Predict, Truth
from bioseg_cli.files import refuse_existing, write_text
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.manifest import environment, now

REPORT_NAME = "evaluation.json"
IMAGES_NAME = "per_image.csv"
FIGURE_NAME = "worst_best.png"


def evaluate_and_report(config: EvaluateConfig, output: Output, *, overwrite: bool) -> list[Report]:
    """Score what `config` names, show it, and write what was asked for.

    Raises:
        UsageError: a file to write exists already.
        DataError: see `masks.evaluate_masks` and `runs.evaluate_runs`.
    """
    for path in (config.csv, config.out):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    several = len(config.runs) > 1 or config.state == "all"
    draw = _nothing if config.out is None else _figures_in(config.out, several=several)
    if config.predictions is not None:
        from bioseg_cli.evaluation.masks import evaluate_masks

        reports = [evaluate_masks(config, output, draw)]
    else:
        from bioseg_cli.evaluation.runs import evaluate_runs

        reports = evaluate_runs(config, output, draw)
    document: dict[str, Any] = {"runs": [run for report in reports for run in report.to_json()]}
    if config.csv is not None:
        write_text(config.csv, table_csv(reports))
    if config.out is not None:
        write_text(config.out / IMAGES_NAME, images_csv(reports))
        record = {
            "command": config.command,
            "config": config.model_dump(mode="json"),
            "finished": now(),
            "environment": environment(),
            **document,
        }
        write_text(config.out / REPORT_NAME, json.dumps(record, indent=2, allow_nan=False) + "\n")
    for report in reports:
        output.show(render(report))
    output.result(document)
    return reports


def _nothing(evaluation: Evaluation, truth: Truth, predict: Predict) -> None:
    """No figure was asked for."""


def _figures_in(folder: Path, *, several: bool) -> Draw:
    from bioseg_cli.evaluation.figures import write_worst_best

    if (folder / REPORT_NAME).is_file():
        # Figures of an earlier report must not stay among those of this one.
        for old in folder.glob(f"*{FIGURE_NAME}"):
            old.unlink()
    taken: list[str] = []

    def draw(evaluation: Evaluation, truth: Truth, predict: Predict) -> None:
        name = f"{Path(evaluation.name).name}-{evaluation.state}-" if several else ""
        taken.append(name)
        again = f"{taken.count(name)}-" if taken.count(name) > 1 else ""
        write_worst_best(folder / f"{name}{again}{FIGURE_NAME}", truth, predict, evaluation.images)

    return draw
