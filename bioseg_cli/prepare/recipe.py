"""The seam between a data set's files and everything after: what a recipe returns.

The `collect` of a recipe's settings makes a `Collection`. It finds the files, decides what their masks mean, and
hands back light records; pixels are read when `session` asks for them, a few images at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import Pixels, label_dtype
from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks, count_of_frames
from bioseg_cli.io.files import sha256_of
from bioseg_cli.io.images import ImageInfo, inspect_image, read_frame
from bioseg_cli.io.pixel_size import PixelSize, unusable_sizes
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

Loaded = tuple[Pixels, Pixels | None]
"""Pixels (C, H, W), and labels (H, W) of class codes or the ignore label; None where no mask exists."""


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
        drawn_in_part: masks have pixels that nobody drew, unlike those that are ignored for a reason.
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
    drawn_in_part: bool = False
    discard: Callable[[], None] | None = None

    @property
    def label_dtype(self) -> str:
        """The smallest label type with room for the classes and the ignore label."""
        return label_dtype(len(self.classes))


def inspect_images(paths: Sequence[Path], output: Output, stacks: Stacks | None = None) -> list[ImageInfo]:
    """Read every header and refuse a mixture of channel counts or types.

    Raises:
        DataError: files that cannot be read, all of them are named; or one differs from the first in channels or type.
    """
    infos: list[ImageInfo] = []
    unreadable: list[DataError] = []
    for path in output.track(paths, "Reading headers", len(paths)):
        try:
            info = inspect_image(path, stacks)
        except DataError as error:
            unreadable.append(error)
            continue
        first = infos[0] if infos else info
        if (info.channels, info.dtype) != (first.channels, first.dtype):
            raise DataError(
                f"The image has {_layout(info)}, {first.path.name} has {_layout(first)}",
                where=path,
                fix="All images of a data set share one channel count and type: convert them, or move these away.",
            )
        infos.append(info)
    refuse_unreadable(unreadable, len(paths))
    return infos


def common_pixel_size(infos: Sequence[ImageInfo]) -> tuple[PixelSize | None, list[str]]:
    """The pixel size of all files that state one, None where they differ or none does; and what is to be said of it."""
    stated = [info for info in infos if info.pixel_size is not None]
    notes = unusable_sizes([(info.path.name, info.no_size) for info in infos])
    if not stated:
        return None, notes
    first, *others = (info.pixel_size for info in stated)
    assert first is not None
    different = [
        info for info, size in zip(stated[1:], others, strict=True) if size is not None and size.differs(first)
    ]
    if different:
        one, other = stated[0], different[0]
        notes.append(
            f"the images differ in pixel size, so none is recorded: {one.path.name} has {one.pixel_size}, "
            f"{other.path.name} {other.pixel_size}"
        )
        return None, notes
    silent = [info.path.name for info in infos if info.pixel_size is None]
    if silent:
        notes.append(
            f"{len(silent)} of {len(infos)} files give no pixel size ({listing(silent, 3)}); that of the others, "
            f"{first}, is recorded for all"
        )
    return first, notes


def stack_notes(infos: Sequence[ImageInfo]) -> list[str]:
    """How many frames the files hold, where that is another number."""
    sentence = count_of_frames(len(infos), sum(info.frames for info in infos))
    return [] if sentence is None else [f"{sentence}; the frames of a file are in one group"]


def refuse_unreadable(errors: Sequence[DataError], total: int) -> None:
    """Raise for files that cannot be read: the one error, or one that says of each file what is wrong with it."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        names_by_reason: dict[str, list[str]] = {}
        for error in errors:
            names_by_reason.setdefault(error.what, []).append(Path(str(error.where)).name)
        reasons = [f"{listing(names)} ({reason})" for reason, names in names_by_reason.items()]
        fixes = dict.fromkeys(error.fix for error in errors)
        raise DataError(
            f"{len(errors)} of {total} files cannot be used: {listing(reasons, most=20)}",
            where=Path(str(errors[0].where)).parent,
            fix=fixes.popitem()[0] if len(fixes) == 1 else "Repair these files, or move them away.",
        )


def file_frames(
    info: ImageInfo,
    *,
    file: str,
    group: str,
    labels: Callable[[int], Pixels] | None,
    unlabelled: Container[int] = (),
    official: SplitName | None = None,
    stacks: Stacks | None = None,
) -> list[SourceImage]:
    """The records of all frames of a file on disk; `labels` reads the class codes (H, W) of a frame that has a mask.

    Their `load` raises `DataError` where the mask has another shape than the image.
    """
    file_hash = cache(partial(sha256_of, info.path))

    def load(frame: int) -> Loaded:
        pixels = read_frame(info.path, frame, stacks)
        codes = None if labels is None or frame in unlabelled else labels(frame)
        if codes is not None and codes.shape != pixels.shape[1:]:
            raise DataError(
                f"The mask of {file} is {_size(codes.shape)} pixels, the image {_size(pixels.shape[1:])}",
                where=info.path,
                fix="Export the mask at the image's own size.",
            )
        return pixels, codes

    return [
        SourceImage(
            file=file,
            frame=frame,
            shape=(info.height, info.width),
            group=group,
            labelled=labels is not None and frame not in unlabelled,
            load=partial(load, frame),
            file_hash=file_hash,
            official=official,
        )
        for frame in range(info.frames)
    ]


def _layout(info: ImageInfo) -> str:
    return f"{info.channels} channel{'s' if info.channels > 1 else ''} of {info.dtype}"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
