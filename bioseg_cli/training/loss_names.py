"""Which unsupervised losses there are: those of bioseg, and those that installed packages add.

A package adds a loss by the entry points `bioseg.losses`, as `CONTRIBUTING.md` says; it is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from bioseg_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

OWN_LOSSES = ("kl", "iid", "fixmatch", "none")
GROUP = "bioseg.losses"


@dataclass(frozen=True)
class UnsupervisedLoss:
    """What an entry point names: how predictions on the two views of unlabelled images are compared.

    Attributes:
        compare: of the logits (B, K, H, W) of the weak view, the probabilities (B, K, H, W) of the strong view brought
            to the weak one, and the weight (B, 1, H, W) of each pixel, 0 where it is not seen in both: the loss, a
            float32 scalar.
        fixed_target: whether no gradient flows to the weak view, which then has a forward pass of its own. A teacher
            and mixing need it.
    """

    compare: Callable[[Tensor, Tensor, Tensor], Tensor]
    fixed_target: bool = True


def installed_names() -> tuple[str, ...]:
    """The names of the losses that installed packages add; nothing is imported."""
    return tuple(sorted(entry_points(group=GROUP).names))


def installed_loss(name: str) -> UnsupervisedLoss:
    """The loss of a name.

    Raises:
        UsageError: nothing has that name, or what has it cannot be imported or is no `UnsupervisedLoss`.
    """
    point: EntryPoint | None = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        raise UsageError(f"No installed package adds the loss {name!r}", fix="Install the package that has it.")
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"The loss {name!r} cannot be loaded ({error})",
            where=point.value,
            fix="Install the package that adds it again, or remove it.",
        ) from error
    if not isinstance(found, UnsupervisedLoss):
        raise UsageError(
            f"The loss {name!r} is no UnsupervisedLoss",
            where=point.value,
            fix="Mend the package that adds it; CONTRIBUTING.md has the steps.",
        )
    return found


def _known(name: str) -> str:
    if name not in OWN_LOSSES and name not in (installed := installed_names()):
        raise ValueError(f"there is no unsupervised loss {name!r}, there are {', '.join((*OWN_LOSSES, *installed))}")
    return name


UnsupLossName = Annotated[str, AfterValidator(_known)]
"""The name of an unsupervised loss that there is."""
