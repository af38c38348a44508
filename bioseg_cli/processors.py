"""The processors that this process may use, and how threads share them with other programs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux has the limits of groups of processes, and of which groups this process is a member."""


def processors() -> int:
    """How many processors this process may use at once: those it is bound to, and no more than its groups may use.

    SLURM, `taskset` and containers bind processes to processors. Containers and schedulers limit the processor time
    of a control group too.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([bound, *group_limits(CGROUPS, MEMBERSHIP)])))


def group_limits(groups: Path, membership: Path) -> Iterator[float]:
    """Processors that the control groups of a process may use together, where there is a limit (cgroups(7)).

    Args:
        groups: the folder in which control groups are mounted.
        membership: a file with a line per hierarchy, `NUMBER:CONTROLLERS:GROUP`.
    """
    for line in _text(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        own = groups / group.lstrip("/") if not controllers else groups / "cpu" / group.lstrip("/")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container sees its own group at the top, and the host's name of it is not there.
        for folder in (own, *own.parents):
            if not controllers:
                quota, _, period = _text(folder / "cpu.max").partition(" ")
            else:
                quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
            if quota.strip().isdigit() and period.strip().isdigit() and int(period) > 0:
                yield int(quota) / int(period)
            if folder == groups:
                break


def share_processors(environment: MutableMapping[str, str]) -> None:
    """Let threads of OpenMP sleep while they wait, and be no more than the processors; before torch is loaded.

    Threads that spin while they wait for each other take the processors from other programs, and two trainings on one
    machine slow each other many times (benchmarks/shared_machine.py). What the environment says already, holds.
    """
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    if (count := processors()) < (os.cpu_count() or 1):
        environment.setdefault("OMP_NUM_THREADS", str(count))


def _text(path: Path) -> str:
    """The content of a file of the system; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
