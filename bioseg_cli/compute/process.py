"""A job in a process of its own: when it crashes, or the system kills it for its memory, that is one failed job.

The process reads the job from standard input as a line of JSON and answers with a line of JSON on standard output. When
its input ends, whoever started it has died or wants it to stop.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bioseg_cli.compute.memory import is_out_of_memory
from bioseg_cli.errors import BiosegError, Interrupted

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Where both are set, as Dask does for its workers, torch heeds the second."""


class NoAnswer(Exception):
    """The process ended without an answer."""


def ask(module: str, job: str, log: Path, *, threads: int | None) -> dict[str, Any]:
    """Do a job in a new process; returns its answer.

    Args:
        module: calls `answer` when it is run.
        job: a line of JSON.
        log: file that what the process says is added to.
        threads: for the process; None = as its environment says.

    Raises:
        NoAnswer: the process crashed or was killed.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    log.parent.mkdir(parents=True, exist_ok=True)
    text = b""
    with (
        log.open("ab") as said,
        subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            # Ctrl-C reaches the process that started it, which ends its input.
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(job.encode() + b"\n")
            process.stdin.flush()
            text = process.stdout.read()
        except BrokenPipeError:
            pass
        except KeyboardInterrupt:
            process.stdin.close()
            process.wait()  # while it saves its state
            raise
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise NoAnswer(f"The process ended without an answer (exit code {process.returncode})") from None
    return found


def answer(perform: Callable[[bytes], dict[str, Any]]) -> None:
    """Be such a process: do the job that standard input holds, and answer.

    Args:
        perform: does a job, a line of JSON, and returns the answer; a `BiosegError` of it becomes the answer `problem`.
    """
    job = sys.stdin.buffer.readline()
    threading.Thread(target=_stop_with_the_input, daemon=True).start()
    try:
        found = perform(job)
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None
    except BiosegError as error:
        found = {"problem": ". ".join(str(error).splitlines())}
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        found = {"problem": "Memory ran out"}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    # Not through the interpreter's end, which the thread that waits for input would hold up.
    os._exit(0)


def _stop_with_the_input() -> None:
    sys.stdin.buffer.read()
    # As for the user's own SIGTERM, training saves its state first.
    os.kill(os.getpid(), signal.SIGTERM)
