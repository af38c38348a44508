"""Slices of a brain volume at random rotations: `bioseg prepare bigbrain` beside what one would write with scipy.

    python -m benchmarks.brain_slices FOLDER           the 200 µm grid of BigBrain, 696 x 770 x 605, with both peers
    python -m benchmarks.brain_slices FOLDER --large   1970 x 2330 x 1890 (8.7 GB a volume), bioseg alone

The peers hold both volumes in memory, sample them in one thread, and write nothing. They are measured on a part and
extrapolated: the loop from 40 slices, the rotated volume from one rotation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import affine_transform, map_coordinates

from benchmarks.brain_volume import write_volumes
from benchmarks.timing import bioseg, run_process
from bioseg_cli.dataset.chunks import create_images, pack, write_packed
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.runs.manifest import environment

SLICES, SIDE, ROTATIONS = 3479, 600, 5
LOOPED = 40
"""Slices that the loop over `map_coordinates` is measured on."""
PACKED = 200
"""Slices that compression and writing are measured on."""


def prepare(volumes: tuple[Path, Path], out: Path, *options: str) -> tuple[float, float]:
    """Run the command in a process of its own; return its seconds and its peak memory in GB."""
    command = bioseg("prepare", "bigbrain", "--quiet", "--overwrite", "--out", out)
    command += ["--image", str(volumes[0]), "--labels", str(volumes[1]), "--slices", str(SLICES), "--crop", str(SIDE)]
    # Whole planes and every slice of them, as the peers make them.
    return run_process([*command, "--split-by", "random", "--min-tissue", "0", *options])


def loop_seconds(image: np.ndarray, classes: np.ndarray, dataset: Path, to_voxels: np.ndarray) -> float:
    """Seconds for all slices, of a loop that samples the data set's own planes from two arrays (x, y, z)."""
    rows, columns = np.mgrid[:SIDE, :SIDE].reshape(2, -1)
    times = []
    with Dataset(dataset) as made:
        for index in range(LOOPED):
            plane = made.source(index).plane
            assert plane is not None
            start = time.perf_counter()
            matrix = to_voxels[:3, :3] @ np.array(plane)
            points = matrix[:, :1] * rows + matrix[:, 1:2] * columns + (matrix[:, 3:] + to_voxels[:3, 3:])
            pixels = map_coordinates(image, points, order=1, cval=250)
            codes = map_coordinates(classes, points, order=0, cval=1)
            times.append(time.perf_counter() - start)
            ours = made.image(index)[0].ravel().astype(int)
            inside = ((points >= 0) & (points <= np.array(image.shape)[:, None] - 1)).all(axis=0)
            if inside.any() and np.abs(ours - pixels)[inside].max() > 1:
                raise SystemExit(f"slice {index} differs from scipy's by more than a grey level")
            kept = np.array([0, 0, 1, 2, 0, 3, 0, 0, 0, 0])[codes]
            if (made.labels(index).ravel() != kept)[inside].mean() > 1e-4:
                raise SystemExit(f"the labels of slice {index} differ from scipy's")
    return statistics.mean(times) * SLICES


def rotation_seconds(image: np.ndarray, classes: np.ndarray, dataset: Path) -> float:
    """Seconds to rotate both volumes about their centre, once for each rotation; measured on the first slice's."""
    with Dataset(dataset) as made:
        rotation = np.array(made.source(0).plane)[:, :3]
    rotation /= np.linalg.norm(rotation, axis=0)
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - rotation @ centre
    start = time.perf_counter()
    affine_transform(image, rotation, offset, order=1, cval=250)
    affine_transform(classes, rotation, offset, order=0, cval=1)
    return (time.perf_counter() - start) * ROTATIONS


