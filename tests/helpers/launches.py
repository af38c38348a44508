"""Commands that are started as `torchrun` starts the processes of one training."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

COUNT = 2


def launched(rank: int, port: int) -> dict[str, str]:
    """What `torchrun` tells the process of a rank."""
    return {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(COUNT),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def together(*commands: tuple[object, ...], folder: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run a command of bioseg in each of the processes of a launch, each in a folder of its own."""
    port = free_port()
    processes = []
    for rank, command in enumerate(commands):
        (own := folder / f"process{rank}").mkdir(exist_ok=True)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "bioseg_cli", *map(str, command)],
                cwd=own,
                env={**os.environ, **launched(rank, port)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = []
    for process in processes:
        out, errors = process.communicate(timeout=60)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, errors))
    return done
