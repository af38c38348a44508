"""Generated microscope images with exact masks: fluorescent nuclei, and cells in phase contrast.

The pictures follow the optics where that is what makes segmentation hard: shot and read noise on an uneven field,
blur and haze in fluorescence; in phase contrast the halo and the shade-off that leave a cell's inside as bright as the
background (Zernike: contrast is phase minus its own local mean).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Field = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]
Rng = np.random.Generator

CAMERA_OFFSET, COUNTS_PER_ELECTRON, READ_NOISE = 100.0, 2.0, 5.0
"""The fluorescence camera: grey values in the dark, per photoelectron, and of the read noise (standard deviation)."""


@dataclass(frozen=True)
class Outlines:
    """Star-shaped objects on patches of their own, n of P x P pixels.

    Attributes:
        ratio: (n, P, P) distance from the centre over the outline's in that direction: below 1 is inside.
        dy, dx: (n, P, P) offsets from the centre, in pixels.
        corners: (n, 2) row and column of each patch in the image.
    """

    ratio: Field
    dy: Field
    dx: Field
    corners: npt.NDArray[np.int64]

    @property
    def inside(self) -> Mask:
        """(n, P, P) the objects themselves."""
        return self.ratio < 1

    def numbers(self, size: int) -> Numbers:
        """The number (size, size) of the object, from 1, that a pixel lies deepest in; 0 = none."""
        side = self.ratio.shape[-1]
        least = np.ones((size + 2 * side, size + 2 * side))
        numbers = np.zeros(least.shape, np.int32)
        for number, (ratio, (y, x)) in enumerate(zip(self.ratio, self.corners + side, strict=True), 1):
            if 0 <= y <= size + side and 0 <= x <= size + side:
                window = np.s_[y : y + side, x : x + side]
                deeper = ratio < least[window]
                least[window][deeper], numbers[window][deeper] = ratio[deeper], number
        return numbers[side : side + size, side : side + size]

    def place(self, patches: npt.NDArray[np.generic], size: int) -> Field:
        """Add the patches up on an image of `size` x `size` pixels."""
        side = patches.shape[-1]
        canvas = np.zeros((size + 2 * side, size + 2 * side))
        for patch, (y, x) in zip(patches, self.corners + side, strict=True):
            if 0 <= y <= size + side and 0 <= x <= size + side:
                canvas[y : y + side, x : x + side] += patch
        return canvas[side : side + size, side : side + size]


def nuclei(rng: Rng, size: int) -> tuple[npt.NDArray[np.uint16], Numbers]:
    """Stained nuclei in fluorescence, `size` x `size` pixels of 16 bit, and the number of the nucleus at each.

    About 30 by 22 pixels each; some touch, a few are out of focus, condensed, or lobed.
    """
    radius = 14.0
    centres = _scatter(rng, size, per_256=19, radius=radius, touching=0.25)
    count = len(centres)
    condensed = rng.random(count) < 0.05
    major = rng.normal(radius, 2.0, count).clip(9, 19) * np.where(condensed, 0.5, 1.0)
    minor = major * rng.uniform(0.58, 0.92, count)
    lobes = rng.normal(0, 1, (count, 4)) * np.array([0.05, 0.03, 0.02, 0.02])
    lobes[:, :2] *= np.where(rng.random(count) < 0.12, 4.0, 1.0)[:, None]
    outlines = _outlines(rng, centres, major, minor, lobes, side=76)

    dome = np.sqrt(np.clip(1.03 - outlines.ratio**2, 0, None)) * outlines.inside
    chromatin = _texture(rng, size + 76, fine=1.1, coarse=4.0)
    shift = rng.integers(0, size, (count, 2))
    texture = np.stack([chromatin[y : y + 76, x : x + 76] for y, x in shift]) if count else outlines.ratio
    density = (0.7 + 0.3 * dome) * outlines.inside * (1 + 0.13 * texture) * (1 - _nucleoli(rng, outlines, minor))
    # DNA content doubles before division, so brightness has two peaks.
    stain = 330 * rng.lognormal(0, 0.22, count) * rng.choice([1.0, 1.6], count, p=[0.7, 0.3])
    stain *= np.where(condensed, 2.8, 1.0)
    blurred = rng.random(count) < 0.06
    sharp = outlines.place(density * (stain * ~blurred)[:, None, None], size)
    deep = outlines.place(density * (0.7 * stain * blurred)[:, None, None], size)

    light = gaussian_filter(sharp + _specks(rng, size, per_256=5), 0.9) + gaussian_filter(deep, 3.5)
    light += 0.05 * gaussian_filter(light, size / 12, truncate=2.5)
    light = (light + 18.0) * _illumination(rng, size, depth=0.3)
    electrons = rng.poisson(light / COUNTS_PER_ELECTRON)
    counts = CAMERA_OFFSET + COUNTS_PER_ELECTRON * electrons + rng.normal(0, READ_NOISE, light.shape)
    return np.rint(counts.clip(0, 65535)).astype(np.uint16), outlines.numbers(size)


def phase_cells(rng: Rng, size: int) -> tuple[npt.NDArray[np.uint8], Numbers]:
    """Spread cells in phase contrast, `size` x `size` pixels of 8 bit, and the number of the cell at each."""
    radius = 24.0
    centres = _scatter(rng, size, per_256=9, radius=radius * 1.4, touching=0.3)
    count = len(centres)
    major = rng.normal(radius, 4.0, count).clip(15, 34)
    minor = major * rng.uniform(0.6, 0.95, count)
    lobes = rng.normal(0, 1, (count, 4)) * np.array([0.10, 0.10, 0.06, 0.05])
    outlines = _outlines(rng, centres, major, minor, lobes, side=170, arms=5)
    spread = outlines.ratio.clip(0, 1)
    from_centre = np.hypot(outlines.dy, outlines.dx) / minor[:, None, None]
    nucleus = 1 / (1 + np.exp((from_centre - 0.42) * 22))
    organelles = np.exp(-((from_centre - 0.5) ** 2) / 0.12)
    rim = np.exp(-(((spread - 0.9) / 0.09) ** 2))
    inside = outlines.inside

    numbers = outlines.numbers(size)
    mask = numbers > 0
    body = outlines.place((0.55 + 0.35 * (1 - spread) + 0.25 * rim) * inside, size).clip(0, 1.3)
    kernels = outlines.place(nucleus * inside, size).clip(0, 1)
    grain = outlines.place((0.25 + organelles) * inside, size).clip(0, 1.3)

    granules = _texture(rng, size, fine=0.8, coarse=2.2)
    folds = _texture(rng, size, fine=2.0, coarse=6.0)
    phase = gaussian_filter(body, 1.0) * (1 + 0.25 * folds * mask) + 0.35 * gaussian_filter(kernels, 1.0)
    phase += 0.16 * grain * (granules + 0.6 * _texture(rng, size, fine=1.3, coarse=3.5))
    phase += 0.12 * grain * np.clip(granules - 1, 0, None) ** 1.5
    phase -= 0.3 * gaussian_filter(kernels, 1.5) * (1 + 0.3 * folds)
    phase += gaussian_filter(_specks(rng, size, per_256=7) / 150, 1.0)
    phase -= gaussian_filter(_specks(rng, size, per_256=3) / 60, 2.0)
    halo = gaussian_filter(phase, 7.0)
    contrast = -(phase - 1.02 * halo)
    field = 0.45 * (1 + 0.02 * _texture(rng, size, fine=3.0, coarse=12.0)) + 0.26 * gaussian_filter(contrast, 0.7)
    field *= _illumination(rng, size, depth=0.22)
    field += rng.normal(0, 0.011, field.shape)
    return np.rint((field * 255).clip(0, 255)).astype(np.uint8), numbers


def _scatter(rng: Rng, size: int, *, per_256: float, radius: float, touching: float) -> Field:
    """Centres (n, 2) that keep a distance, except for a share of `touching` pairs; some lie beyond the edges."""
    wanted = rng.poisson(per_256 * (size / 256) ** 2)
    chosen: list[Field] = []
    for _ in range(20 * wanted):
        if len(chosen) == wanted:
            break
        if chosen and rng.random() < touching:
            angle, distance = rng.uniform(0, 2 * np.pi), radius * rng.uniform(1.35, 1.75)
            candidate = chosen[rng.integers(len(chosen))] + distance * np.array([np.sin(angle), np.cos(angle)])
            free = 1.3 * radius
        else:
            candidate = rng.uniform(-radius / 2, size + radius / 2, 2)
            free = 2.2 * radius
        if all(np.hypot(*(candidate - other)) > free for other in chosen):
            chosen.append(candidate)
    return np.array(chosen).reshape(-1, 2)


def _outlines(
    rng: Rng, centres: Field, major: Field, minor: Field, lobes: Field, *, side: int, arms: int = 0
) -> Outlines:
    """Ellipses in random directions, bent by `lobes` (n, 4: harmonics 2 to 5), with up to `arms` protrusions."""
    count = len(centres)
    corners = np.floor(centres).astype(np.int64) - side // 2
    rows, columns = np.mgrid[:side, :side]
    dy = rows + (corners[:, 0] - centres[:, 0])[:, None, None]
    dx = columns + (corners[:, 1] - centres[:, 1])[:, None, None]
    turn = rng.uniform(0, 2 * np.pi, count)[:, None, None]
    angle = np.arctan2(dy, dx) - turn
    a, b = major[:, None, None], minor[:, None, None]
    outline = a * b / np.hypot(b * np.cos(angle), a * np.sin(angle))
    bend = np.ones_like(outline)
    for order in range(lobes.shape[1]):
        bend += lobes[:, order, None, None] * np.cos((order + 2) * angle + rng.uniform(0, 2 * np.pi, (count, 1, 1)))
    for _ in range(arms):
        length = rng.uniform(0, 1.3, (count, 1, 1)) * (rng.random((count, 1, 1)) < 0.7)
        width = rng.uniform(0.15, 0.3, (count, 1, 1))
        bend += length * np.exp((np.cos(angle - rng.uniform(0, 2 * np.pi, (count, 1, 1))) - 1) / width**2)
    return Outlines(np.hypot(dy, dx) / (outline * bend.clip(0.5, None)), dy, dx, corners)


def _nucleoli(rng: Rng, outlines: Outlines, minor: Field, most: int = 4) -> Field:
    """Dark spots (n, P, P), 0..1, up to `most` a nucleus."""
    count = len(minor)
    dark = np.zeros_like(outlines.ratio)
    for _ in range(most):
        oy, ox = (rng.normal(0, 0.35, (count, 1, 1)) * minor[:, None, None] for _ in range(2))
        spread = rng.uniform(1.2, 2.6, (count, 1, 1))
        depth = rng.uniform(0.1, 0.4, (count, 1, 1)) * (rng.random((count, 1, 1)) < 0.5)
        dark += depth * np.exp(-((outlines.dy - oy) ** 2 + (outlines.dx - ox) ** 2) / (2 * spread**2))
    return dark.clip(0, 0.6)


def _texture(rng: Rng, size: int, *, fine: float, coarse: float) -> Field:
    """Noise (size, size) with structure between two widths in pixels; mean 0, standard deviation 1."""
    white = rng.standard_normal((size, size))
    band = gaussian_filter(white, fine, mode="wrap") - gaussian_filter(white, coarse, mode="wrap")
    normalised: Field = band / band.std()
    return normalised


def _specks(rng: Rng, size: int, *, per_256: float) -> Field:
    """Debris of one to three pixels, brighter than background, not part of any mask."""
    specks = np.zeros((size, size))
    for _ in range(rng.poisson(per_256 * (size / 256) ** 2)):
        y, x = rng.integers(0, size - 2, 2)
        specks[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] += rng.uniform(80, 600)
    return specks


def _illumination(rng: Rng, size: int, *, depth: float) -> Field:
    """An uneven field (size, size) with mean 1: brightest near the middle, darker by about `depth` in the corners."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    cy, cx = rng.uniform(-0.2, 0.2, 2)
    field = 1 - depth * 2 * ((y - cy) ** 2 + (x - cx) ** 2)
    even: Field = field / field.mean()
    return even
