"""One run, read whole: its manifest, its saved states, what it resumes from, and its data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bioseg_cli.checking.result import CheckedRun, Finding
from bioseg_cli.config import STATES
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import sha256_of
from bioseg_cli.model.saved import load_model
from bioseg_cli.runs.dataset import dataset_of
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.seen import SeenImage, seen_images
from bioseg_cli.training.state import read_state


@dataclass
class RunCheck:
    """What was found in a run; `facts` is None where it has no manifest that can be read."""

    facts: CheckedRun | None = None
    seen: Sequence[SeenImage] | None = None
    findings: list[Finding] = field(default_factory=list)


def check_run(path: Path) -> RunCheck:
    """Read a run; raises nothing of what is wrong with it."""
    try:
        run = RunDirectory.open(path)
    except DataError as error:
        return RunCheck(findings=[_harm(error, path)])
    found = RunCheck(findings=[*_state_findings(run), *_remarks(run)])
    try:
        found.seen = seen_images(run)
    except DataError as error:
        found.findings.append(_harm(error, path))
    manifest = run.manifest
    found.facts = CheckedRun(
        path=str(path),
        command=manifest.command,
        status=str(manifest.status),
        data=manifest.data.path,
        data_hash=manifest.data.content_hash,
        states={state: sha256_of(run.checkpoint(state)) for state in STATES if run.checkpoint(state).is_file()},
        seen=None if found.seen is None else len(found.seen),
    )
    return found


def _state_findings(run: RunDirectory) -> Iterator[Finding]:
    """What is wrong with saved states and with what the run resumes from."""
    for state in STATES:
        path = run.checkpoint(state)
        if not path.is_file():
            continue
        try:
            model = load_model(path, torch.device("cpu"))
        except DataError as error:
            yield _harm(error, path)
            continue
        if not all(bool(torch.isfinite(tensor).all()) for tensor in model.network.state_dict().values()):
            yield Finding(True, "run", str(path), "Weights of the state are not finite numbers", "Train the run again.")
        if model.card.dataset_hash != run.manifest.data.content_hash:
            what = "The state was trained on another data set than its run records"
            yield Finding(True, "run", str(path), what, "Copy the run again, or train it again.")
    if run.resume_file.is_file():
        try:
            read_state(run.resume_file)
        except DataError as error:
            yield _harm(error, run.resume_file)


def _remarks(run: RunDirectory) -> Iterator[Finding]:
    where, data = str(run.path), run.manifest.data
    if not run.manifest.status.ended:
        yield Finding(False, "run", where, f"The training has not come to its end: its status is {run.manifest.status}")
    try:
        with dataset_of(run) as dataset:
            if dataset is None:
                yield Finding(False, "run", where, f"{data.path} is not the data set that the run was trained on")
    except DataError as error:
        yield Finding(False, "run", where, f"The data set of the run cannot be read: {error.what}", error.fix)


def _harm(error: DataError, path: Path) -> Finding:
    return Finding(True, "unreadable", error.where or str(path), error.what, error.fix)
