"""Images that come twice: the same ones, and those that look alike, in other pixels, turned or mirrored.

Images are compared by signatures: the means of 32 x 32 equal parts of an image, each less the mean of the block of
4 x 4 parts that it lies in, to unit length. Brightness, contrast and slow shading cancel out, and the correlation of
two images is a product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bioseg_cli.dataset.identity import ImageIdentity, KnownImages
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.printable import listing

SIDE, AROUND = 32, 4
ALIKE = 0.9
"""Correlation of signatures from which images count as near-duplicates; see docs/checking.md for what others reach."""
LEAST_DETAIL = 0.5
"""Details weaker than this share of the noise of single pixels show nothing: of empty fields, what is left is the
pattern of the camera and its light, which all of them share."""
ROUNDING = 1e-6
"""Of means of equal values, as a share of these."""
NOISE_LINES = 64
"""Lines of an image that its noise is measured on."""
BLOCK = 256
"""Images that are compared with all others at once."""

Signature = npt.NDArray[np.float32]


def signature(image: Pixels) -> Signature:
    """(SIDE * SIDE,) signature of an image (C, H, W), of unit length; zeros for an image that shows nothing."""
    rows, columns = (_averaging(length) for length in image.shape[1:])
    plane = image.mean(axis=0, dtype=np.float32)
    if image.dtype.kind == "f":
        plane = np.nan_to_num(plane, posinf=0, neginf=0)
    parts = rows @ plane @ columns.T
    blocks = parts.reshape(SIDE // AROUND, AROUND, SIDE // AROUND, AROUND)
    details = (blocks - blocks.mean(axis=(1, 3), keepdims=True)).reshape(-1)
    lines = plane[:: max(1, len(plane) // NOISE_LINES)]
    # The mean difference of two neighbours with normal noise is 2 / sqrt(pi) of its standard deviation.
    noise = np.abs(np.diff(lines, axis=1)).mean() * np.sqrt(np.pi) / 2 if lines.shape[1] > 1 else 0.0
    if details.std() <= max(LEAST_DETAIL * noise, ROUNDING * np.abs(parts).max()):
        return np.zeros(SIDE * SIDE, dtype=np.float32)
    unit: Signature = (details / np.linalg.norm(details)).astype(np.float32)
    return unit


@lru_cache(maxsize=64)
def _averaging(length: int) -> npt.NDArray[np.float32]:
    """(SIDE, length) weights that average a line of pixels over SIDE equal parts of it."""
    starts = np.arange(SIDE)[:, None] * length / SIDE
    pixels = np.arange(length)[None]
    shares = np.minimum(starts + length / SIDE, pixels + 1) - np.maximum(starts, pixels)
    return (shares.clip(0) * SIDE / length).astype(np.float32)


def near_duplicates(first: Sequence[Signature], second: Sequence[Signature]) -> Iterator[tuple[int, int, float]]:
    """Pairs of images that look alike, in any of eight turns and reflections.

    Args:
        first: N signatures.
        second: M signatures.

    Yields:
        Numbers in `first` and in `second`, and their correlation.
    """
    if not len(first) or not len(second):
        return
    grids = np.stack(second).reshape(-1, SIDE, SIDE)
    views = [np.rot90(grid, turns, axes=(1, 2)) for grid in (grids, grids[:, :, ::-1]) for turns in range(4)]
    turned = [np.ascontiguousarray(view).reshape(len(second), -1).T for view in views]
    for start in range(0, len(first), BLOCK):
        block = np.stack(first[start : start + BLOCK])
        likeness = np.max([block @ view for view in turned], axis=0)
        for row, column in np.argwhere(likeness >= ALIKE).tolist():
            yield start + row, column, float(likeness[row, column])


def copies_across_splits(dataset: Dataset) -> list[tuple[int, int]]:
    """Pairs of a training image and one for validation or test that show the same: equal pixels, or a common part."""
    known = KnownImages[int]()
    for index in dataset.indices("train").tolist():
        known.add(ImageIdentity.of(dataset, index), index)
    found = []
    for index in np.flatnonzero(dataset.split != "train").tolist():
        identity = ImageIdentity.of(dataset, index)
        partner = next(known.overlapping(identity), None)
        if partner is None:
            equal = next(known.equal(identity), None)
            partner = None if equal is None or is_blank(dataset.image(index)) else equal
        if partner is not None:
            found.append((partner, index))
    return found


def copies_warning(dataset: Dataset) -> str | None:
    """What the reader must know of images that train and are scored; None where there are none."""
    pairs = copies_across_splits(dataset)
    if not pairs:
        return None
    names = listing([f"{dataset.name(held)} as {dataset.name(training)}" for training, held in pairs], 3)
    images = "1 image" if len(pairs) == 1 else f"{len(pairs)} images"
    return (
        f"{images} for validation or test can be seen in training images too ({names}). The scores will be too good: "
        "the network has seen the same pixels."
    )


def is_blank(image: Pixels) -> bool:
    """Whether all pixels have one value: such images are equal without being copies."""
    return bool(image.min() == image.max())
