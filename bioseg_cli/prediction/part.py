"""A part of the files of a prediction, done in a process of its own."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from bioseg_cli.compute.process import NoAnswer, ask
from bioseg_cli.config import Config
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction.record import Outcome
from bioseg_cli.prediction.settings import PredictConfig

WORKER = "bioseg_cli.prediction.worker"
"""The module that does a part; not imported here, as it needs torch."""
WANTED = "wanted"
"""A file in the folder of the parts. Once it is gone, nobody waits for them: who still works on one stops."""


class Part(Config):
    """Some of the files of a prediction.

    Attributes:
        number: its place among the parts.
        names: of the outputs of each of its files.
        config: `run` is a model and `inputs` are files, absolute; `out` is the folder of the parts, in which each
            attempt makes one of its own: an earlier one may not have ended yet.
        threads: for its process; None = as its environment says.
        processes: that share the memory of its machine evenly.
        rules: how objects are told apart, where they are written.
    """

    number: int
    names: tuple[str, ...]
    config: PredictConfig
    threads: int | None
    processes: int
    rules: ObjectRules


class PartEnd(Config):
    """How a part ended: it has one of `outcome`, `unwritable` and `problem`.

    Attributes:
        outcome: of its files.
        out: folder of their outputs.
        unwritable: the `what` and `fix` of an `OutputError`.
        problem: what went wrong.
        crashed: the process gave no answer: a single one of the files may be the cause.
    """

    outcome: Outcome | None = None
    out: Path | None = None
    unwritable: tuple[str, str | None] | None = None
    problem: str | None = None
    crashed: bool = False


def do_part(part: Part) -> PartEnd:
    """Do a part in a new process."""
    folder = part.config.out
    try:
        out = Path(tempfile.mkdtemp(prefix=f"{part.number}-", dir=folder))
        log = out.with_suffix(".log")
        attempt = part.model_copy(update={"config": part.config.model_copy(update={"out": out})})
        return PartEnd.model_validate({**ask(WORKER, attempt.to_line(), log, threads=part.threads), "out": out})
    except NoAnswer as error:
        *_, last = ["nothing", *log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return PartEnd(problem=f"{error}; the last that it said is: {last}", crashed=True)
    except OSError as error:
        what = f"{platform.node()} could not begin in {folder} ({error.strerror}): it needs that folder"
        return PartEnd(problem=what)
    finally:
        if not (folder / WANTED).exists():
            shutil.rmtree(folder, ignore_errors=True)


def lost_part(part: Part) -> PartEnd:
    """What is said of a part that several workers died over."""
    return PartEnd(problem="Several workers died over it", crashed=True)
