"""Passing a volume by all slices at once: read in a stream, sampled on threads, surveyed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, pairwise

import numpy as np

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.io.volumes import Volume
from bioseg_cli.prepare.slicing.sampling import Cuts, count_values
from bioseg_cli.prepare.slicing.scratch_file import BandFile
from bioseg_cli.runs.output import Output

BLOCK_BYTES = 4_000_000
"""About what is sampled at a time: it stays in a processor's cache while pixel after pixel lies in another stored plane
of it. Blocks of 32 MB take nearly twice as long."""
FEWEST_PLANES = 4
"""In a block, however large they are: each block adds a piece to every slice."""
PLANES_A_TASK = 64
"""Slices that a thread samples before it asks for more."""


@dataclass(frozen=True)
class Survey:
    """What a volume's voxels are like.

    Attributes:
        outside: the value that its outermost voxels have: their median, or of labels the most frequent one.
        counts: number of voxels by label; empty for intensities.
    """

    outside: float
    counts: dict[int, int]


def block_thickness(volume: Volume) -> int:
    """How many stored planes are sampled at a time."""
    _, height, width = volume.shape
    return max(FEWEST_PLANES, BLOCK_BYTES // (height * width * volume.dtype.itemsize))


def sweep(volume: Volume, cuts: Cuts, bands: BandFile, *, workers: int, output: Output) -> Survey:
    """Sample every slice of a volume into `bands`, from where an earlier sweep left it, and survey the volume.

    Raises:
        DataError: a volume that cannot be read to its end, or whose labels are not whole numbers; a full disk.
    """
    if bands.remark is not None:
        known = bands.remark["counts"].items()
        return Survey(bands.remark["outside"], {int(value): count for value, count in known})
    thickness = block_thickness(volume)
    faces: list[Pixels] = []
    counts = np.zeros(65536, dtype=np.int64)
    with (
        ThreadPoolExecutor(workers + 1) as pool,
        output.progress(f"Reading {volume.path.name}, planes:", volume.shape[0]) as progress,
    ):
        blocks = _with_next_plane(volume, cuts, bands, thickness)
        waiting = pool.submit(next, blocks, None)
        number = 0
        while (voxels := waiting.result()) is not None:
            # The file is read on while the threads sample what has been read.
            waiting = pool.submit(next, blocks, None)
            first = number * thickness
            block = voxels[:thickness]
            faces += _faces(block, first, volume)
            if cuts.nearest:
                count_values(block, counts)
            if number >= bands.finished:
                bands.append(_sample(pool, cuts, number, voxels, first))
            number += 1
            progress.advance(len(block))
    outermost, frequency = np.unique(np.concatenate(faces), return_counts=True)
    middle = np.searchsorted(np.cumsum(frequency), frequency.sum() / 2)
    survey = Survey(
        float(outermost[frequency.argmax() if cuts.nearest else middle]),
        {int(value): int(counts[value]) for value in np.flatnonzero(counts)},
    )
    bands.finish(asdict(survey))
    return survey


def _with_next_plane(volume: Volume, cuts: Cuts, bands: BandFile, thickness: int) -> Iterator[Pixels]:
    """The blocks of a volume; for interpolation each with the first plane of the block after it."""
    if cuts.nearest:
        for labels in volume.label_blocks(thickness):
            yield labels.astype(bands.dtype, copy=False)
        return
    for block, following in pairwise(chain(volume.blocks(thickness), [None])):
        if block is not None:
            yield block if following is None else np.concatenate([block, following[:1]])


def _faces(block: Pixels, first: int, volume: Volume) -> list[Pixels]:
    """The outermost voxels of the volume that lie in a block."""
    faces = [block[:, 0], block[:, -1], block[:, :, 0], block[:, :, -1]]
    if first == 0:
        faces.append(block[0])
    if first + len(block) == volume.shape[0]:
        faces.append(block[-1])
    return [face.ravel().copy() for face in faces]


def _sample(pool: ThreadPoolExecutor, cuts: Cuts, number: int, voxels: Pixels, first: int) -> Pixels:
    """The bands of all slices in one block, slice after slice."""
    ends = np.append(0, np.cumsum(cuts.lengths[:, number]))
    out = np.empty(ends[-1], voxels.dtype)

    def sample(start: int) -> None:
        stop = min(start + PLANES_A_TASK, len(cuts.lengths))
        cuts.sample(slice(start, stop), number, voxels, first, out[ends[start] : ends[stop]])

    for _ in pool.map(sample, range(0, len(cuts.lengths), PLANES_A_TASK)):
        pass
    return out
