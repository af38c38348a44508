"""Memory that ran out: how it is recognised, whatever library met it, and a limit that leaves none to begin with."""

from __future__ import annotations

import errno

from bioseg_cli.errors import RunError

LEAST_GIB = 1.5
"""Address space that Python takes with the libraries of bioseg, before anything is read."""
GIB = 2**30

_SAID = (
    "allocate memory",  # torch, and the C library
    "out of memory",  # CUDA, MPS
    "bad_alloc",
    "bad allocation",
    "can't start new thread",
    "failed to map segment",  # a library that is loaded late
    "unable to allocate",  # NumPy, HDF5
    "allocation failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in main memory, or what failed for want of one."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or (isinstance(found, OSError) and found.errno == errno.ENOMEM):
            return True
        if type(found).__name__ == "OutOfMemoryError":  # of torch, which is not imported here
            return True
        if isinstance(found, RuntimeError | ImportError | OSError):
            said = str(found).lower()
            if any(words in said for words in _SAID):
                return True
        found = found.__cause__
    return False


def refuse_small_address_space() -> None:
    """Raise `RunError` where a limit of the system is too low for libraries: some abort then, some never end."""
    try:
        import resource  # Windows has none
    except ModuleNotFoundError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_GIB * GIB:
        raise RunError(
            f"Memory ran out before it began: the system allows a process {limit / GIB:.2g} GiB of address space, and "
            f"bioseg takes {LEAST_GIB:g} before it reads anything",
            fix="Raise the limit (ulimit -v), or ask for more memory where a scheduler sets it.",
        )
