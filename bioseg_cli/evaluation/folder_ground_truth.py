"""A folder of mask files as the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import IGNORE_BY_DTYPE, MaskKind
from bioseg_cli.dataset.schema import Pixels, label_dtype
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.ground_truth import CONNECTED, NUMBERED, Window
from bioseg_cli.io.images import read_frame
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.masks.declared import Declared
from bioseg_cli.masks.folders import images_of, mask_files
from bioseg_cli.masks.frames import MaskReader, look_at_files, survey_masks, survey_values
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.objects.instances import Objects
from bioseg_cli.objects.labelled import connected_objects
from bioseg_cli.runs.output import Output


class FolderGroundTruth:
    """Masks of a folder as a `ground_truth.GroundTruth`: read by what their values mean, all of them together.

    Args:
        folder: of mask files; a page of a multi-page TIFF is a mask of its own.
        masks_are: what their values mean; None = recognise it.
        names: of the classes, the background first; none = made up.
        images: folder of the images, named like the masks; None = there are none.
        reader: reads the masks.
        output: for the progress bar.
        unlabelled: value of the pixels that nobody drew, or that there are none; None: not said.
        recursive: also take the masks in subfolders. Their images are in the same subfolders.
        without: a subfolder that holds other masks.

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
        *,
        recursive: bool = False,
        without: Path | None = None,
    ) -> None:
        self.folder = folder
        self._reader = reader
        files = mask_files(folder, recursive=recursive, without=without)
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
        # A file is the largest unit that is known to belong together.
        self.groups = tuple(frame.path.relative_to(folder).with_suffix("").as_posix() for frame in self.frames)
        self.names = tuple(
            file if frame.of == 1 else f"{file}_f{frame.frame:03d}"
            for frame, file in zip(self.frames, self.groups, strict=True)
        )
        undrawn = self.reading.undrawn is not None
        self.drawn_in = sum(math.prod(frame.shape) for frame in self.frames) if undrawn else None
        self.objects_are = NUMBERED if self.reading.numbers_objects else CONNECTED
        self._images = None
        if images is not None:
            self._images = images_of([frame.path for frame in self.frames], folder, images, recursive=recursive)

    def labels(self, number: int) -> Pixels:
        """(H, W) class codes or `ignore`."""
        frame = self.frames[number]
        return self.reading.labels(self._reader.read(frame), frame.traits)

    def objects(self, number: int) -> Objects:
        """The true objects: those that the masks number, or the connected components of each class."""
        if self.reading.numbers_objects:
            return self.reading.objects(self._reader.read(self.frames[number]))
        return connected_objects(self.labels(number), len(self.classes))

    def image(self, number: int) -> NDArray[np.float32] | None:
        """(C, H, W) stretched to [0, 1]; None where no folder of images was given."""
        if self._images is None:
            return None
        frame = self.frames[number]
        pixels = read_frame(self._images[frame.path], frame.frame, self._reader.stacks).astype(np.float32)
        if pixels.shape[1:] != frame.shape:
            raise DataError(
                "The image and its true mask have different sizes",
                where=self._images[frame.path],
                fix="Give the images the masks were made from.",
            )
        low, high = pixels.min(), pixels.max()
        stretched: NDArray[np.float32] = (pixels - low) / ((high - low) or np.float32(1))
        return stretched

    def extent(self, number: int) -> Window:
        """The whole mask: files are not padded."""
        return slice(None), slice(None)
