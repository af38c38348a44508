"""Masks that any tool predicted, paired with the truth they are scored against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.crops import Crop
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folder_ground_truth import FolderGroundTruth
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth
from bioseg_cli.evaluation.predicted_values import Read, holds_numbers, interpret, look_at, refuse_doubt
from bioseg_cli.io.axes import count_of_frames
from bioseg_cli.io.names import as_seen, stem_of, stem_within
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.masks.folders import mask_files, predictions_of
from bioseg_cli.masks.frames import Frame, MaskReader, frames_of
from bioseg_cli.masks.pairing import pair_in_subfolders
from bioseg_cli.objects.instances import Objects
from bioseg_cli.objects.labelled import connected_objects, numbered_objects
from bioseg_cli.prediction.settings import BESIDE_MASKS, records_in
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

FoundT = TypeVar("FoundT")


@dataclass(frozen=True)
class PredictedFolder:
    """A folder of predicted masks.

    Attributes:
        path: of the folder.
        files: the masks, those in subfolders among them if they are asked for.
        recursive: whether they are.
    """

    path: Path
    files: tuple[Path, ...]
    recursive: bool

    @classmethod
    def of(cls, path: Path, *, recursive: bool, without: Path | None) -> PredictedFolder:
        """The masks of a folder but for those in a subfolder of it, and for what `bioseg predict` writes beside masks.

        Raises:
            DataError: no such folder, or no masks in it.
        """
        files = mask_files(path, recursive=recursive, without=without)
        if recursive and records_in(path):
            files = [file for file in files if file.relative_to(path).parts[0] not in BESIDE_MASKS]
        return cls(path, tuple(files), recursive)


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
        numbered: the masks have one number per object, and not per class.
    """

    def __init__(
        self, pairs: Sequence[Pair], reader: MaskReader, read: Read, notes: Sequence[str], *, numbered: bool
    ) -> None:
        self.pairs = tuple(pairs)
        self.notes = tuple(notes)
        self.numbered = numbered
        self._reader = reader
        self._read = read

    def __call__(self, number: int) -> Pixels:
        """Class codes (H, W) predicted for image `number`.

        Raises:
            DataError: the prediction has another size than its truth.
        """
        pair = self.pairs[number]
        return _as_large_as_truth(self._read(self._reader.read(pair.frame), pair.frame.traits), pair)

    def objects(self, number: int, classes: int) -> Objects:
        """The objects of image `number`, of so many classes: as the mask numbers them, or its connected components.

        Raises:
            DataError: the prediction has another size than its truth.
        """
        if not self.numbered:
            return connected_objects(self(number), classes)
        pair = self.pairs[number]
        return numbered_objects(_as_large_as_truth(self._reader.read(pair.frame), pair))


def _as_large_as_truth(values: Pixels, pair: Pair) -> Pixels:
    """Values (H, W) of a predicted mask, cut as the image was cut."""
    if values.shape == pair.shape:
        return values
    if pair.crop is not None and values.shape == pair.source_shape:
        return pair.crop.cut(values, 0)
    sizes = dict.fromkeys(size for size in (pair.shape, pair.source_shape) if size is not None)
    raise DataError(
        f"The prediction is {_size(values.shape)} pixels, its truth {' or '.join(map(_size, sizes))}",
        where=pair.frame.path,
        fix="Predict at the image's own size.",
    )


def masks_for_folder(
    folder: PredictedFolder, truth: FolderGroundTruth, reader: MaskReader, output: Output
) -> PredictedMasks:
    """Pair predicted with true mask files by name.

    Args:
        folder: of predicted masks, named like the true ones (an ending such as `_mask` may differ), in the same
            subfolders.
        truth: the true masks.
        reader: reads them.
        output: for the progress bar.

    Raises:
        DataError: predictions are missing (they are listed), hold another number of frames, or values that are no
            class.
    """
    pairing = predictions_of([frame.path for frame in truth.frames], truth.folder, folder.files, folder.path)
    paths = _complete([pairing.found.get(frame.path) for frame in truth.frames], truth.names, folder.path)
    pairs = []
    for frame, path in zip(truth.frames, paths, strict=True):
        frames = frames_of(path, reader.stacks)
        if len(frames) != frame.of:
            raise DataError(
                f"The prediction holds {len(frames)} masks, the truth {frame.path.name} {frame.of}",
                where=path,
                fix="Predict every frame.",
            )
        pairs.append(Pair(frames[frame.frame], frame.shape))
    said = pairing.remarks(lambda mask: mask.name, lambda prediction: prediction.name)
    return _predicted(folder, pairs, truth, truth.classes, reader, output, said)


