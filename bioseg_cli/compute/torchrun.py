"""Which process of several this is: `torchrun` starts them and tells each in its environment.

Only the first one prints and writes files.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.errors import BiosegError


@dataclass(frozen=True)
class Launch:
    """One process of those that run a command together, over all hosts; without `torchrun` the only one."""

    rank: int = 0
    """Its number, from 0."""
    count: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number among those of its host."""

    @property
    def first(self) -> bool:
        """Whether it is the one that prints and writes files."""
        return self.rank == 0


def this_launch() -> Launch:
    """What `torchrun` says of this process."""
    # RANK alone says nothing: schedulers of clusters set it for whatever runs there.
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launch()
    return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


def run_launched(program: Callable[[], None]) -> None:
    """Run a program that ends with `SystemExit`; where it is one of several processes, only the first prints."""
    launch = this_launch()
    if launch.count == 1:
        program()
        return
    with contextlib.ExitStack() as stack:
        if not launch.first:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            program()
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not through the interpreter's end: a thread of the connections that still tidies up then aborts it.
            os._exit(end.code if isinstance(end.code, int) else 0)


def tell_launcher(error: BiosegError) -> None:
    """Leave an error for the summary that `torchrun` prints of the processes that failed."""
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        line = str(error).replace("\n", "; ")
        content = {"message": {"message": line, "extraInfo": {"timestamp": int(time.time())}}}
        Path(path).write_text(json.dumps(content), encoding="utf-8")