def packing_seconds(dataset: Path) -> tuple[float, float]:
    """Seconds of one thread to compress all slices with their labels, and to write what came of it."""
    with Dataset(dataset) as made, tempfile.TemporaryDirectory(dir=dataset.parent) as folder:
        kinds = [[made.image(index) for index in range(PACKED)], [made.labels(index) for index in range(PACKED)]]
        start = time.perf_counter()
        chunks = [[pack(pixels) for pixels in kind] for kind in kinds]
        compressed = time.perf_counter() - start
        start = time.perf_counter()
        with h5py.File(Path(folder) / "packed.h5", "w") as file:
            for name, kind, packed in zip(("images", "labels"), kinds, chunks, strict=True):
                array = create_images(file, name, PACKED, kind[0].shape, kind[0].dtype)
                for index, chunk in enumerate(packed):
                    write_packed(array, index, chunk)
        with (Path(folder) / "packed.h5").open("rb") as stream:
            os.fsync(stream.fileno())
        written = time.perf_counter() - start
    return compressed * SLICES / PACKED, written * SLICES / PACKED


def measure(folder: Path) -> Table:
    """The 200 µm grid: both ways to draw rotations, beside both peers."""
    volumes = _volumes((696, 770, 605), folder / "mid", 0.2)
    out = folder / "slices.h5"
    shared = prepare(volumes, out, "--rotations", str(ROTATIONS))
    own = prepare(volumes, out)
    compressed, written = packing_seconds(out)
    cores = os.cpu_count() or 1
    files = [nib.load(path) for path in volumes]
    image, classes = (np.asarray(file.dataobj) for file in files)
    loop = loop_seconds(image, classes, out, np.linalg.inv(files[0].affine))
    rotated = rotation_seconds(image, classes, out)
    table = Table(title=f"{SLICES} slices of {SIDE} x {SIDE} with labels from 696 x 770 x 605 uint8, gzipped")
    for column in ("", "seconds", "ratio", "peak GB"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("bioseg, a rotation each", f"{own[0]:.1f}", "1", f"{own[1]:.2f}")
    table.add_row(f"bioseg, {ROTATIONS} rotations", f"{shared[0]:.1f}", f"{shared[0] / own[0]:.2f}", f"{shared[1]:.2f}")
    table.add_row(
        f"  of it compression, on {cores} cores", f"{compressed / cores:.1f}", f"{compressed / cores / own[0]:.2f}"
    )
    table.add_row("  of it writing", f"{written:.1f}", f"{written / own[0]:.2f}")
    table.add_row("map_coordinates in a loop, in memory", f"{loop:.1f}", f"{loop / own[0]:.1f}")
    table.add_row(f"volume rotated {ROTATIONS} times, in memory", f"{rotated:.1f}", f"{rotated / own[0]:.1f}")
    out.unlink()
    return table


def measure_large(folder: Path) -> Table:
    """A volume that does not fit into memory."""
    volumes = _volumes((1970, 2330, 1890), folder / "large", 0.1)
    out = folder / "slices.h5"
    seconds, peak = prepare(volumes, out)
    compressed, written = packing_seconds(out)
    cores = os.cpu_count() or 1
    table = Table(title=f"{SLICES} slices of {SIDE} x {SIDE} with labels from 1970 x 2330 x 1890 uint8, gzipped")
    for column in ("", "seconds", "ratio", "peak GB"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("bioseg, a rotation each", f"{seconds:.1f}", "1", f"{peak:.2f}")
    table.add_row(
        f"  of it compression, on {cores} cores", f"{compressed / cores:.1f}", f"{compressed / cores / seconds:.2f}"
    )
    table.add_row("  of it writing", f"{written:.1f}", f"{written / seconds:.2f}")
    out.unlink()
    return table


def _volumes(shape: tuple[int, int, int], folder: Path, voxel: float) -> tuple[Path, Path]:
    paths = folder / "image.nii.gz", folder / "classes.nii.gz"
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        write_volumes(shape, folder, voxel)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the volumes, which are kept, and the slices, which are not")
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    machine = environment()
    console = Console()
    console.print(f"{machine['processor']}, {machine['cores']} cores")
    console.print((measure_large if options.large else measure)(options.folder))


if __name__ == "__main__":
    main()
