"""Mask files frame by frame: which values each holds, and its pixels, decoded once where memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import inspect_image
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.masks.labkit import LabkitLabels
from bioseg_cli.masks.mask_file import NO_TRAITS, MaskTraits, mask_traits, read_mask
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.runs.output import Output

KEPT_BYTES = 1 << 28
"""Masks that are kept between looking at them and scoring them; what does not fit is decoded again."""
FEW_VALUES = 8
"""Up to so many values are found one after the other, which takes two passes each."""
COLOUR_SHIFTS = (32, 16, 0)
"""Bits that red, green and blue are moved by to stand side by side in one integer."""


@dataclass(frozen=True)
class Frame:
    """One frame of a file.

    Attributes:
        path: of the file.
        frame: its number in the file.
        of: frames that the file has.
        shape: height and width in pixels.
        notes: what reading does to its pixels.
        traits: what the file says of its values.
    """

    path: Path
    frame: int
    of: int
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()
    traits: MaskTraits = NO_TRAITS


def frames_of(path: Path, stacks: Stacks | None = None) -> list[Frame]:
    """The frames of a file; `stacks` is what the user said of stacks."""
    info = inspect_image(path, stacks)
    shape, traits = (info.height, info.width), mask_traits(path)
    return [Frame(path, number, info.frames, shape, info.notes, traits) for number in range(info.frames)]


class MaskReader:
    """Reads masks, from any thread, and keeps those it has looked at as long as there is room.

    Args:
        room: bytes that may be kept. A mask of two values takes a bit a pixel.
        stacks: what is said of files that hold several images.

    Attributes:
        labkit: the labels of masks that LabKit saved, which brings them to one numbering.
    """

    def __init__(self, room: int = KEPT_BYTES, stacks: Stacks = Stacks()) -> None:  # noqa: B008 - it can't change
        self.stacks = stacks
        self.labkit: LabkitLabels | None = None
        self._room = room
        self._kept: dict[Frame, Callable[[], Pixels]] = {}
        self._lock = Lock()

    def look(self, frame: Frame) -> Pixels:
        """Each value (1, n), or colour (1, n, 3), that a mask holds, once: a mask of the same values, and of its type.

        Raises:
            DataError: the file cannot be read, or is no mask.
        """
        mask = self._decoded(frame)
        values = _distinct_colours(mask) if mask.ndim == 3 else distinct_values(mask)
        self._keep(frame, mask, values)
        return values[None]

    def read(self, frame: Frame) -> Pixels:
        """A mask (H, W) or (H, W, 3); raises `DataError` like `look`."""
        kept = self._kept.get(frame)
        return self._decoded(frame) if kept is None else kept()

    def _decoded(self, frame: Frame) -> Pixels:
        mask = read_mask(frame.path, frame.frame, self.stacks)
        return mask if self.labkit is None else self.labkit.values(frame.path, mask)

    def _keep(self, frame: Frame, mask: Pixels, values: Pixels) -> None:
        two = mask.ndim == 2 and len(values) <= 2
        size = (mask.size + 7) // 8 if two else mask.nbytes
        with self._lock:
            if frame in self._kept or size > self._room:
                return
            self._room -= size
        if not two:
            self._kept[frame] = mask.copy
            return
        low, high, shape = values[0], values[-1], mask.shape
        bits = np.packbits(mask != low)

        def unpacked() -> Pixels:
            values = np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(low.dtype, copy=False)
            values *= high - low
            values += low
            return values

        self._kept[frame] = unpacked


def look_at_files(
    files: Sequence[Path], reader: MaskReader, output: Output, description: str
) -> list[tuple[Frame, Pixels]]:
    """Every frame of the files with the values it holds, see `MaskReader.look`.

    Raises:
        DataError: a file that cannot be read, or is no mask; the first one.
    """

    def look(path: Path) -> list[tuple[Frame, Pixels]]:
        return [(frame, reader.look(frame)) for frame in frames_of(path, reader.stacks)]

    with prefetched_map(look, files, most=4 * WORKERS) as looks:
        return [look for some in output.track(looks, description, len(files)) for look in some]


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
    with prefetched_map(reader.read, frames, most=WORKERS) as masks:
        pairs = zip(frames, masks, strict=True)
        for frame, mask in output.track(pairs, "Looking for objects", len(frames)):
            survey.add(mask, where=frame.path, traits=frame.traits, regions=regions)
    return survey


def distinct_values(values: Pixels) -> NDArray[np.integer]:
    """The values of an integer array, each once, ascending and of its type."""
    if values.dtype.kind != "u":
        return np.unique(values)
    step = values.dtype.type(1)
    found, top = [values.min()], values.max()
    while found[-1] < top and len(found) < FEW_VALUES:
        above = found[-1] + step
        # Values below wrap round to beyond the top, so that the smallest difference is that of the next value.
        found.append((values - above).min() + above)
    if found[-1] == top:
        return np.array(found, dtype=values.dtype)
    if values.itemsize > 2:
        return np.unique(values)
    return np.flatnonzero(np.bincount(values.reshape(-1))).astype(values.dtype)


def _distinct_colours(colours: Pixels) -> Pixels:
    """The colours of (H, W, 3), each once, (n, 3)."""
    if colours.dtype.kind != "u" or colours.itemsize > 2:
        return np.unique(colours.reshape(-1, 3), axis=0)
    shifts = np.array(COLOUR_SHIFTS, dtype=np.uint64)
    packed = np.bitwise_or.reduce(colours.astype(np.uint64) << shifts, axis=-1)
    return (distinct_values(packed)[:, None] >> shifts).astype(colours.dtype)
