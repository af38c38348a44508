"""What the values of predicted masks mean: decided over all masks of a folder, and never guessed silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bioseg_cli.ahead import WORKERS, made_ahead
from bioseg_cli.config import read_yaml
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folders import FolderTruth, survey_regions
from bioseg_cli.evaluation.frames import Frame, MaskReader
from bioseg_cli.prediction.settings import RECORD_NAME
from bioseg_cli.prepare.masks import MOST_CLASSES, MaskReading
from bioseg_cli.prepare.recipe import listing
from bioseg_cli.runs.console import Output

Read = Callable[[Pixels], Pixels]
"""From the values of a mask, (H, W) or (H, W, 3), to class codes (H, W)."""


@dataclass(frozen=True)
class MaskValues:
    """What the predicted masks of a folder hold, all together."""

    folder: Path
    coloured: bool
    values: frozenset[int]
    of_bioseg: bool
    """`bioseg predict` made them: class codes, whatever the values of the masks it was trained with."""


def look_at(folder: Path, frames: Sequence[Frame], reader: MaskReader, output: Output) -> MaskValues:
    """See the values of all predicted masks.

    Args:
        folder: that holds them.
        frames: the masks.
        reader: reads them.
        output: for the progress bar.

    Raises:
        DataError: a mask cannot be read, or they are pictures, probabilities or bare clusters and no labels.
    """
    of_bioseg = (folder / RECORD_NAME).is_file()
    if of_bioseg and read_yaml(folder / RECORD_NAME).get("values") == "clusters":
        raise DataError(
            "The masks hold numbers of clusters, which are no classes",
            where=folder,
            fix="Predict them without --raw-clusters, or score the run itself: `bioseg evaluate RUN`.",
        )

    def values_of(frame: Frame) -> tuple[bool, set[int]]:
        values = reader.look(frame)
        return values.ndim == 3, set(values.reshape(-1).tolist())

    with made_ahead(values_of, frames, most=4 * WORKERS) as found:
        looks = list(output.track(found, "Looking at the predicted masks", len(frames)))
    values = frozenset[int]().union(*(found for _, found in looks))
    if len(values) > MOST_CLASSES:
        _refuse_pictures(folder, frames, reader, output)
    return MaskValues(
        folder=folder,
        coloured=any(coloured for coloured, _ in looks),
        values=values,
        of_bioseg=of_bioseg,
    )


def interpret(seen: MaskValues, truth: MaskReading | None, names: Sequence[str]) -> tuple[Read, str]:
    """Decide how predicted masks become class codes, for all masks of a folder alike.

    Args:
        seen: their values.
        truth: how the true masks are read; None where the truth is a data set, whose labels are class codes.
        names: (K,) of the classes.

    Returns:
        The function from masks (H, W) or (H, W, 3) to codes (H, W), and one line on what it does.

    Raises:
        DataError: the values fit no reading.
    """
    codes = {code: code for code in range(len(names))}
    own = None if truth is None or seen.of_bioseg or truth.codes is None else truth
    if own is not None and own.kind == "colours" and (seen.coloured or not seen.values <= codes.keys()):
        return own.labels, "read like the true masks, by colour"
    if len(names) == 2 and (0 in seen.values or seen.coloured):
        return (
            lambda mask: (mask.any(axis=-1) if mask.ndim == 3 else mask != 0).astype(np.uint8),
            f"all but 0 is {names[1]!r}",
        )
    if not seen.coloured:
        if own is not None and own.codes is not None and own.kind == "classes" and seen.values <= own.codes.keys():
            return own.labels, "read like the true masks, by value"
        if seen.values <= codes.keys():
            return lambda mask: mask, "the values are class codes"
    found = "colours" if seen.coloured else listing([str(value) for value in sorted(seen.values)], 8)
    expected = ", ".join(f"{code} {name!r}" for code, name in enumerate(names))
    raise DataError(
        f"The predicted masks hold {found}; the classes are {expected}",
        where=seen.folder,
        fix="Save the predictions as class codes.",
    )


def refuse_doubt(seen: MaskValues, truth: FolderTruth) -> None:
    """Raise `DataError` where the reading of the true masks is a guess that the predictions contradict."""
    if len(truth.classes) > 2 >= len(seen.values) and not seen.coloured:
        raise DataError(
            f"The true masks look like {len(truth.classes)} classes, the predictions hold two values",
            where=truth.folder,
            fix=f"Say what the true masks are: --masks-are binary, or --masks-are {truth.reading.kind}.",
        )


def _refuse_pictures(folder: Path, frames: Sequence[Frame], reader: MaskReader, output: Output) -> None:
    # So many values are numbered objects, each in one piece; a probability map saved as a picture has them too, and
    # "all but 0" of it is nearly everything.
    survey = survey_regions(frames, reader, output)
    try:
        survey.reading(None, ())
    except DataError as error:
        raise DataError(error.what, where=folder, fix="Give masks of labels: threshold probabilities first.") from None
