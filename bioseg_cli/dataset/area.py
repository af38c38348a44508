"""How much of labelled images has a label: all of it, or where they were drawn in part a few strokes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bioseg_cli.dataset.schema import IntArray

if TYPE_CHECKING:
    # Not at start: the figures of a finished run are shown without h5py.
    from bioseg_cli.dataset.reader import Dataset

UNDRAWN_TO_LEARN = 0.1
"""From this share on, the undrawn part of a labelled image is an unlabelled image."""


AREA = "In brackets behind the labels: how much of the area of the labelled images has a label."
"""What tables with such shares say below."""


def labelled_area(dataset: Dataset, indices: IntArray) -> dict[str, Any]:
    """The `pixels` of images that have a label, and their `share` of the images without padding; reads every mask."""
    found = [dataset.labelled_area(index) for index in indices.tolist()]
    pixels = sum(labelled for labelled, _ in found)
    return {"pixels": pixels, "share": pixels / max(1, sum(shown for _, shown in found))}


def unlabelled_pool(dataset: Dataset, labelled: IntArray) -> IntArray:
    """The training images that an unsupervised loss learns from, in the order of their indices.

    They are those without a label among `labelled`, and those of them of which much was not drawn.
    """
    pool = np.setdiff1d(dataset.indices("train"), labelled)
    if not dataset.drawn_in_part:
        return pool
    areas = [(index, *dataset.labelled_area(index)) for index in labelled.tolist()]
    partly = [index for index, drawn, shown in areas if drawn <= (1 - UNDRAWN_TO_LEARN) * shown]
    return np.union1d(pool, np.array(partly, dtype=np.int64))


def with_share(images: str | int, shares: Iterable[float | None]) -> str:
    """A number of labelled images for a table, such as `3`, or where they were labelled in part `3 (1.2 %)`.

    Args:
        images: their number, as the table has it.
        shares: as in `shown_share`.
    """
    share = shown_share(shares)
    return str(images) if share is None else f"{images} ({share})"


def shown_share(shares: Iterable[float | None]) -> str | None:
    """How much of labelled images is labelled, such as `1.2 %` or `1.1-1.3 %`; None where all is, or it is not known.

    Args:
        shares: labelled share of their area in each run that is meant; None where that is not known.
    """
    known = sorted(share for share in shares if share is not None and share < 1)
    return f"{'-'.join(dict.fromkeys([per_cent(known[0]), per_cent(known[-1])]))} %" if known else None


def per_cent(share: float) -> str:
    """Two digits, as plain decimals; never 0 nor 100 of what is neither."""
    value = min(100 * share, 99.9) if share < 1 else 100
    return f"{value:.1f}" if value >= 1 else f"{max(value, 1e-4):.2g}"
