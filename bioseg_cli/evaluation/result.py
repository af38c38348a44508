"""What `session.run` returns: the reports, and the runs that could not be scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioseg_cli.errors import BiosegError
from bioseg_cli.evaluation.document import EvaluationDocument, RunFailure
from bioseg_cli.evaluation.report import Evaluation, Report


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of runs or masks.

    Attributes:
        reports: one for each data set, split and set of labels.
        failures: of several runs, those that could not be scored, and why.
        warnings: what must be known of it, in sentences.
    """

    reports: tuple[Report, ...]
    failures: Mapping[Path, BiosegError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All that was scored but controls and baselines, in the order of the runs."""
        return tuple(evaluation for report in self.reports for evaluation in report.evaluations)

    def document(self) -> EvaluationDocument:
        """What there is to say of it, with the keys of docs/evaluate.md."""
        document = EvaluationDocument(runs=tuple(record for report in self.reports for record in report.records()))
        if not self.failures:
            return document
        failures = tuple(RunFailure(run=str(run), error=str(error)) for run, error in self.failures.items())
        return document.having(failures=failures)

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg evaluate --json`."""
        return self.document().model_dump(mode="json")
