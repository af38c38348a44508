"""The slices of an image volume and its class volume: sampled into scratch files, then put together one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE
from bioseg_cli.dataset.schema import IntArray, Pixels
from bioseg_cli.io.volumes import Volume
from bioseg_cli.prepare.slicing.label_mapping import LabelMapping
from bioseg_cli.prepare.slicing.planes import Plane
from bioseg_cli.prepare.slicing.sampling import Cuts
from bioseg_cli.prepare.slicing.scratch_file import BandFile
from bioseg_cli.prepare.slicing.sweep import Survey, block_thickness, sweep
from bioseg_cli.runs.output import Output


@dataclass(frozen=True)
class SampledVolume:
    """The pixels of all planes in one volume, on disk.

    Attributes:
        planes: P of them.
        cuts: where their pixels lie in the volume.
        bands: the pixels.
        survey: what the volume is like.
    """

    planes: list[Plane]
    cuts: Cuts
    bands: BandFile
    survey: Survey

    def slice(self, index: int) -> Pixels:
        """(side, side) values of one plane; beyond the volume and the plane's slab, the value of the outside."""
        return self.assembled(index, self.bands.read(index), self.survey.outside)

    def assembled(self, index: int, pixels: Pixels, outside: float) -> Pixels:
        """(side, side), of the pixels of one plane as they were sampled, or others in their order."""
        side = self.planes[index].side
        assembled: Pixels = np.full((side, side), outside, dtype=pixels.dtype)
        self.cuts.assemble(index, pixels, assembled)
        return assembled


def sample(
    volume: Volume, planes: list[Plane], folder: Path, *, nearest: bool, workers: int, output: Output
) -> SampledVolume:
    """Pass a volume by the planes once; what an earlier run left in `folder` is not sampled again.

    Args:
        volume: of intensities or of labels.
        planes: at least one.
        folder: for the scratch files.
        nearest: whether the volume holds labels.
        workers: threads.
        output: for the progress.
    """
    cuts = Cuts(planes, volume, thickness=block_thickness(volume), nearest=nearest)
    dtype = volume.dtype
    if nearest:
        dtype = np.dtype(np.uint8 if volume.dtype == np.uint8 else np.uint16)
    bands = BandFile(folder / ("labels.bands" if nearest else "image.bands"), cuts.lengths, dtype)
    return SampledVolume(planes, cuts, bands, sweep(volume, cuts, bands, workers=workers, output=output))


@dataclass(frozen=True)
class LabelledSlices:
    """Slices of a class volume as codes of the kept classes.

    Attributes:
        volume: the sampled labels.
        image: the volume of intensities that they belong to.
        mapping: what the labels mean.
    """

    volume: SampledVolume
    image: Volume
    mapping: LabelMapping

    def labels(self, index: int) -> Pixels:
        """(side, side) class codes; the ignore label beyond the plane's slab, and where only the image reaches."""
        ignore = IGNORE_BY_DTYPE[str(self.mapping.codes.dtype)]
        codes = self.volume.assembled(index, self._codes(index), ignore)
        plane = self.volume.planes[index]
        codes[(codes == ignore) & _outside(plane, plane.inside(self.image))] = self.mapping.outside
        if plane.slab is not None:
            codes[_outside(plane, plane.in_slab())] = ignore
        return codes

    def tissue_share(self, index: int) -> float:
        """Share of a slice's pixels that lie in the volume and are not background."""
        return int(np.count_nonzero(self._codes(index))) / self.volume.planes[index].side ** 2

    def _codes(self, index: int) -> Pixels:
        """The class codes of a plane's pixels in the volume, in the order they were sampled."""
        return self.mapping.codes.take(self.volume.bands.read(index))


def _outside(plane: Plane, columns: tuple[IntArray, IntArray]) -> npt.NDArray[np.bool_]:
    """(side, side) pixels that are not among the columns from the first to before the second, by row."""
    start, stop = columns
    places = np.arange(plane.side)
    outside: npt.NDArray[np.bool_] = (places < start[:, None]) | (places >= stop[:, None])
    return outside
