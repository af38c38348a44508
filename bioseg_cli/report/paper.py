"""The figures of Horlava et al. 2020 (arXiv:2011.08076), Tables S1 and S2: mean IoU, each of a single run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

SOURCE = "Horlava et al. 2020, arXiv:2011.08076"

PIPELINES = {
    ("kl", "best-supervised"): "P1",
    ("kl", "best-final"): "P2",
    ("iid", "best-supervised"): "P3",
    ("iid", "best-final"): "P4",
}
"""What the paper calls an unsupervised loss with a saved state; the columns of its Table S1."""

TABLE_S1 = {
    "PhC": {
        "10 %": (0.9410, 0.9380, 0.8841, 0.9252),
        "25 %": (0.9295, 0.9416, 0.9303, 0.8635),
        "50 %": (0.9358, 0.9192, 0.9436, 0.9418),
    },
    "FluoGFP": {
        "10 %": (0.8777, 0.8788, 0.8727, 0.8364),
        "25 %": (0.9189, 0.8525, 0.9308, 0.8482),
        "50 %": (0.9281, 0.8844, 0.9150, 0.9083),
    },
    "BigBrain": {
        "10 %": (0.6504, 0.6616, 0.6733, 0.6137),
        "25 %": (0.6991, 0.6591, 0.6895, 0.6643),
        "50 %": (0.6805, 0.6887, 0.6927, 0.6862),
    },
    "FluoHoechst": {
        "10 %": (0.9273, 0.9273, 0.9516, 0.9350),
        "25 %": (0.9427, 0.9043, 0.9340, 0.9340),
        "50 %": (0.9377, 0.8930, 0.9343, 0.8114),
    },
}
"""By data set and share of labels, in the order of `PIPELINES`."""

TABLE_S2 = {
    "PhC": {"aux": 0.3475, "main": 0.2409},
    "FluoGFP": {"aux": 0.6983, "main": 0.2133},
    "FluoHoechst": {"aux": 0.7110, "main": 0.4631},
}
"""By data set and head of IIC."""

_NAMES = {name.casefold(): name for name in TABLE_S1}


@dataclass(frozen=True)
class PublishedReversal:
    """A fall in Table S1 although there are more labels.

    Attributes:
        loss, state: the pipeline.
        less, more: shares of labels.
        change: mean IoU at more labels minus that at less, below 0.
    """

    loss: str
    state: str
    less: str
    more: str
    change: float


def published(data: str, loss: str, state: str, budget: str) -> float | None:
    """The figure of Table S1 for a data set, unsupervised loss, state and share of labels; None = there is none."""
    row = TABLE_S1.get(_NAMES.get(data.casefold(), ""), {}).get(budget)
    if row is None or (loss, state) not in PIPELINES:
        return None
    return row[list(PIPELINES).index((loss, state))]


def published_head(data: str, head: str) -> float | None:
    """The figure of Table S2 for a data set and head; None = there is none."""
    return TABLE_S2.get(_NAMES.get(data.casefold(), ""), {}).get(head)


def published_reversals(data: str) -> list[PublishedReversal]:
    """The falls between neighbouring shares of labels in Table S1, by pipeline."""
    rows = TABLE_S1.get(_NAMES.get(data.casefold(), ""), {})
    return [
        PublishedReversal(loss, state, less, more, rows[more][place] - rows[less][place])
        for place, (loss, state) in enumerate(PIPELINES)
        for less, more in pairwise(rows)
        if rows[more][place] < rows[less][place]
    ]