def masks_for_dataset(
    folder: PredictedFolder, truth: DatasetGroundTruth, reader: MaskReader, output: Output
) -> PredictedMasks:
    """Pair predicted mask files with images of a data set.

    A file is named like the image (`bioseg predict DATA.h5` does so), or like the file the image came from, with its
    subfolder where masks in subfolders are asked for; then it is cut as the image was cut.

    Args:
        folder: of predicted masks.
        truth: images of a data set.
        reader: reads them.
        output: for the progress bar.

    Raises:
        DataError: predictions are missing (they are listed), or hold values that are no class.
    """
    dataset = truth.dataset
    sources = [dataset.source(int(index)) for index in truth.indices]
    # All images take part, whatever is scored: each finds the prediction that is named like it and like no other.
    names = [dataset.name(index) for index in range(dataset.size)]
    files = list(dict.fromkeys(dataset.source(index).file for index in range(dataset.size)))
    stems = {file: PurePosixPath(file).with_name(stem_of(Path(file))) for file in files}
    if not folder.recursive:
        stems = {file: PurePosixPath(stem.name) for file, stem in stems.items()}
    # Two sequences may both have a t001: such a name says nothing.
    shared = Counter(as_seen(str(stem)) for stem in stems.values())
    own, said = _predictions(folder, {name: PurePosixPath(name) for name in names}, set(truth.names))
    telling = {file: stem for file, stem in stems.items() if shared[as_seen(str(stem))] == 1}
    whole, also_said = _predictions(folder, telling, {source.file for source in sources})
    found: list[Frame | None] = []
    for name, source in zip(truth.names, sources, strict=True):
        path = own.get(name, whole.get(source.file))
        frames = [] if path is None else frames_of(path, reader.stacks)
        if name in own and len(frames) == 1:
            found.append(frames[0])
        else:
            found.append(frames[source.frame] if source.frame < len(frames) else None)
    complete = _complete(found, truth.names, folder.path)
    shape = dataset.image_shape[1:]
    pairs = [
        Pair(frame, shape, Crop(*source.origin, *shape), source.shape)
        for frame, source in zip(complete, sources, strict=True)
    ]
    return _predicted(folder, pairs, None, truth.classes, reader, output, dict.fromkeys([*said, *also_said]))


def _predictions(
    folder: PredictedFolder, images: dict[str, PurePosixPath], wanted: set[str]
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The predictions of images in a folder, by the key of the image, and what a reader must know of their names.

    Args:
        folder: of predictions.
        images: their names, with the subfolder that their predictions are in, by a key.
        wanted: keys of those that matter; of the others, names that could go together in several ways are none's.

    Raises:
        DataError: several predictions are named like one wanted image, or one like several.
    """
    files = {path: PurePosixPath(stem_within(path, folder.path)) for path in folder.files}
    pairing = pair_in_subfolders(files, images, images=True)
    for doubt in pairing.doubts:
        if wanted.intersection(doubt.offered):
            alike, names = sorted(path.name for path in doubt.wanted), sorted(images[key].name for key in doubt.offered)
            raise DataError(
                f"{listing(alike)} {'is' if len(alike) == 1 else 'are all'} named like {' and '.join(names)}",
                where=folder.path,
                fix="Name each prediction like its image, and keep one of each.",
            )
    found = {image: path for path, image in pairing.found.items()}
    return found, pairing.remarks(lambda prediction: prediction.name, lambda image: images[image].name)


def _complete(found: Sequence[FoundT | None], names: Sequence[str], folder: Path) -> list[FoundT]:
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} images have no prediction: {listing(missing)}",
            where=folder,
            fix="Predict them too, or give the truth of those that were predicted.",
        )
    return [path for path in found if path is not None]


def _predicted(
    folder: PredictedFolder,
    pairs: Sequence[Pair],
    truth: FolderGroundTruth | None,
    classes: Sequence[ClassInfo],
    reader: MaskReader,
    output: Output,
    said: Iterable[str],
) -> PredictedMasks:
    """Decide what the values of all masks mean, and say so."""
    frames = list(dict.fromkeys(pair.frame for pair in pairs))
    seen = look_at(folder.path, frames, reader, output)
    if truth is not None and truth.recognised:
        refuse_doubt(seen, truth)
    names = [class_info.name for class_info in classes]
    read, meaning = interpret(seen, None if truth is None else truth.reading, names)
    read_as = reading_notes({frame.path.name: frame.notes for frame in frames}, "predicted masks")
    notes = [f"Predicted masks: {meaning}.", *said, *read_as]
    if sentence := count_of_frames(len({frame.path for frame in frames}), len(frames)):
        notes.append(f"Predicted masks: {sentence}.")
    unused = len(folder.files) - len({frame.path for frame in frames})
    if unused:
        notes.append(f"{unused} predicted masks have no truth and were left out.")
    return PredictedMasks(pairs, reader, read, notes, numbered=holds_numbers(seen, names))


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
