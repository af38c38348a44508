"""The manifest of a study as it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioseg_cli.runs.section import Section
from bioseg_cli.study.grid import Budget


class RunEntry(Section):
    """A run of the plan.

    Attributes:
        name: of its directory.
        data: name of its data set.
        loss: as of `results.RunResult`.
        budget: labelled images; None without labels.
        draw, seed: its repeat.
        hash: of settings and data.
        status: how far it was when the manifest was written.
        failure: what went wrong.
        variant: the settings that tell it apart; None where the plan compares none.
    """

    name: str
    data: str
    loss: str
    budget: Budget | None
    draw: int
    seed: int
    hash: str
    status: str
    failure: str | None = None
    variant: str | None = None

    @property
    def title(self) -> str:
        """What tables call its data set; runs of other settings have a table of their own."""
        return self.data if self.variant is None else f"{self.data} ({self.variant})"


class StudyRecord(Section):
    """What a manifest says beside how the study stands.

    Attributes:
        title: of the study.
        config: the plan.
        data: files by the name of the data set and by method.
        runs: of the plan, in its order.
    """

    title: str
    config: dict[str, Any]
    data: dict[str, dict[str, Path]]
    runs: tuple[RunEntry, ...]
