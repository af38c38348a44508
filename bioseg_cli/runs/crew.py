"""Who does the jobs of a batch: this process in turn, a local Dask cluster, or the workers of a running one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from bioseg_cli.errors import RunError, UsageError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 30

Job = TypeVar("Job")
End = TypeVar("End")


def spread(
    do: Callable[[Job], End],
    jobs: Sequence[Job],
    *,
    at_once: int,
    scheduler: str | None,
    lost: Callable[[Job], End],
) -> Iterator[tuple[Job, End]]:
    """Do every job and yield it with how it ended, as they end.

    With Dask a job whose worker dies is given to another one, until it has cost several of them.

    Args:
        do: does a job; importable by name, as other processes call it. It may be called again for a job that a worker
            died over, while remains of the first attempt still run.
        jobs: small, and picklable.
        at_once: jobs at a time on this machine; 1 = in this process.
        scheduler: address of a running Dask scheduler, instead.
        lost: how a job ended that its workers died over.

    Raises:
        UsageError: Dask is not installed.
        RunError: no scheduler answers at the address.
    """
    if scheduler is None and at_once == 1:
        for job in jobs:
            yield job, do(job)
        return
    with _client(at_once, scheduler) as client:
        from distributed import KilledWorker, as_completed

        futures = {client.submit(do, job, pure=False): job for job in jobs}
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, KilledWorker):
                yield futures[future], lost(futures[future])
            elif error is not None:
                raise error
            else:
                yield futures[future], future.result()


def threads_each(at_once: int) -> int:
    """Threads of each of so many jobs on this machine."""
    return max(1, (os.cpu_count() or 1) // at_once)


@contextmanager
def _client(at_once: int, scheduler: str | None) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise UsageError("Several jobs at a time need Dask", fix="Install it: pip install 'bioseg[cluster]'") from None
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"No Dask scheduler answers at {scheduler} ({reason})", fix="Check the address, and that it runs."
            ) from None
        with client:
            yield client
        return
    with (
        # A thread each: a job is a process of its own that takes the processors it is given.
        LocalCluster(
            n_workers=at_once, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
