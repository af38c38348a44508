"""Prediction of volumes, slice by slice, as label volumes on the same grid.

Across the axis that is slowest in the file, slices are read, predicted and written as they come: a few of them are in
memory, however many there are. Across another axis every slice is scattered over the whole file: then the volume, in
its own type, and its labels, a byte a voxel (two beyond 256 classes), are held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.files import sha256_of
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.io.intensities import Deviation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.io.prefetch import prefetched
from bioseg_cli.io.volumes import Volume, open_volume, writing_labels
from bioseg_cli.model.saved import ModelCard
from bioseg_cli.prediction.estimate import estimated_iou
from bioseg_cli.prediction.likeness import deviations, of_slices, refuse_meaningless, unlike_training
from bioseg_cli.prediction.overlay import draw_overlay
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import OVERLAYS_FOLDER, PredictConfig
from bioseg_cli.prediction.sources import VolumeSource, mask_path
from bioseg_cli.prediction.writing import Writing
from bioseg_cli.runs.output import Output

OVERLAY_SLICES = 6
"""Slices of a volume that are drawn, evenly spaced."""
MICROMETRES = 1000
"""In a millimetre."""
WORLD_AXES = "xyz"

Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Slicing:
    """How a volume (K, J, I) is cut into slices (H, W).

    Attributes:
        axis: which of the three stored axes counts the slices; the other two are rows and columns, in their order.
        world: the world axis it comes nearest to, x, y or z; None where the file states no position in space.
        count: number of slices.
        shape: (H, W).
        pixel_size: of a slice.
        steps: 1 or -1 for rows and columns, see `upright`.
    """

    axis: int
    world: str | None
    count: int
    shape: tuple[int, int]
    pixel_size: PixelSize
    steps: tuple[int, int]

    @classmethod
    def of(cls, volume: Volume, wanted: str | None) -> Slicing:
        """Cut across the world axis `wanted`, or across the slowest stored axis.

        Raises:
            DataError: a world axis is wanted of a volume without a position in space.
        """
        if wanted is not None and not volume.oriented:
            raise DataError(
                f"The volume does not state which axis is {wanted}: its NIfTI header has neither sform nor qform",
                where=volume.path,
                fix="Leave out --axis, or set the affine.",
            )
        nearest, signs = io_orientation(volume.affine).astype(int).T  # type: ignore[no-untyped-call]
        axis = 0 if wanted is None else int(np.flatnonzero(nearest == WORLD_AXES.index(wanted))[0])
        rows, columns = (other for other in range(3) if other != axis)
        edges = volume.voxel_size * MICROMETRES
        return cls(
            axis=axis,
            world=WORLD_AXES[nearest[axis]] if volume.oriented else None,
            count=volume.shape[axis],
            shape=(volume.shape[rows], volume.shape[columns]),
            pixel_size=PixelSize(float(edges[rows]), float(edges[columns])),
            steps=(-int(signs[rows]), int(signs[columns])),
        )

    def upright(self, image: NDArray[Any]) -> NDArray[Any]:
        """A slice (H, W) as it is looked at: the upper or front end above, the left on the left."""
        return image[:: self.steps[0], :: self.steps[1]]

    def drawn(self) -> list[int]:
        """The numbers of the slices that overlays show."""
        number = min(OVERLAY_SLICES, self.count)
        return [(2 * place + 1) * self.count // (2 * number) for place in range(number)]


def predict_volume(source: VolumeSource, predictor: Predictor, config: PredictConfig, output: Output) -> FileEntry:
    """Predict one volume, write its labels and pictures, and return its entry in the record.

    Raises:
        DataError: the volume cannot be read or is not what the model was trained on (`where` is its path), or the
            output cannot be written, or the network can see nothing in most slices. Nothing is left of the output.
        RunError: memory ran out.
    """
    sha256 = sha256_of(source.path)
    volume = open_volume(source.path)
    predictor.check(1, volume.dtype, volume.path)
    slicing = Slicing.of(volume, config.axis)
    if slicing.axis != 0:
        held = volume.dtype.itemsize + predictor.label_dtype.itemsize
        size = np.prod(volume.shape, dtype=float) * held / 2**20
        output.say(
            f"{source.path.name}: slices across {slicing.world} lie scattered over the file, so volume and labels are "
            f"held in memory ({size:.0f} MiB)"
        )
    written = [mask_path(config.out, source)]
    drawn = slicing.drawn() if config.overlay else []
    pictures: dict[int, NDArray[np.uint8]] = {}
    expected = predictor.decoder.expected_iou()
    looked_at = _LookedAt(predictor.card, slicing.pixel_size)
    first = 0
    batch = predictor.batch_size(*slicing.shape)
    with (
        output.progress(f"Predicting {source.name}", slicing.count) as progress,
        writing_labels(written[0], volume, predictor.label_dtype) as write,
        _in_file_order(write, volume, slicing, predictor.label_dtype) as take,
        Writing() as writing,
    ):
        for pixels in prefetched(_slices(volume, slicing.axis, batch)):
            looked_at.add(pixels)
            probabilities = predictor.probabilities(pixels[:, None], volume.path)
            labels = predictor.labels(probabilities)
            if expected is not None:
                expected.add(predictor.decoder.probabilities(probabilities), labels)
            writing.submit(take, labels)
            for number in drawn:
                if first <= number < first + len(labels):
                    image, mask = (slicing.upright(each[number - first]) for each in (pixels, labels))
                    pictures[number] = draw_overlay(image[None], mask, predictor.decoder)
            first += len(labels)
            progress.advance(len(labels))
        if not config.force:
            refuse_meaningless(looked_at.meaningless(), volume.path)
    for number, picture in pictures.items():
        written.append(config.out / OVERLAYS_FOLDER / f"{source.name}_s{number:03d}.png")
        write_png(written[-1], picture)
    entry = FileEntry(
        input=str(source.path),
        name=source.name,
        outputs=tuple(path.relative_to(config.out).as_posix() for path in written),
        shape=volume.shape,
        axis=slicing.world,
        pixel_size=slicing.pixel_size,
    )
    if (estimate := estimated_iou([expected], predictor.decoder)) is not None:
        entry = entry.having(estimated_iou=estimate)
    if unlike := looked_at.deviations():
        sentences = tuple(deviation.sentence for deviation in unlike)
        output.warn(unlike_training(source.path.name, sentences))
        entry = entry.having(unlike_training=sentences)
    return entry.having(sha256=sha256)


class _LookedAt:
    """In what the slices of a volume are unlike the training images of a model.

    Slices of a single value, as at the ends of a volume, count only where there are no others.
    """

    def __init__(self, card: ModelCard, pixel_size: PixelSize) -> None:
        self._card = card
        self._pixel_size = pixel_size
        self._of_slices: list[list[Deviation]] = []
        self._empty: list[Deviation] = []  # of one slice of a single value

    def add(self, slices: NDArray[Any]) -> None:
        """Look at slices (B, H, W)."""
        for pixels in slices:
            if np.ptp(pixels):
                self._of_slices.append(deviations(self._card, pixels[None], self._pixel_size))
            elif not self._empty:
                self._empty = deviations(self._card, pixels[None], self._pixel_size)

    def deviations(self) -> list[Deviation]:
        """What most slices have."""
        return of_slices(self._of_slices or [self._empty])

    def meaningless(self) -> list[Deviation]:
        """Why the network can see nothing in most slices; none where it can."""
        found = self._of_slices or [self._empty]
        return of_slices([[deviation for deviation in each if deviation.meaningless] for each in found])


def _slices(volume: Volume, axis: int, batch: int) -> Iterator[NDArray[Any]]:
    """Yield the slices across a stored axis in order, `batch` at a time, (B, H, W)."""
    if axis == 0:
        yield from volume.blocks(batch)
        return
    whole = np.empty(volume.shape, volume.dtype)
    first = 0
    for block in volume.blocks(batch):
        whole[first : first + len(block)] = block
        first += len(block)
    across = np.moveaxis(whole, axis, 0)
    for first in range(0, len(across), batch):
        yield across[first : first + batch]


@contextmanager
def _in_file_order(
    write: Callable[[Labels], None], volume: Volume, slicing: Slicing, dtype: np.dtype[Any]
) -> Iterator[Callable[[Labels], None]]:
    """A function that takes labels (B, H, W) in the order of the slices, and has them written in that of the file."""
    if slicing.axis == 0:
        yield write
        return
    whole = np.empty(volume.shape, dtype)
    across = np.moveaxis(whole, slicing.axis, 0)
    taken = 0

    def take(labels: Labels) -> None:
        nonlocal taken
        across[taken : taken + len(labels)] = labels
        taken += len(labels)

    yield take
    for plane in whole:
        write(plane)
