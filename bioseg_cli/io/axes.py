"""Which axis of a stack is which: what its file says, else what the user says; never what happens to fit.

T are time points and Z planes, each of which is a frame; C are channels, Y rows, X columns. In the letters of a file,
S are the samples of a pixel (channels too), I the pages of a plain TIFF, and ? an axis that nothing in the file names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from bioseg_cli.errors import DataError

LETTERS = "TZCYX"
UNNAMED = "?"
PAGES = "I"
PLANAR = "YXS"
"""What is no frame axis and no channel axis by itself."""
THIN = 16
"""A frame with fewer pixels along one side than this, of a file with more frames than that, is an axis misread."""

NamedBy = Literal["file", "pages", "axes", "channels"]
"""What named the axes: the file; nothing, but a page is a frame; --axes; or the number of channels that must be."""


@dataclass(frozen=True)
class Stacks:
    """What a command was told about files that hold several images.

    Attributes:
        axes: a letter for each axis of the files that do not name theirs. With Z or T in it, planes and time points
            are frames.
        planes: take every plane of a volume as a frame.
        channels: that the images have to have, where this is known.
        level: of a pyramid, from 0, the full resolution.
    """

    axes: str | None = None
    planes: bool = False
    channels: int | None = None
    level: int = 0


@dataclass(frozen=True)
class NamedAxes:
    """A letter for each axis of a stack, and where the letters come from."""

    letters: str
    by: NamedBy

    @property
    def shown(self) -> str:
        """The letters as `--axes` takes them."""
        return self.letters.replace("S", "C")

    def stack(self, shape: Sequence[int]) -> dict[str, int]:
        """The size of each axis of frames in an array of this shape: those of T and Z, or all frames as T."""
        wide = [(self.letters[place], shape[place]) for place in frame_axes(self.letters) if shape[place] > 1]
        if "".join(letter for letter, _ in wide) in ("", "T", "Z", "TZ"):
            return dict(wide)
        return {"T": math.prod(size for _, size in wide)}


def frame_axes(letters: str) -> list[int]:
    """The places of the axes that count frames, in the order in which frames are numbered: the last one fastest.

    Planes come last, whatever the order of the file: an image and its mask may be stored in two orders, and ImageJ
    reads the pages of a mask in this one.
    """
    return sorted(
        (place for place, letter in enumerate(letters) if letter not in "CSYX"), key=lambda place: letters[place] == "Z"
    )


def name_axes(
    letters: str, shape: Sequence[int], stacks: Stacks | None, where: str | PathLike[str] | None = None
) -> NamedAxes:
    """Name every axis of a stack.

    Args:
        letters: of the file.
        shape: the size of each axis.
        stacks: what the user said; None: the command has no options for stacks, and none are advised.
        where: the file that errors name.

    Raises:
        DataError: nothing names an axis, --axes does not fit or contradicts the file, or it is a volume whose planes
            were not asked for.
    """
    told = stacks or Stacks()
    wide = {letter for letter, size in zip(letters, shape, strict=True) if size > 1 and letter not in PLANAR}
    if told.axes is not None and wide & {UNNAMED, PAGES}:
        found = _fitted(told.axes, letters, shape)
        if found is None:
            count = f"{len(shape)} axes ({_size(shape)})"
            fix = "Give a letter for each axis of the files that do not name theirs, or move this one away."
            raise DataError(f"--axes {told.axes} does not fit: the file has {count}", where=where, fix=fix)
        if _is_thin(found, shape):
            what = f"--axes {told.axes} makes images of {_frame_size(found, shape)} pixels of the file"
            fix = "Give the letters in the order of the file's axes, or save the file with named axes (OME, ImageJ)."
            raise DataError(what, where=where, fix=fix)
        return NamedAxes(found, "axes")
    if told.axes is not None and _contradict(told.axes, wide):
        what = f"The file names its axes {letters.replace('S', 'C')}, and --axes says {told.axes}"
        fix = "Leave out --axes, or correct the axes in the program that saved the file."
        raise DataError(what, where=where, fix=fix)
    if UNNAMED in wide or (PAGES in wide and _is_thin(letters, shape)):
        found = _by_channels(letters, shape, told.channels)
        if found is None:
            what = f"Nothing in the file says which axis of its {_size(shape)} pixels is which"
            alone = "Save it with named axes (OME, ImageJ), or each image as a file of its own."
            raise DataError(what, where=where, fix=alone if stacks is None else _choices(letters, shape))
        return NamedAxes(found, "channels")
    _refuse_volume(letters, shape, stacks, where)
    return NamedAxes(letters, "pages" if PAGES in wide else "file")


def count_of_frames(files: int, frames: int) -> str | None:
    """The sentence on how many frames some files hold, without a full stop; None where each holds one."""
    if files == frames:
        return None
    return f"{files} file{'s hold' if files > 1 else ' holds'} {frames} frames, each an image of its own"


def _refuse_volume(
    letters: str, shape: Sequence[int], stacks: Stacks | None, where: str | PathLike[str] | None
) -> None:
    frames = [(a, n) for a, n in zip(letters, shape, strict=True) if a not in "YXSC" and n > 1]
    if len(frames) < 2 and not any(axis == "Z" for axis, _ in frames):
        return
    if stacks is not None and (stacks.planes or "Z" in (stacks.axes or "")):
        return
    axes = " x ".join(f"{axis}={size}" for axis, size in frames)
    fix = "Save each plane as a file of its own."
    if stacks is not None:
        fix = "Give --planes to take every plane as an image of its own."
    raise DataError(f"The file is a volume ({axes}), not a 2-D image or a series of them", where=where, fix=fix)


def _fitted(given: str, letters: str, shape: Sequence[int]) -> str | None:
    """`given` laid over the axes of a file, which may lack the channels, and in it samples and axes of size 1."""
    every = range(len(shape))
    wide = [place for place in every if shape[place] > 1]
    for wanted in dict.fromkeys((given, given.replace("C", ""))):
        for places in (every, wide, *([p for p in some if letters[p] != "S"] for some in (every, wide))):
            if len(places) != len(wanted):
                continue
            found = ["S" if letter == "S" else PAGES for letter in letters]
            for place, letter in zip(places, wanted, strict=True):
                found[place] = letter
            if all(now == "C" or before != "S" or now == "S" for before, now in zip(letters, found, strict=True)):
                return "".join(found)
    return None


def _contradict(given: str, wide: set[str]) -> bool:
    """Whether a file that names its axes has frames where `given` has channels, or the other way round."""
    kinds = {letter == "C" for letter in wide}
    return bool(kinds) and kinds.isdisjoint(letter == "C" for letter in given if letter not in "YX")


def _is_thin(letters: str, shape: Sequence[int]) -> bool:
    side = min(shape[letters.index("Y")], shape[letters.index("X")])
    others = [size for letter, size in zip(letters, shape, strict=True) if letter not in PLANAR]
    return side < THIN < max(others, default=0)


def _by_channels(letters: str, shape: Sequence[int], channels: int | None) -> str | None:
    """The letters, if the number of channels leaves one way to name the axes; frames of one channel fit many."""
    fitting = [place for place, size in enumerate(shape) if size == channels]
    if len(shape) != 3 or len(fitting) != 1 or "S" in letters:
        return None
    found = {0: "CYX", 2: "YXC"}.get(fitting[0])
    return None if found is None or _is_thin(found, shape) else found


def _choices(letters: str, shape: Sequence[int]) -> str:
    """What `--axes` may be given as, with what each makes of the file, the likeliest first."""
    samples = "C" if "S" in letters else ""
    if len(shape) != 3 + len(samples):
        example = "TCYX" if len(shape) == 4 else "TZCYX"
        return (
            f"Give --axes, a letter for each: T (time), Z (plane), C (channel), Y (row), X (column), such as {example}."
        )
    frames = f"TYX{samples} or ZYX{samples} ({shape[0]} images)"
    if samples:
        return f"Give --axes {frames}."
    first, last = f"CYX ({shape[0]} channels)", f"YXC ({shape[2]} channels)"
    order = (last, first, frames) if shape[2] < shape[0] else (first, frames, last)
    return f"Give --axes {order[0]}, {order[1]}, or {order[2]}."


def _frame_size(letters: str, shape: Sequence[int]) -> str:
    return _size([shape[letters.index("Y")], shape[letters.index("X")]])


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
