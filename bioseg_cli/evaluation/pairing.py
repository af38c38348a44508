"""Masks that any tool predicted, paired with the truth they are scored against and read as class codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folders import FolderTruth, Frame, files_by_name, find_file, frames_of, mask_files
from bioseg_cli.evaluation.truth import DatasetTruth
from bioseg_cli.images import read_mask
from bioseg_cli.prepare.crops import Crop
from bioseg_cli.prepare.masks import MaskReading
from bioseg_cli.prepare.recipe import listing
from bioseg_cli.runs.console import Output

FoundT = TypeVar("FoundT")
Read = Callable[[Pixels], Pixels]

PREDICTIONS_MANIFEST = "predictions.yaml"
"""`bioseg predict` writes it beside its masks, whose values are class codes."""


@dataclass(frozen=True)
class Pair:
    """The prediction of one image.

    Attributes:
        frame: where it is.
        shape: height and width of the true labels.
        crop: what of a prediction of the whole source frame the image shows; None where the truth is a file itself.
        source_shape: height and width of that source frame.
    """

    frame: Frame
    shape: tuple[int, int]
    crop: Crop | None = None
    source_shape: tuple[int, int] | None = None


class PredictedMasks:
    """Predicted masks, by number of the image; calling it with a number reads the class codes (H, W).

    Attributes:
        pairs: (N,) the prediction of each image.
        notes: how the files were understood.
    """

    def __init__(self, pairs: Sequence[Pair], read: Read, notes: Sequence[str]) -> None:
        self.pairs = tuple(pairs)
        self.notes = tuple(notes)
        self._read = read

    def __call__(self, number: int) -> Pixels:
        """Class codes (H, W) predicted for image `number`.

        Raises:
            DataError: the prediction has another size than its truth.
        """
        pair = self.pairs[number]
        codes = self._read(read_mask(pair.frame.path, pair.frame.frame))
        if codes.shape == pair.shape:
            return codes
        if pair.crop is not None and codes.shape == pair.source_shape:
            return pair.crop.cut(codes, 0)
        sizes = dict.fromkeys(size for size in (pair.shape, pair.source_shape) if size is not None)
        raise DataError(
            f"The prediction is {_size(codes.shape)} pixels, its truth {' or '.join(map(_size, sizes))}",
            where=pair.frame.path,
            fix="Predict at the image's own size.",
        )


def masks_for_folder(folder: Path, truth: FolderTruth, workers: int, output: Output) -> PredictedMasks:
    """Pair predicted with true mask files by name.

    Args:
        folder: of predicted masks, named like the true ones (an ending such as `_mask` may differ).
        truth: the true masks.
        workers: files looked at at once.
        output: for the progress bar.

    Raises:
        DataError: predictions are missing (they are listed), hold another number of frames, or values that are no
            class.
    """
    by_name = files_by_name(mask_files(folder))
    found = [find_file(by_name, one.path.stem) for one in truth.frames]
    paths = _complete(found, truth.names, folder)
    users: dict[Path, str] = {}
    pairs = []
    for one, path in zip(truth.frames, paths, strict=True):
        if users.setdefault(path, one.path.name) != one.path.name:
            raise DataError(f"{users[path]} and {one.path.name} are both named like the prediction", where=path)
        frames = frames_of(path)
        if len(frames) != one.of:
            raise DataError(
                f"The prediction holds {len(frames)} masks, the truth {one.path.name} {one.of}",
                where=path,
                fix="Predict every frame.",
            )
        pairs.append(Pair(frames[one.frame], one.shape))
    return _predicted(folder, pairs, truth, truth.classes, workers, output)


def masks_for_dataset(folder: Path, truth: DatasetTruth, workers: int, output: Output) -> PredictedMasks:
    """Pair predicted mask files with images of a data set.

    A file is named like the image (`bioseg predict DATA.h5` does so), or like the file the image came from; then it
    is cut as the image was cut.

    Args:
        folder: of predicted masks.
        truth: images of a data set.
        workers: files looked at at once.
        output: for the progress bar.

    Raises:
        DataError: predictions are missing (they are listed), or hold values that are no class.
    """
    by_name = files_by_name(mask_files(folder))
    sources = [truth.dataset.source(int(index)) for index in truth.indices]
    files_of_stem: dict[str, set[str]] = {}
    for source in sources:
        files_of_stem.setdefault(Path(source.file).stem, set()).add(source.file)
    found: list[Frame | None] = []
    for name, source in zip(truth.names, sources, strict=True):
        stem = Path(source.file).stem
        own = find_file(by_name, name)
        # Two sequences may both have a t001: such a name says nothing.
        path = find_file(by_name, stem) if own is None and len(files_of_stem[stem]) == 1 else own
        frames = [] if path is None else frames_of(path)
        if own is not None and len(frames) == 1:
            found.append(frames[0])
        else:
            found.append(frames[source.frame] if source.frame < len(frames) else None)
    complete = _complete(found, truth.names, folder)
    shape = truth.dataset.image_shape[1:]
    pairs = [
        Pair(frame, shape, Crop(*source.origin, *shape), source.shape)
        for frame, source in zip(complete, sources, strict=True)
    ]
    return _predicted(folder, pairs, None, truth.classes, workers, output)


def _complete(found: Sequence[FoundT | None], names: Sequence[str], folder: Path) -> list[FoundT]:
    missing = [name for name, one in zip(names, found, strict=True) if one is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} images have no prediction: {listing(missing)}",
            where=folder,
            fix="Predict them too, or give the truth of those that were predicted.",
        )
    return [one for one in found if one is not None]


def _predicted(
    folder: Path,
    pairs: Sequence[Pair],
    truth: FolderTruth | None,
    classes: Sequence[ClassInfo],
    workers: int,
    output: Output,
) -> PredictedMasks:
    """Look at all values once, decide what they mean, and say so."""

    def values_of(frame: Frame) -> tuple[bool, set[int]]:
        mask = read_mask(frame.path, frame.frame)
        return mask.ndim == 3, set(np.unique(mask).tolist())

    frames = list(dict.fromkeys(pair.frame for pair in pairs))
    with ThreadPoolExecutor(workers) as pool:
        looks = list(output.track(pool.map(values_of, frames), "Looking at the predicted masks", len(frames)))
    seen = MaskValues(
        folder=folder,
        coloured=any(coloured for coloured, _ in looks),
        values=frozenset().union(*(values for _, values in looks)),
        # `bioseg predict` writes class codes, whatever the values of the masks it was trained with.
        of_bioseg=(folder / PREDICTIONS_MANIFEST).is_file(),
    )
    if truth is not None and truth.recognised:
        _refuse_doubt(seen, truth)
    read, meaning = interpret(seen, None if truth is None else truth.reading, [one.name for one in classes])
    notes = [f"Predicted masks: {meaning}."]
    unused = len(mask_files(folder)) - len({frame.path for frame in frames})
    if unused:
        notes.append(f"{unused} predicted masks have no truth and were left out.")
    return PredictedMasks(pairs, read, notes)


@dataclass(frozen=True)
class MaskValues:
    """What the predicted masks of a folder hold, all together."""

    folder: Path
    coloured: bool
    values: frozenset[int]
    of_bioseg: bool


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


def _refuse_doubt(seen: MaskValues, truth: FolderTruth) -> None:
    # A guess about the truth that the predictions contradict would end in numbers that mean nothing.
    if len(truth.classes) > 2 >= len(seen.values) and not seen.coloured:
        raise DataError(
            f"The true masks look like {len(truth.classes)} classes, the predictions hold two values",
            where=truth.folder,
            fix=f"Say what the true masks are: --masks-are binary, or --masks-are {truth.reading.kind}.",
        )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
