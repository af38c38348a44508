"""Where the slices of a volume lie: random planes in world coordinates, each a function of the seed and its number.

Everything is in millimetres, x to the right, y to the front, z upwards (RAS+), as the volumes' affines say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import UsageError
from bioseg_cli.io.volumes import Volume
from bioseg_cli.prepare.recipes.bigbrain_settings import BigBrainConfig
from bioseg_cli.prepare.splits import split_groups

Matrix = npt.NDArray[np.float64]

AXES = "xyz"
GOLDEN_RATIO = (5**0.5 - 1) / 2
ROTATION_STREAM, POSITION_STREAM = 1, 2
"""Tell the random numbers of a rotation from those of a position, where both bear the same number."""


@dataclass(frozen=True)
class Slab:
    """The part of space between two planes that face a world axis, in millimetres."""

    axis: int
    low: float
    high: float

    def __str__(self) -> str:
        # It becomes part of the names of files.
        return f"{AXES[self.axis]}{self.low:.1f}to{self.high:.1f}mm"


@dataclass(frozen=True)
class Plane:
    """One slice, of square pixels.

    Attributes:
        number: of the slice; with the settings it is all that the slice depends on.
        rotation: number of its rotation.
        split: which it belongs to.
        matrix: (3, 4); pixel (row, column) lies at `matrix @ (row, column, 0, 1)` millimetres, and the third column is
            the unit normal.
        side: height and width in pixels.
        slab: the part of space it may show; None = all of it.
    """

    number: int
    rotation: int
    split: SplitName
    matrix: Matrix
    side: int
    slab: Slab | None

    def in_slab(self) -> tuple[IntArray, IntArray]:
        """First column and the one after the last, by row, that lie in the slab."""
        limits = [] if self.slab is None else [(self.matrix[self.slab.axis], self.slab.low, self.slab.high)]
        return _columns_within(limits, self.side)

    def on_grid(self, volume: Volume) -> Matrix:
        """The plane's matrix in voxels (k, j, i) of a volume, (3, 4), without the normal's unit length."""
        to_voxels = np.linalg.inv(volume.affine)
        matrix: Matrix = to_voxels[:3, :3] @ self.matrix
        matrix[:, 3] += to_voxels[:3, 3]
        return matrix

    def inside(self, volume: Volume) -> tuple[IntArray, IntArray]:
        """First column and the one after the last, by row, that lie in the slab and in a voxel of the volume."""
        voxels = self.on_grid(volume)
        limits = [(voxels[axis], -0.5, length - 0.5) for axis, length in enumerate(volume.shape)]
        if self.slab is not None:
            limits.append((self.matrix[self.slab.axis], self.slab.low, self.slab.high))
        return _columns_within(limits, self.side)


def _columns_within(limits: Sequence[tuple[Matrix, float, float]], side: int) -> tuple[IntArray, IntArray]:
    """The columns, by row, where low <= a * row + b * column + d < high for each ((a, b, _, d), low, high)."""
    rows = np.arange(side)
    start: Matrix = np.zeros(side)
    stop: Matrix = np.full(side, float(side))
    for (per_row, per_column, _, constant), low, high in limits:
        base = constant + per_row * rows
        if per_column == 0:
            stop[(base < low) | (base >= high)] = 0
            continue
        with np.errstate(over="ignore"):
            to_low, to_high = (low - base) / per_column, (high - base) / per_column
        if per_column > 0:
            first, after = np.ceil(to_low), np.ceil(to_high)
        else:
            first, after = np.floor(to_high) + 1, np.floor(to_low) + 1
        start, stop = np.maximum(start, first), np.minimum(stop, after)
    start = np.minimum(start, side)
    return start.astype(np.int64), np.maximum(start, stop).astype(np.int64)


def draw_planes(config: BigBrainConfig, volume: Volume) -> list[Plane]:
    """The planes of all slices that the settings ask for.

    Raises:
        UsageError: too few slices for training and validation, or a guard that leaves no room for a split.
    """
    splits = _splits(config)
    slabs = _slabs(config, volume) if config.split_by == "slab" else {}
    return [_draw_plane(number, split, config, volume, slabs.get(split)) for number, split in enumerate(splits)]


def _draw_plane(number: int, split: SplitName, config: BigBrainConfig, volume: Volume, slab: Slab | None) -> Plane:
    rotation = number % config.rotations if config.rotations else number
    axes = _random_rotation(np.random.default_rng([config.seed, ROTATION_STREAM, rotation]))
    rng = np.random.default_rng([config.seed, POSITION_STREAM, number])
    point = _random_point(rng, volume, slab)
    section = _section(point, axes, volume, slab)
    spacing = config.spacing or float(volume.voxel_size.min())
    length = config.crop_side * spacing
    corner = point.copy()
    for axis, positions in zip(axes.T[:2], section.T, strict=True):
        low, high = float(positions.min()), float(positions.max())
        # A section smaller than the slice stands in its middle; of a larger one, a random part is shown.
        centre = rng.uniform(low + length / 2, high - length / 2) if high - low > length else (low + high) / 2
        corner += axis * (centre - length / 2 + spacing / 2)
    matrix = np.column_stack([axes[:, 0] * spacing, axes[:, 1] * spacing, axes[:, 2], corner])
    return Plane(number, rotation, split, matrix, config.crop_side, slab)


def _splits(config: BigBrainConfig) -> list[SplitName]:
    """The split of each slice."""
    if config.split_by == "rotation" and config.rotations is not None:
        names = [str(rotation) for rotation in range(config.rotations)]
        shares = {"val_share": config.val_share, "test_share": config.test_share}
        by_rotation = split_groups(names, [True] * len(names), **shares, seed=config.seed)
        splits = [by_rotation[number % config.rotations] for number in range(config.slices)]
    else:
        splits = [_split_of(number, config) for number in range(config.slices)]
    for split in ("train", "val"):
        if split not in splits:
            fix = f"Give more --slices, or change --{'test' if split == 'train' else split}-share."
            raise UsageError(f"None of {config.slices} slices falls to the {split} split", fix=fix)
    return splits


def _split_of(number: int, config: BigBrainConfig) -> SplitName:
    """Splits by their shares, spread over the numbers as evenly as can be whatever number comes last."""
    place = number * GOLDEN_RATIO % 1
    if place < 1 - config.val_share - config.test_share:
        return "train"
    return "val" if place < 1 - config.test_share else "test"


def _random_rotation(rng: np.random.Generator) -> Matrix:
    """Three orthogonal unit vectors as columns, uniform over all rotations."""
    matrix: Matrix = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    return matrix


def _slabs(config: BigBrainConfig, volume: Volume) -> dict[SplitName, Slab]:
    """The volume's length along an axis, shared out in the order train, validation, test, with the guard between."""
    axis = AXES.index(config.slab_axis)
    corners = box_corners(volume)[:, axis]
    low, high = float(corners.min()), float(corners.max())
    length = high - low
    bounds = [low, high - length * (config.val_share + config.test_share), high - length * config.test_share, high]
    slabs: dict[SplitName, Slab] = {}
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    for place, split in enumerate(splits):
        start = bounds[place] + (config.guard / 2 if place > 0 else 0)
        stop = bounds[place + 1] - (config.guard / 2 if bounds[place + 1] < high else 0)
        if stop > start:
            slabs[split] = Slab(axis, start, stop)
        elif bounds[place + 1] > bounds[place]:
            raise UsageError(
                f"--guard of {config.guard:g} mm leaves nothing of the {split} slab, "
                f"{bounds[place + 1] - bounds[place]:.1f} mm along {config.slab_axis}",
                where=volume.path,
                fix="Give a smaller --guard, or a larger --val-share or --test-share.",
            )
    return slabs


