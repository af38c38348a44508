"""What `session.run` returns: how far each run of a study is, and what the study amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioseg_cli.study.document import document
from bioseg_cli.study.grid import PlannedRun
from bioseg_cli.study.results import StudyResults


@dataclass(frozen=True)
class StudyResult:
    """A study, as far as it is.

    Attributes:
        path: its folder.
        runs: each planned run, how far it is, and what went wrong.
        entries: the same as the manifest of the study records it.
        results: what was found; None where nothing was to be done but to list the runs.
        failures: what went wrong, by the name of the run.
    """

    path: Path
    runs: tuple[tuple[PlannedRun, str, str | None], ...]
    entries: Sequence[Mapping[str, Any]]
    results: StudyResults | None
    failures: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The document of `bioseg study --json`; without results that of `--dry-run`, the planned runs."""
        found: dict[str, Any] = {"runs": self.entries} if self.results is None else document(self.results)
        return {"study": str(self.path), **found}
