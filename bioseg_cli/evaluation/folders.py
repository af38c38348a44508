"""A folder of mask files as the truth, and how the files of two folders find each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import IGNORE_BY_DTYPE
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.frames import Frame, MaskReader, frames_of
from bioseg_cli.evaluation.truth import Window
from bioseg_cli.io.folders import list_images
from bioseg_cli.io.images import read_frame
from bioseg_cli.io.names import Pairing, pair, stem_of
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.io.prefetch import WORKERS, made_ahead
from bioseg_cli.prepare.declared import Declared
from bioseg_cli.prepare.mask_reading import MaskReading
from bioseg_cli.prepare.masks import MaskSurvey
from bioseg_cli.prepare.recipe import label_dtype, listing
from bioseg_cli.prepare.settings import MaskKind
from bioseg_cli.runs.console import Output


class FolderTruth:
    """Masks of a folder as a `truth.Truth`: read by what their values mean, all of them together.

    Args:
        folder: of mask files; a page of a multi-page TIFF is a mask of its own.
        masks_are: what their values mean; None = recognise it.
        names: of the classes, the background first; none = made up.
        images: folder of the images, named like the masks; None = there are none.
        reader: reads the masks.
        output: for the progress bar.
        unlabelled: value of the pixels that nobody drew, or that there are none; None: not said.

    Raises:
        DataError: no masks, masks that cannot be read or fit no reading, a mask without an image.
        UsageError: another number of names than of classes.
    """

    def __init__(
        self,
        folder: Path,
        masks_are: MaskKind | None,
        names: Sequence[str],
        images: Path | None,
        reader: MaskReader,
        output: Output,
        unlabelled: str | None = None,
    ) -> None:
        self.folder = folder
        self._reader = reader
        files = mask_files(folder)
        declared = Declared.of(files, masks_are, names, unlabelled)
        reader.labkit = declared.labkit
        found = look_at_files(files, reader, output, "Looking at the true masks")
        self.frames = tuple(frame for frame, _ in found)
        self.notes = reading_notes({frame.path.name: frame.notes for frame in self.frames}, "true masks")
        self.recognised = masks_are is None
        survey = survey_values(found)
        if survey.several and masks_are != "instances":
            # How the pixels of a value lie tells classes, numbered objects and smoothed edges from each other.
            survey = survey_masks(self.frames, reader, output, regions=declared.needs_regions)
        try:
            self.reading: MaskReading = declared.reading(survey)
        except DataError as error:
            raise DataError(error.what, where=error.where or folder, fix=error.fix) from None
        self.classes = self.reading.classes
        self.ignore = IGNORE_BY_DTYPE[label_dtype(len(self.classes))]
        self.names = tuple(one.path.stem if one.of == 1 else f"{one.path.stem}_f{one.frame:03d}" for one in self.frames)
        # A file is the largest unit that is known to belong together.
        self.groups = tuple(one.path.stem for one in self.frames)
        undrawn = self.reading.undrawn is not None
        self.drawn_in = sum(math.prod(one.shape) for one in self.frames) if undrawn else None
        self._images = None if images is None else images_of([one.path for one in self.frames], images)

    def labels(self, number: int) -> Pixels:
        """(H, W) class codes or `ignore`."""
        frame = self.frames[number]
        return self.reading.labels(self._reader.read(frame), frame.traits)

    def image(self, number: int) -> NDArray[np.float32] | None:
        """(C, H, W) stretched to [0, 1]; None where no folder of images was given."""
        if self._images is None:
            return None
        one = self.frames[number]
        pixels = read_frame(self._images[one.path], one.frame, self._reader.stacks).astype(np.float32)
        if pixels.shape[1:] != one.shape:
            raise DataError(
                "The image and its true mask have different sizes",
                where=self._images[one.path],
                fix="Give the images the masks were made from.",
            )
        low, high = pixels.min(), pixels.max()
        stretched: NDArray[np.float32] = (pixels - low) / ((high - low) or np.float32(1))
        return stretched

    def extent(self, number: int) -> Window:
        """The whole mask: files are not padded."""
        return slice(None), slice(None)


def mask_files(folder: Path) -> list[Path]:
    """The mask files of a folder.

    Raises:
        DataError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise DataError("There is no such folder", where=folder, fix="Check the path.")
    return list_images([folder])


def look_at_files(
    files: Sequence[Path], reader: MaskReader, output: Output, description: str
) -> list[tuple[Frame, Pixels]]:
    """Every frame of the files with the values it holds, see `MaskReader.look`.

    Raises:
        DataError: a file that cannot be read, or is no mask; the first one.
    """

    def look(path: Path) -> list[tuple[Frame, Pixels]]:
        return [(frame, reader.look(frame)) for frame in frames_of(path, reader.stacks)]

    with made_ahead(look, files, most=4 * WORKERS) as looks:
        return [one for some in output.track(looks, description, len(files)) for one in some]


def survey_values(looks: Iterable[tuple[Frame, Pixels]]) -> MaskSurvey:
    """A survey of what `look_at_files` found: of values alone, each kind of file once."""
    survey = MaskSurvey()
    different: dict[tuple[object, ...], tuple[Frame, Pixels]] = {}
    for frame, values in looks:
        different.setdefault((frame.traits, values.dtype, values.shape, values.tobytes()), (frame, values))
    for frame, values in different.values():
        survey.add(values, where=frame.path, traits=frame.traits, regions=False)
    return survey


def survey_masks(frames: Sequence[Frame], reader: MaskReader, output: Output, *, regions: bool) -> MaskSurvey:
    """A survey of whole masks, with the connected regions of every value or without."""
    survey = MaskSurvey()
    with made_ahead(reader.read, frames, most=WORKERS) as masks:
        pairs = zip(frames, masks, strict=True)
        for frame, mask in output.track(pairs, "Looking for objects", len(frames)):
            survey.add(mask, where=frame.path, traits=frame.traits, regions=regions)
    return survey


def images_of(masks: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """Find the image of each mask in a folder, by name.

    Raises:
        DataError: a mask has no image, or names that could go together in several ways.
    """
    wanted = {mask: stem_of(mask) for mask in masks}
    pairing = pair(wanted, {path: stem_of(path) for path in mask_files(folder)}, images=True)
    refuse_doubts(pairing, folder)
    missing = [mask.name for mask in wanted if mask not in pairing.found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} masks have no file named like them: {listing(missing)}",
            where=folder,
            fix="Name the files alike; an ending such as .png or _mask may differ.",
        )
    return pairing.found


def predictions_of(masks: Iterable[Path], folder: Path) -> Pairing[Path, Path]:
    """Find the prediction of each true mask in a folder, by name; not every mask needs to have one.

    Raises:
        DataError: names that could go together in several ways.
    """
    files = {path: stem_of(path) for path in mask_files(folder)}
    pairing = pair({mask: stem_of(mask) for mask in masks}, files, images=False)
    refuse_doubts(pairing, folder)
    return pairing


def refuse_doubts(pairing: Pairing[Path, Path], folder: Path) -> None:
    """Raise `DataError` where names could go together in several ways: `a` with `a_mask`, and with `a_seg`."""
    for doubt in pairing.doubts:
        wanted, offered = (sorted(path.name for path in paths) for paths in (doubt.wanted, doubt.offered))
        if len(offered) > 1:
            raise DataError(
                f"{listing(offered)} are all named like {doubt.wanted[0].stem}",
                where=folder,
                fix="Keep one of them in the folder.",
            )
        raise DataError(
            f"{listing(wanted)} are all named like {offered[0]}",
            where=doubt.wanted[0].parent,
            fix="Keep one of them in the folder.",
        )
