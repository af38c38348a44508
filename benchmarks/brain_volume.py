"""Generated brain-like volumes of any size, written plane by plane: bright outside, folded grey and white matter.

The shape of the data is what matters for speed: intensities with the noise of a scan, classes in large regions.
"""

from __future__ import annotations

import argparse
import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

GREYS = np.array([252, 250, 120, 165, 110, 190, 130, 90, 140, 175], dtype=np.int16)
"""Intensity by class, with BigBrain's polarity: a bright background, and grey matter darker than white."""
FOLDS = 24
"""Length of a cortical fold: so many of them go into the volume's first axis."""


def write_volumes(shape: tuple[int, int, int], folder: Path, voxel: float) -> tuple[Path, Path]:
    """Write an image and its 9 classes, uint8, gzipped NIfTI with axes (x, y, z); return their paths.

    Args:
        shape: voxels along x, y, z.
        folder: to write to.
        voxel: edge of a voxel in millimetres.
    """
    paths = folder / "image.nii.gz", folder / "classes.nii.gz"
    affine = np.diag([voxel, voxel, voxel, 1])
    affine[:3, 3] = -voxel * (np.array(shape) - 1) / 2
    with gzip.open(paths[0], "wb", compresslevel=1) as image, gzip.open(paths[1], "wb", compresslevel=1) as classes:
        for stream in (image, classes):
            header = nib.Nifti1Header()
            header.set_data_dtype(np.uint8)
            header.set_data_shape(shape)
            header.set_sform(affine, code="scanner")
            header.set_xyzt_units("mm")
            header["vox_offset"] = 352
            stream.write(header.binaryblock + bytes(4))
        with ThreadPoolExecutor(2) as pool:
            for z in range(shape[2]):
                pixels, codes = _plane(z, shape)
                list(pool.map(lambda each: each[0].write(each[1].tobytes()), ((image, pixels), (classes, codes))))
    return paths


def _plane(z: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and classes (Y, X) of one plane."""
    width, height, depth = shape
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    height_of_plane = np.float32(2 * z / max(1, depth - 1) - 1)
    turn = np.float32(np.pi * FOLDS)
    folds = np.sin(turn * x) * np.sin(turn * y) * np.float32(0.05) + np.float32(0.05) * np.sin(turn * height_of_plane)
    radius = np.sqrt(x * x + y * y + height_of_plane**2) * np.float32(1.1) + folds
    codes = np.ones((height, width), dtype=np.uint8)
    for bound, code in ((0.95, 5), (0.93, 2), (0.8, 3), (0.3, 6), (0.08, 7)):
        codes[radius < bound] = code
    low = (y > np.float32(0.4)) & (height_of_plane < np.float32(-0.4)) & (codes == 3)
    codes[low] = np.where(folds[low] > 0, 8, 9)
    noise = np.random.default_rng(z).integers(-12, 13, codes.shape, dtype=np.int16)
    noise[codes == 1] >>= 3
    return (GREYS[codes] + noise).clip(0, 255).astype(np.uint8), codes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(696, 770, 605), metavar=("X", "Y", "Z"))
    parser.add_argument("--voxel", type=float, default=0.2, help="edge of a voxel in millimetres")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_volumes(tuple(options.shape), options.folder, options.voxel)
