"""What the values of predicted masks mean: decided over all masks of a folder, and never guessed silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folder_ground_truth import FolderGroundTruth
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.masks.agreement import use_of_palettes
from bioseg_cli.masks.frames import Frame, MaskReader, survey_masks, survey_values
from bioseg_cli.masks.mask_file import MaskTraits
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.smear import refuse_pictures
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.masks.values import pack
from bioseg_cli.prediction.record import PredictionRecord
from bioseg_cli.prediction.settings import OBJECTS_FOLDER, records_in
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

RELABEL = "Save the predictions as PNG or TIFF of class codes: threshold probabilities first."

Read = Callable[[Pixels, MaskTraits], Pixels]
"""From the values of a mask, (H, W) or (H, W, 3), and what its file says of them, to class codes (H, W)."""


@dataclass(frozen=True)
class MaskValues:
    """What the predicted masks of a folder hold, all together."""

    folder: Path
    coloured: bool
    values: frozenset[int]
    of_bioseg: bool
    """`bioseg predict` made them: class codes, whatever the values of the masks it was trained with."""
    of_objects: bool
    """`bioseg predict --objects` made them: numbers of objects, however small these are."""
    class_names: tuple[str, ...]
    """What each class code stands for, as `bioseg predict` recorded it; none where that is not known."""
    survey: MaskSurvey
    """Of whole masks where there are more than two values."""


def look_at(folder: Path, frames: Sequence[Frame], reader: MaskReader, output: Output) -> MaskValues:
    """See the values of all predicted masks.

    Args:
        folder: that holds them.
        frames: the masks.
        reader: reads them.
        output: for the progress bar.

    Raises:
        DataError: a mask cannot be read, or they are pictures, probabilities or bare clusters and no labels; or two
            predictions made them.
    """
    of_objects = folder.name == OBJECTS_FOLDER and bool(records_in(folder.parent))
    out = folder.parent if of_objects else folder
    records = [PredictionRecord.read(path) for path in records_in(out)]
    _refuse_mixture(records, out, frames)
    of_bioseg = bool(records) and not of_objects
    if of_bioseg and any(record.values == "clusters" for record in records):
        raise DataError(
            "The masks hold numbers of clusters, which are no classes",
            where=folder,
            fix="Predict them without --raw-clusters, or score the run itself: `bioseg evaluate RUN`.",
        )
    with prefetched_map(reader.look, frames, most=4 * WORKERS) as found:
        looks = list(zip(frames, output.track(found, "Looking at the predicted masks", len(frames)), strict=True))
    survey = survey_values(looks)
    if survey.several:
        survey = survey_masks(frames, reader, output, regions=False)
    try:
        refuse_pictures(survey.looks)
    except DataError as error:
        raise DataError(error.what, where=error.where or folder, fix=RELABEL) from None
    return MaskValues(
        folder=folder,
        coloured=any(values.ndim == 3 for _, values in looks),
        values=frozenset(value for _, values in looks for value in values.reshape(-1).tolist()),
        of_bioseg=of_bioseg,
        of_objects=of_objects,
        class_names=_recorded_names(records),
        survey=survey,
    )


def _recorded_names(records: Sequence[PredictionRecord]) -> tuple[str, ...]:
    """The names of the classes by their codes, where all records of a folder have the same."""
    recorded = {
        tuple(value.name for value in sorted(record.classes, key=lambda value: value.label)) for record in records
    }
    return recorded.pop() if len(recorded) == 1 else ()


def _refuse_mixture(records: Sequence[PredictionRecord], out: Path, frames: Sequence[Frame]) -> None:
    """Raise `DataError` for masks that several predictions made: one score would be of two models."""
    older = (entry for record in records for earlier in record.earlier for entry in earlier.files)
    replaced = {out / output for entry in older for output in entry.outputs}
    if names := list(dict.fromkeys(frame.path.name for frame in frames if frame.path in replaced)):
        raise DataError(
            f"An earlier prediction made {listing(names)}, and the one that replaces such masks is not complete",
            where=out,
            fix="Go on with it by `bioseg predict` and --skip-existing, or move these masks away.",
        )
    made_by = {out / output: record for record in records for entry in record.files for output in entry.outputs}
    first_of = {made_by[frame.path].model.sha256: frame.path for frame in reversed(frames) if frame.path in made_by}
    if len(first_of) > 1:
        names = [path.name for path in first_of.values()]
        raise DataError(
            f"The masks are of {len(names)} models, as the records of the parts of a job array say, such as "
            f"{listing(names)}",
            where=out,
            fix="Predict all parts with one model, or move the masks of the others away.",
        )


def interpret(seen: MaskValues, truth: MaskReading | None, names: Sequence[str]) -> tuple[Read, str]:
    """Decide how predicted masks become class codes, for all masks of a folder alike.

    Args:
        seen: their values.
        truth: how the true masks are read; None where the truth is a data set, whose labels are class codes.
        names: (K,) of the classes.

    Returns:
        The function from a mask (H, W) or (H, W, 3) and its traits to codes (H, W), and one line on what it does.

    Raises:
        DataError: the values fit no reading, or the background of the masks is a class of the truth.
    """
    reordered = seen.of_bioseg and sorted(seen.class_names) == sorted(names) and len(set(names)) == len(names)
    if reordered and seen.class_names[0] != names[0]:
        raise DataError(
            f"The predicted masks have the classes {', '.join(seen.class_names)}; the truth {', '.join(names)}: the "
            "first class is the background, and the two do not agree on it",
            where=seen.folder,
            fix="Prepare the truth again with the background first.",
        )
    codes = {code: code for code in range(len(names))}
    own = None if truth is None or seen.of_bioseg or truth.codes is None else truth
    by_colour = None if own is None else _by_colour(seen, own)
    if by_colour is not None:
        return by_colour.labels, "read like the true masks, by colour"
    if own is not None and own.kind == "colours" and (seen.coloured or not seen.values <= codes.keys()):
        return own.labels, "read like the true masks, by colour"
    # The value of what nobody drew in the truth is none that a prediction may have beside its classes.
    strange = truth is not None and truth.undrawn in seen.values and len(seen.values) > len(names)
    if len(names) == 2 and (0 in seen.values or seen.coloured) and not strange:
        return _foreground(seen, names)
    if not seen.coloured:
        _refuse_unclean(seen)
        if own is not None and own.codes is not None and own.kind == "classes" and seen.values <= own.drawn_values:
            return own.labels, "read like the true masks, by value"
        if seen.values <= codes.keys():
            if reordered and seen.class_names != tuple(names):
                places = np.array([list(names).index(name) for name in seen.class_names])
                return lambda mask, _: places[mask].astype(
                    mask.dtype
                ), "class codes, matched by the names of the classes"
            return lambda mask, _: mask, "the values are class codes"
    found = "colours" if seen.coloured else listing([str(value) for value in sorted(seen.values)], 8)
    expected = ", ".join(f"{code} {name!r}" for code, name in enumerate(names))
    raise DataError(
        f"The predicted masks hold {found}; the classes are {expected}",
        where=seen.folder,
        fix="Save the predictions as class codes.",
    )


def _foreground(seen: MaskValues, names: Sequence[str]) -> tuple[Read, str]:
    """All but 0, or what is nearer to the brighter of two levels in masks that are not clean."""
    said = f"all but 0 is {names[1]!r}"
    if seen.values == {0} or seen.of_objects:
        return lambda mask, _: (mask != 0).astype(np.uint8), said
    try:
        reading = seen.survey.reading("binary", names)
    except DataError as error:
        raise DataError(error.what, where=error.where or seen.folder, fix=RELABEL) from None
    return reading.labels, reading.sentence if reading.cuts or reading.by_colour else said


def holds_numbers(seen: MaskValues, names: Sequence[str]) -> bool:
    """Whether predicted masks that `interpret` reads have one number per object: more values than classes, and clean.

    Args:
        seen: their values.
        names: (K,) of the classes; of more than two, the values are classes.
    """
    if len(names) != 2 or seen.coloured or len(seen.values) <= len(names):
        return False
    return seen.of_objects or not seen.survey.reading("binary", names).cuts


def _by_colour(seen: MaskValues, truth: MaskReading) -> MaskReading | None:
    """The reading by colour of predictions with palettes that show the colours of the truth at other indices."""
    looks = [look for look in seen.survey.looks if look.traits.palette is not None]
    if truth.codes is None or truth.undrawn is not None or not looks:
        return None
    if truth.kind == "colours":
        codes = dict(truth.codes)
    else:
        shown = use_of_palettes(looks, "classes").colours
        if not truth.shown or (shown and shown.items() <= truth.shown.items()):
            return None
        codes = {colour: truth.codes[index] for index, colour in truth.shown.items()}
    coloured = [pack(look.traits.colours(look.counts.values)).tolist() for look in looks]
    if not all(codes.keys() >= set(colours) for colours in coloured):
        return None
    return replace(truth, kind="colours", codes=codes, by_colour=True)


def _refuse_unclean(seen: MaskValues) -> None:
    """Raise `DataError` where JPEG changed the numbers of classes, or palettes contradict each other."""
    if seen.values == {0}:
        return
    try:
        seen.survey.reading("classes", ())
        torn = use_of_palettes(seen.survey.looks, None).said
    except DataError as error:
        raise DataError(error.what, where=error.where or seen.folder, fix=RELABEL) from None
    if torn:
        raise DataError("The palettes of the predicted masks differ from file to file", where=seen.folder, fix=RELABEL)


def refuse_doubt(seen: MaskValues, truth: FolderGroundTruth) -> None:
    """Raise `DataError` where the reading of the true masks is a guess that the predictions contradict."""
    if len(truth.classes) > 2 >= len(seen.values) and not seen.coloured:
        raise DataError(
            f"The true masks look like {len(truth.classes)} classes, the predictions hold two values",
            where=truth.folder,
            fix=f"Say what the true masks are: --masks-are binary, or --masks-are {truth.reading.kind}.",
        )
