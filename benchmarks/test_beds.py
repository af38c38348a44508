"""Data sets for comparisons at few labels, made of the real images that `BIOSEG_DATA` names.

Fields of BBBC039 as they are (`bbbc039`), with training and validation exchanged (`exchanged`), under few photons
(`noisy`), labelled by strokes alone (`scribbles`), and by one square in each field (`patches`); sections of a fly's
nerve cord with mitochondria (`mitochondria`, at half size) or membranes (`membranes`), in blocks with a gap between
training and validation, and a second stack without labels; and slices of the average of heads at random rotations, with
grey and white matter (`head`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.draw import line
from skimage.io import imread
from skimage.measure import block_reduce
from skimage.morphology import dilation, disk

from benchmarks.timing import bioseg
from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation

Labels = NDArray[np.uint8]
Sample = tuple[str, NDArray[Any], Labels | None, SplitName]
"""Name, image (H, W), class codes with 255 for what nobody drew, split."""

UNDRAWN = 255
PHOTONS = 20
"""Photons that the brightest pixels of `noisy` fields catch."""
STROKES, STROKE_LENGTH, STROKE_RADIUS = 10, 30, 1
"""Strokes a field of `scribbles`, half of them of each class, and pixels of one."""
PATCH = 150
"""Side of the square of `patches`: 16 of them have the area of one field."""
TRAINING_SECTIONS, VALIDATION_SECTIONS = range(9), range(12, 20)


def bbbc039(source: Path) -> Iterator[Sample]:
    """Nuclei of 100 training and 50 validation fields, as the authors list them."""
    folder = source / "BBBC039"
    for split, listed in (("train", "training.txt"), ("val", "validation.txt")):
        for name in (folder / "metadata" / listed).read_text().split():
            stem = Path(name).stem
            image = tifffile.imread(folder / "images" / f"{stem}.tif")
            mask = imread(folder / "masks" / f"{stem}.png")
            yield stem, image, (mask[..., 0] > 0).astype(np.uint8), split  # type: ignore[misc]


def exchanged(source: Path) -> Iterator[Sample]:
    """The same fields, of which the 50 are for training and the 100, on which nothing was chosen, for validation."""
    for name, image, labels, split in bbbc039(source):
        yield name, image, labels, "val" if split == "train" else "train"


def noisy(source: Path) -> Iterator[Sample]:
    """The same fields as a dim exposure shows them: each grey level a number of photons, which scatters."""
    random = np.random.default_rng(0)
    for name, image, labels, split in bbbc039(source):
        low, high = np.percentile(image, (1, 99.9))
        expected = np.clip((image - low) / max(high - low, 1), 0, None) * PHOTONS + 1
        yield name, random.poisson(expected).astype(np.uint16), labels, split


def scribbles(source: Path) -> Iterator[Sample]:
    """The same fields, of which someone drew strokes: straight lines within nuclei and within background."""
    random = np.random.default_rng(0)
    for name, image, labels, split in bbbc039(source):
        yield name, image, labels if split == "val" else strokes(labels, random), split


def strokes(labels: Labels, random: np.random.Generator) -> Labels:
    """What `STROKES` strokes tell of a mask; 255 elsewhere. A class that is not there gets none."""
    drawn = np.full_like(labels, UNDRAWN)
    for number in range(STROKES):
        inside = labels == number % 2
        if not inside.any():
            continue
        row, column = random.choice(np.argwhere(inside))
        angle = random.uniform(0, 2 * np.pi)
        end = row + STROKE_LENGTH * np.sin(angle), column + STROKE_LENGTH * np.cos(angle)
        rows, columns = line(row, column, round(end[0]), round(end[1]))
        seen = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
        stroke = np.zeros(labels.shape, bool)
        stroke[rows[seen], columns[seen]] = True
        drawn = np.where(dilation(stroke, disk(STROKE_RADIUS)) & inside, labels, drawn)
    return drawn


def patches(source: Path) -> Iterator[Sample]:
    """The same fields, each labelled in one square at random."""
    random = np.random.default_rng(0)
    for name, image, labels, split in bbbc039(source):
        if split == "train":
            row, column = (random.integers(size - PATCH) for size in labels.shape)
            square = np.s_[row : row + PATCH, column : column + PATCH]
            drawn = np.full_like(labels, UNDRAWN)
            drawn[square] = labels[square]
            labels = drawn
        yield name, image, labels, split


def mitochondria(source: Path) -> Iterator[Sample]:
    """Mitochondria in sections of 512 x 512 pixels, each the mean of four, or labelled where any of them is."""
    for name, image, labels, split in sections(source / "VNC", "mitochondria"):
        small = block_reduce(image, (2, 2), np.mean).round().astype(np.uint8)
        yield name, small, None if labels is None else block_reduce(labels > 0, (2, 2), np.max).astype(np.uint8), split


def membranes(source: Path) -> Iterator[Sample]:
    """Membranes in sections of 1024 x 1024 pixels."""
    for name, image, labels, split in sections(source / "VNC", "membranes"):
        yield name, image, None if labels is None else (labels > 0).astype(np.uint8), split


def sections(folder: Path, labels: str) -> Iterator[Sample]:
    """Sections of the first stack with what was drawn on them, and those of the second stack, which nobody labelled."""
    raws = sorted((folder / "stack1" / "raw").iterdir())
    drawn = sorted((folder / "stack1" / labels).iterdir())
    for number, (raw, mask) in enumerate(zip(raws, drawn, strict=True)):
        if number in TRAINING_SECTIONS:
            yield raw.stem, imread(raw), imread(mask), "train"
        elif number in VALIDATION_SECTIONS:
            yield raw.stem, imread(raw), imread(mask), "val"
    for raw in sorted((folder / "stack2" / "raw").iterdir()):
        yield f"stack2-{raw.stem}", imread(raw), None, "train"


HEAD = "head"
TISSUES = "background,grey matter,white matter"


def write_head(source: Path, path: Path) -> None:
    """Slices as `bioseg prepare bigbrain` cuts them, in slabs; a voxel belongs to whatever is most of it."""
    folder = source / "mni152"
    grey, white = (nibabel.load(next(folder.glob(f"*_{tissue}_*.nii.gz"))) for tissue in ("gm", "wm"))
    parts = [np.asarray(tissue.dataobj).astype(int) for tissue in (grey, white)]
    classes = np.stack([255 - sum(parts), *parts]).argmax(axis=0).astype(np.uint8)
    labels = path.with_name("tissues.nii.gz")
    nibabel.Nifti1Image(classes, grey.affine).to_filename(labels)
    image = next(folder.glob("*_t1_*.nii.gz"))
    options = ("--classes", "1,2", "--names", TISSUES, "--slices", "400", "--crop", "192", "--quiet")
    subprocess.run(
        bioseg("prepare", "bigbrain", "--image", image, "--labels", labels, *options, "--out", path), check=True
    )


BEDS: dict[str, tuple[Callable[[Path], Iterator[Sample]], str]] = {
    "bbbc039": (bbbc039, "nucleus"),
    "exchanged": (exchanged, "nucleus"),
    "noisy": (noisy, "nucleus"),
    "scribbles": (scribbles, "nucleus"),
    "patches": (patches, "nucleus"),
    "mitochondria": (mitochondria, "mitochondrion"),
    "membranes": (membranes, "membrane"),
}
"""How each is read, and what its foreground is called."""


def write(bed: str, source: Path, path: Path) -> None:
    """Make a data set of a test bed; all but `head` are normalised by percentiles of the training images."""
    if bed == HEAD:
        write_head(source, path)
        return
    read, foreground = BEDS[bed]
    samples = list(read(source))
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name=foreground, colour=(255, 255, 0)))
    training = np.stack([image for _, image, _, split in samples if split == "train"])
    low, high = np.percentile(training, (0.1, 99.9))
    height, width = samples[0][1].shape
    with DatasetWriter(
        path, count=len(samples), image_shape=(1, height, width), image_dtype=training.dtype.type
    ) as writer:
        for number, (name, image, labels, split) in enumerate(samples):
            place = ItemSource(name, f"{number:064x}", 0, (0, 0), (height, width))
            writer.add(Item(image[None], labels, split, name, place))
        normalisation = Normalisation(method="percentile", low=(float(low),), high=(float(high),))
        writer.finish(DatasetInfo(bed, {}, classes, normalisation))