def box_corners(volume: Volume) -> Matrix:
    """(8, 3) corners of the outermost voxels, in millimetres."""
    ends = [(-0.5, length - 0.5) for length in volume.shape]
    grid = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    corners: Matrix = grid @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return corners


def _random_point(rng: np.random.Generator, volume: Volume, slab: Slab | None) -> Matrix:
    """A point of the volume, and of the slab, in millimetres.

    It is drawn in the world, not in voxels, so that the order in which a file stores its axes does not move it.
    """
    corners = box_corners(volume)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if slab is not None:
        low[slab.axis], high[slab.axis] = slab.low, slab.high
    to_voxels = np.linalg.inv(volume.affine)
    while True:
        point: Matrix = rng.uniform(low, high)
        voxel = to_voxels[:3, :3] @ point + to_voxels[:3, 3]
        if (voxel >= -0.5).all() and (voxel < np.array(volume.shape) - 0.5).all():
            return point


def _section(point: Matrix, axes: Matrix, volume: Volume, slab: Slab | None) -> Matrix:
    """Corners (N, 2) of the plane's section with volume and slab: millimetres from `point` along the first two axes."""
    to_voxels = np.linalg.inv(volume.affine)
    voxel = to_voxels[:3, :3] @ point + to_voxels[:3, 3]
    steps = to_voxels[:3, :3] @ axes[:, :2]
    limits = [(step, -0.5 - at, length - 0.5 - at) for step, at, length in zip(steps, voxel, volume.shape, strict=True)]
    if slab is not None:
        limits.append((axes[slab.axis, :2], slab.low - point[slab.axis], slab.high - point[slab.axis]))
    reach = float(np.ptp(box_corners(volume), axis=0).sum())
    polygon: Matrix = reach * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    for step, low, high in limits:
        polygon = _clip(polygon, step, high)
        polygon = _clip(polygon, -step, -low)
    return polygon


def _clip(polygon: Matrix, normal: Matrix, bound: float) -> Matrix:
    """The part of a convex polygon (N, 2) where normal · p <= bound (Sutherland and Hodgman 1974)."""
    over = polygon @ normal - bound
    kept = []
    for corner, next_corner, here, there in zip(
        polygon, np.roll(polygon, -1, axis=0), over, np.roll(over, -1), strict=True
    ):
        if here <= 0:
            kept.append(corner)
        if (here < 0 < there) or (there < 0 < here):
            kept.append(corner + (next_corner - corner) * here / (here - there))
    return np.array(kept).reshape(-1, 2)
