"""Generated inputs. Where the content does not matter for time it is noise, elsewhere fields of stained nuclei."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.prepare.recipes.synthetic import nuclei

FIELDS = 8
"""Different fields that are drawn; the others are these turned and flipped, with noise of their own."""
NOISE = 8
"""Grey levels of it."""


def noise_dataset(folder: Path, size: int, training: int = 8, validation: int = 1) -> Path:
    """Training and validation images whose content does not matter for time."""
    path = folder / "noise.h5"
    random = np.random.default_rng(0)
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 255, 0)))
    count = training + validation
    with DatasetWriter(path, count=count, image_shape=(1, size, size), image_dtype=np.uint16) as writer:
        for index in range(count):
            image = random.integers(0, 4096, (1, size, size), dtype=np.uint16)
            labels = (image[0] > 2048).astype(np.uint8)
            source = ItemSource(f"{index}.tif", f"{index:064x}", 0, (0, 0), (size, size))
            writer.add(Item(image, labels, "train" if index < training else "val", str(index), source))
        normalisation = Normalisation(method="minmax", low=(0.0,), high=(4095.0,))
        writer.finish(DatasetInfo("noise", {}, classes, normalisation))
    return path


def fields(size: int, count: int) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.bool_]]]:
    """`count` fields of nuclei, `size` x `size` pixels of 16 bit, with where the nuclei are."""
    random = np.random.default_rng(0)
    generated = (nuclei(random, size) for _ in range(min(FIELDS, count)))
    drawn = [(image, numbers > 0) for image, numbers in generated]
    for _ in range(count):
        pair = drawn[random.integers(len(drawn))]
        turn, flip = int(random.integers(4)), random.random() < 0.5
        image, mask = (np.rot90(part.T if flip else part, turn) for part in pair)
        yield image + random.integers(0, NOISE, image.shape, dtype=np.uint16), mask


def write_folder(folder: Path, count: int, size: int) -> tuple[Path, Path]:
    """Write fields and masks as TIFF, and return both folders."""
    folders = folder / "images", folder / "masks"
    for path in folders:
        path.mkdir(parents=True)
    for number, (image, mask) in enumerate(fields(size, count)):
        tifffile.imwrite(folders[0] / f"{number:05}.tif", image)
        tifffile.imwrite(folders[1] / f"{number:05}.tif", mask.astype(np.uint8) * 255)
    return folders


def write_large_image(path: Path, side: int, tile: int, compression: str | None) -> None:
    """Write a tiled TIFF of `side` x `side` pixels, uint16, tile by tile: never more than a few tiles in memory.

    Each tile is a field of nuclei of its own; that nuclei end where tiles meet does not matter for time.
    """
    across = -(-side // tile)
    partial = path.with_suffix(".partial")
    with tifffile.TiffWriter(partial, bigtiff=side * side * 2 > 1 << 31) as writer:
        writer.write(
            (image for image, _ in fields(tile, across * across)),
            shape=(side, side),
            dtype=np.uint16,
            tile=(tile, tile),
            compression=compression,
            photometric="minisblack",
        )
    partial.rename(path)


def mosaic(side: int, tile: int) -> NDArray[np.uint16]:
    """The same content in memory: (side, side)."""
    across = -(-side // tile)
    images = [image for image, _ in fields(tile, across * across)]
    return np.block([images[row * across : (row + 1) * across] for row in range(across)])[:side, :side]
