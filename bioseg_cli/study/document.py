"""The study as JSON."""

from __future__ import annotations

from typing import Any

from bioseg_cli.study.cells import cells
from bioseg_cli.study.results import StudyResults


def document(results: StudyResults) -> dict[str, Any]:
    """The cells, baselines and runs, with the keys of docs/study.md."""
    return {
        "split": results.split,
        "cells": [cell.to_json() for cell in cells(results)],
        "baselines": {data: {row.name: row.mean_iou for row in rows} for data, rows in results.baselines.items()},
        "runs": [
            {
                "name": run.name,
                "hash": run.hash,
                "status": run.status,
                "failure": run.failure,
                "labelled_share": run.labelled_share,
                "unseen": list(run.unseen),
                "unlike_control": list(run.unlike_control),
            }
            for run in {run.name: run for run in results.runs}.values()
        ],
    }
