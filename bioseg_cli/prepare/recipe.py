"""The seam between a data set's files and everything after: what a recipe returns.

The `collect` of a recipe's settings makes a `Collection`. It finds the files, decides what their masks mean, and
hands back light records; pixels are read when `session` asks for them, a few images at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import Drawn, Pixels, label_dtype
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.axes import Stacks, count_of_frames
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.io.images import inspect_image, read_frame, sha256_of_image
from bioseg_cli.io.pixel_size import PixelSize, unusable_sizes
from bioseg_cli.prepare.rejected import Rejected, RejectedFile
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output


class Loaded(NamedTuple):
    """An image with its mask.

    Attributes:
        pixels: (C, H, W).
        drawn: what the mask says; None where no mask exists.
    """

    pixels: Pixels
    drawn: Drawn | None


@dataclass(frozen=True)
class SourceImage:
    """One frame of a file, or one generated image.

    Attributes:
        file: name of the file, as it is recorded.
        frame: page of that file.
        shape: height and width in pixels.
        group: what must not straddle splits.
        labelled: whether a mask exists.
        load: reads the pixels and the mask. Called in threads, of several images at once.
        file_hash: SHA-256 of the file; called when the image is stored. None: there is no file.
        official: the split the data set's authors, or the layout of its files, give it.
        plane: (3, 4) matrix of where the frame lies in a volume, as in `dataset.schema.PlaneMatrix`. None: in none.
    """

    file: str
    frame: int
    shape: tuple[int, int]
    group: str
    labelled: bool
    load: Callable[[], Loaded]
    file_hash: Callable[[], str] | None = None
    official: SplitName | None = None
    plane: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Collection:
    """All that a recipe found: at least one image.

    Attributes:
        images: in the order they will be stored.
        classes: what the labels mean, by code.
        channels, dtype: of every image.
        keep_groups: whether a group stays on one side of the split, where the images have no official split.
        masks_read_as: one line on how masks became classes.
        pixel_size: of the images, where it is known and one.
        notes: what else the user should know.
        numbers_objects: each mask numbers its objects.
        drawn_in_part: masks have pixels that nobody drew, unlike those that are ignored for a reason.
        left_out: files that cannot be used, and that the user wants left out.
        discard: removes the recipe's scratch files; called when the data set is written or cannot be.
    """

    images: tuple[SourceImage, ...]
    classes: tuple[ClassInfo, ...]
    channels: int
    dtype: np.dtype[np.generic]
    keep_groups: bool
    masks_read_as: str
    pixel_size: PixelSize | None = None
    notes: tuple[str, ...] = field(default=())
    numbers_objects: bool = False
    drawn_in_part: bool = False
    left_out: tuple[RejectedFile, ...] = ()
    discard: Callable[[], None] | None = None

    @property
    def label_dtype(self) -> str:
        """The smallest label type with room for the classes and the ignore label."""
        return label_dtype(len(self.classes))


def inspect_images(paths: Sequence[Path], output: Output, stacks: Stacks | None = None) -> list[ImageInfo]:
    """Read every header and refuse a mixture of channel counts or types.

    Raises:
        DataError: files that cannot be read or are unlike most of the others in channels or type; all of them are
            named.
    """
    rejected = Rejected()
    infos = read_headers(paths, paths[0].parent, output, stacks, rejected)
    reject_odd_layouts(infos, paths[0].parent, rejected)
    rejected.refuse(len(paths))
    return infos


def read_headers(
    paths: Sequence[Path], folder: Path, output: Output, stacks: Stacks | None, rejected: Rejected
) -> list[ImageInfo]:
    """The headers of the image files of a folder that can be read; the other files are rejected."""
    infos: list[ImageInfo] = []
    for path in output.track(paths, "Reading headers", len(paths)):
        with rejected.collecting(path, folder, "image"):
            try:
                infos.append(inspect_image(path, stacks))
            except UsageError as error:  # what reads it is not installed
                raise DataError(error.what, where=path, fix=error.fix) from None
    return infos


def reject_odd_layouts(
    infos: Sequence[ImageInfo],
    folder: Path,
    rejected: Rejected,
    *,
    channels: Callable[[ImageInfo], int] = lambda info: info.channels,
) -> None:
    """Reject images whose channel count or type is not that of most of the images.

    Args:
        infos: of the images of a folder.
        folder: that they are in.
        rejected: what the odd images are added to.
        channels: how many channels of an image count.
    """
    layouts: dict[str, list[ImageInfo]] = {}
    for info in infos:
        count = channels(info)
        layouts.setdefault(f"{count} channel{'s' if count > 1 else ''} of {info.dtype}", []).append(info)
    reject_minority(layouts, folder, rejected)


def reject_minority(kinds: Mapping[str, Sequence[ImageInfo]], folder: Path, rejected: Rejected) -> None:
    """Reject the images that are unlike most of the others.

    Args:
        kinds: the images of a folder by what they have, such as `1 channel of uint8`.
        folder: that they are in.
        rejected: what the odd images are added to; a question where no kind is the most common.
    """
    ordered = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    total = sum(map(len, kinds.values()))
    if len(ordered) < 2:
        return
    (common, most), (_, second), *_ = ordered
    if len(most) == len(second):
        having = [f"{listing([info.path.name for info in alike], 3)} {_have(alike)} {has}" for has, alike in ordered]
        question = DataError(
            f"No kind of image is the most common: {listing(having)}",
            where=folder,
            fix="All images of a data set share one channel count and type: move those of one kind away.",
        )
        rejected.ask(folder, "image", question)
        return
    for has, alike in ordered[1:]:
        for info in alike:
            rejected.add(
                info.path,
                folder,
                "image",
                f"The image has {has}, {len(most)} of {total} images have {common}",
                "Export it again as the other images were exported, or move it away.",
            )


def _have(things: Sequence[object]) -> str:
    return "has" if len(things) == 1 else "have"


def common_pixel_size(infos: Sequence[ImageInfo]) -> tuple[PixelSize | None, list[str]]:
    """The pixel size of all files that state one, None where they differ or none does; and what is to be said of it."""
    notes = unusable_sizes([(info.path.name, info.no_size) for info in infos])
    kinds: list[tuple[PixelSize, list[str]]] = []
    for info in infos:
        if info.pixel_size is not None:
            names = next((names for size, names in kinds if not info.pixel_size.differs(size)), None)
            if names is None:
                kinds.append((info.pixel_size, [info.path.name]))
            else:
                names.append(info.path.name)
    silent = [info.path.name for info in infos if info.pixel_size is None]
    if len(kinds) > 1:
        # The rare sizes are those that somebody has to look at.
        kinds.sort(key=lambda kind: -len(kind[1]))
        found = [f"{len(names)} of {len(infos)} {_have(names)} {size} ({listing(names, 3)})" for size, names in kinds]
        notes.append(f"the images differ in pixel size, so none is recorded: {listing(found)}")
    if silent and kinds:
        then = f"; that of the others, {kinds[0][0]}, is recorded for all" if len(kinds) == 1 else ""
        notes.append(f"{len(silent)} of {len(infos)} files give no pixel size ({listing(silent, 3)}){then}")
    return (kinds[0][0] if len(kinds) == 1 else None), notes


def stack_notes(infos: Sequence[ImageInfo]) -> list[str]:
    """How many frames the files hold, where that is another number."""
    sentence = count_of_frames(len(infos), sum(info.frames for info in infos))
    return [] if sentence is None else [f"{sentence}; the frames of a file are in one group"]


def file_frames(
    info: ImageInfo,
    *,
    file: str,
    group: str,
    mask: Callable[[int], Drawn] | None,
    unlabelled: Container[int] = (),
    official: SplitName | None = None,
    stacks: Stacks | None = None,
    channels: Sequence[int] | None = None,
) -> list[SourceImage]:
    """The records of all frames of a file on disk; `mask` reads that of a frame which has one.

    `channels` are the numbers, from 0, of those to take; None: all. Their `load` raises `DataError` where the mask has
    another shape than the image.
    """
    file_hash = cache(partial(sha256_of_image, info.path, 0 if stacks is None else stacks.level))

    def load(frame: int) -> Loaded:
        pixels = read_frame(info.path, frame, stacks)
        if channels is not None:
            pixels = pixels[list(channels)]
        drawn = None if mask is None or frame in unlabelled else mask(frame)
        if drawn is not None and drawn.labels.shape != pixels.shape[1:]:
            raise DataError(
                f"The mask of {file} is {_size(drawn.labels.shape)} pixels, the image {_size(pixels.shape[1:])}",
                where=info.path,
                fix="Export the mask at the image's own size.",
            )
        return Loaded(pixels, drawn)

    return [
        SourceImage(
            file=file,
            frame=frame,
            shape=(info.height, info.width),
            group=group,
            labelled=mask is not None and frame not in unlabelled,
            load=partial(load, frame),
            file_hash=file_hash,
            official=official,
        )
        for frame in range(info.frames)
    ]


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
