"""Classes of a data set as masks give them: their names and the colours that show them."""

from __future__ import annotations

from collections.abc import Sequence

from bioseg_cli.config import ClassInfo
from bioseg_cli.errors import UsageError
from bioseg_cli.figures.palette import PALETTE

BACKGROUND = ClassInfo(name="background", colour=(0, 0, 0))


def named_classes(default: Sequence[str], names: Sequence[str], *, found: str) -> tuple[ClassInfo, ...]:
    """Classes with the names that were given, or default ones, in colours that can be told apart.

    Args:
        default: a name for each class, the background first.
        names: as the user gives them; none: the default ones.
        found: what the masks hold, for the error.

    Raises:
        UsageError: another number of names than of classes.
    """
    if names and len(names) != len(default):
        raise UsageError(
            f"--classes gives {len(names)} names, the masks hold {found}",
            fix=f"Give {len(default)} names, the background first, or say what the masks are with --masks-are.",
        )
    return tuple(
        ClassInfo(name=name, colour=BACKGROUND.colour if code == 0 else PALETTE[(code - 1) % len(PALETTE)])
        for code, name in enumerate(names or default)
    )
