"""What `session.run` returns: facts of the machine and the folder, and what may be in the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Extra:
    """Packages that only some commands need.

    Attributes:
        name: of the extra.
        for_what: what it is for.
        missing: its packages that are not installed.
    """

    name: str
    for_what: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Computing:
    """What trainings and predictions compute with.

    Attributes:
        device: that is taken where none is given.
        gpus: name of each GPU that PyTorch sees.
        precision: that is taken where none is given, such as bf16.
        reason: why.
        cores: processors that this process may use.
        busy: processes that want a processor, in the mean of the last minute; None where the system does not say.
        memory: free bytes; None where the system does not say.
    """

    device: str
    gpus: tuple[str, ...]
    precision: str
    reason: str
    cores: int
    busy: float | None
    memory: int | None


@dataclass(frozen=True)
class FoundDataset:
    """A data set: its file, images and labelled images, classes, or what is wrong with it."""

    path: Path
    images: int = 0
    labelled: int = 0
    classes: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True)
class FoundRun:
    """A run: its folder, command and status, updates done so far, or what is wrong with it."""

    path: Path
    command: str = ""
    status: str = ""
    updates: int = 0
    fault: str | None = None


@dataclass(frozen=True)
class DoctorResult:
    """What was found.

    Attributes:
        versions: of bioseg, Python and the packages that results depend on.
        extras: that bioseg has.
        computing: device, precision, processors and memory.
        disk: free bytes where the folder lies.
        datasets: in `data/`.
        runs: in `runs/`.
        remarks: what may be in the way of the next command, in sentences.
    """

    versions: dict[str, str]
    extras: tuple[Extra, ...]
    computing: Computing
    disk: int
    datasets: tuple[FoundDataset, ...]
    runs: tuple[FoundRun, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        document = asdict(self)
        for found in (*document["datasets"], *document["runs"]):
            found["path"] = str(found["path"])
        return document
