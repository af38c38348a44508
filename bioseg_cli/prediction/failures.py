"""What goes wrong with one image of many: it is left out, by name, and the rest is done."""

from __future__ import annotations

from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.prediction.sources import AnySource


def failure_of(source: AnySource, error: Exception) -> BiosegError:
    """The failure of one image, whatever kind of exception it met.

    An `OutputError` is none of one image: it must not come here.
    """
    if isinstance(error, BiosegError):
        return error
    if isinstance(error, MemoryError):
        what, fix = "Memory ran out over this image", "Cut it into parts, or predict it on a larger machine."
    else:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        what, fix = f"The image could not be predicted ({reason})", "Predict it alone with --debug to see where."
    return DataError(what, where=source.path, fix=fix)
