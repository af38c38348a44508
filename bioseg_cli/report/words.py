"""Numbers and names as the page writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bioseg_cli.dataset.area import shown_share
from bioseg_cli.metrics.intervals import MeanInterval, as_text
from bioseg_cli.report.paper import PIPELINES
from bioseg_cli.study.grid import CONTROL, METHOD_NAMES, Budget
from bioseg_cli.study.statistics import Estimate

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"

STATES = {
    "best-supervised": "best supervised",
    "best-final": "best final",
    "best-miou": "best mean IoU",
    "last": "last",
    "control": "control of the guard",
}
HEADS = {"main": "main head", "aux": "auxiliary head"}
MAPPINGS = {"oracle": "oracle mapping", "stored": "stored mapping"}
BASELINES = {
    "otsu": "Otsu’s threshold",
    "kmeans": "k-means of brightness",
    "local": "local threshold",
    "forest": "random forest on filters, all labels",
    "all-background": "all background",
}
NO_INTERVAL = "no interval"
LONGEST_REASON = 90


def method(loss: str) -> str:
    """What the page calls a method."""
    return "supervised control" if loss == CONTROL else METHOD_NAMES.get(loss, loss)


def state(name: str) -> str:
    """What the page calls a saved state."""
    return STATES.get(name, name)


def output(loss: str, name: str) -> str:
    """A method with its saved state, and what the paper calls the two: `KL, best final (P2)`."""
    pipeline = PIPELINES.get((loss, name))
    return f"{method(loss)}, {state(name)}" + (f" ({pipeline})" if pipeline else "")


def head(name: str | None, mapping: str | None) -> str:
    """A head of IIC with the mapping of its clusters."""
    return f"{HEADS.get(str(name), str(name))}, {MAPPINGS.get(str(mapping), str(mapping))}"


def baseline(name: str) -> str:
    """What the page calls a baseline; a forest has its label budget in its name."""
    forest, comma, budget = name.partition(", ")
    return f"random forest on filters, {budget}" if comma and forest == "forest" else BASELINES.get(name, name)


def labels(budget: Budget, shares: Iterable[float] = ()) -> str:
    """A label budget: `10 % (12 images)`, `5 labels`, `all labels (114 images)`; and how much was drawn.

    Args:
        budget: images.
        shares: labelled share of their area, of each run.
    """
    title = "all labels" if budget.title == "all" else budget.title
    title = title.replace(" ", NO_BREAK)
    share = shown_share(shares)
    said = [] if "label" in title and budget.title != "all" else [counted(budget.count, "image")]
    said += [] if share is None else [f"{share} of their area"]
    return f"{title} ({', '.join(said)})" if said else title


def score(value: float) -> str:
    """A mean IoU."""
    return f"{value:.4f}"


def gain(value: float) -> str:
    """A difference of mean IoU, with its sign."""
    return f"{value:+.4f}".replace("-", MINUS)


def interval(found: MeanInterval | tuple[float, float] | None, form: str = ".4f") -> str:
    """The limits of an interval of a mean IoU."""
    if found is None:
        return NO_INTERVAL
    low, high = (found.low, found.high) if isinstance(found, MeanInterval) else found
    return as_text(low, high, form).replace("-", MINUS)


def gain_interval(found: MeanInterval | None) -> str:
    """The limits of an interval of a difference, with their signs."""
    return interval(found, "+.4f")


def estimate(found: Estimate) -> str:
    """A mean IoU with its interval."""
    return f"{score(found.mean)} ({interval(found.interval)})"


def change(found: Estimate) -> str:
    """A difference of mean IoU with its interval."""
    return f"{gain(found.mean)} ({gain_interval(found.interval)})"


def reservation(found: Estimate) -> str | None:
    """Why there is no interval, or what it does not cover, to stand beside the interval."""
    return None if found.reservation is None else found.reservation.removeprefix(f"{NO_INTERVAL}: ")


def probability(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(count: int, thing: str, several: str | None = None) -> str:
    """`1 run`, `3 runs`."""
    return f"{count} {thing}" if count == 1 else f"{count} {several or thing + 's'}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def shortened(reason: str, longest: int = LONGEST_REASON) -> str:
    """The beginning of a long sentence."""
    return reason if len(reason) <= longest else f"{reason[: longest - 1].rstrip()}…"


def capitalised(text: str) -> str:
    """With a capital first letter, and everything else as it is."""
    return text[:1].upper() + text[1:]


def unbroken(text: str) -> str:
    """With each percentage kept in one line."""
    return re.sub(r"(?<=\d) (?=%)", NO_BREAK, text)
