"""Who does the jobs of a batch: this process in turn, a local Dask cluster, or the workers of a running one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from bioseg_cli.errors import RunError, UsageError
from bioseg_cli.processors import processors

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 30
HEED_NO_INTERRUPT = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What each worker runs first: a terminal sends Ctrl-C to all of them, and they stop when this process says so."""

Job = TypeVar("Job")
End = TypeVar("End")


def run_jobs(
    do: Callable[[Job], End],
    jobs: Sequence[Job],
    *,
    at_once: int,
    scheduler: str | None,
    lost: Callable[[Job], End],
) -> Generator[tuple[Job, End]]:
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
        RunError: no scheduler answers at the address, or it or its workers have no bioseg, or another.
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


def jobs_or_scheduler(jobs: int, scheduler: str | None) -> None:
    """Raise `ValueError` where settings name both."""
    if scheduler is not None and jobs != 1:
        raise ValueError("give --jobs or --scheduler, not both: a scheduler has its own workers")


def threads_each(at_once: int) -> int:
    """Threads of each of so many jobs on this machine."""
    return max(1, processors() // at_once)


@contextmanager
def _client(at_once: int, scheduler: str | None) -> Iterator[Client]:
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise UsageError.not_installed("Several jobs at a time need", error, "cluster") from None
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"No Dask scheduler answers at {scheduler} ({reason})", fix="Check the address, and that it runs."
            ) from None
        with client:
            _refuse_other_versions(client)
            yield client
        return
    with (
        # Else a second job may wait behind a long one while another worker falls idle.
        config.set({"distributed.scheduler.worker-saturation": 1.0}),
        LocalCluster(
            n_workers=at_once,
            threads_per_worker=1,  # a job is a process of its own that takes the processors it is given
            dashboard_address="localhost:0",  # without one Dask takes port 8787 on every interface
            silence_logs=logging.CRITICAL,
            preload=HEED_NO_INTERRUPT,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _refuse_other_versions(client: Client) -> None:
    from importlib.metadata import PackageNotFoundError, version

    # Workers that cannot read a job end without a word, and it would wait for ever.
    here = version("bioseg")
    try:
        there = {client.run_on_scheduler(version, "bioseg"), *client.run(version, "bioseg").values()}
    except PackageNotFoundError:
        there = {"missing"}
    if others := there - {here}:
        raise RunError(
            f"The scheduler or a worker has another bioseg ({', '.join(sorted(others))}) than this one ({here})",
            fix="Install the same version everywhere.",
        )
