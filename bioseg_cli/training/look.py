"""What a network says of unlabelled images, and what the masks that it learnt from look like."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision
from bioseg_cli.dataset.batches import IGNORE, ImageBatch, ImageSource, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.metrics.shapes import ObjectShapes, object_shapes
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.sections import GuardFigures, ObjectFigures

SIDE = 512
"""Of larger images a square of so many pixels is looked at: a training on crops may have no memory for all of them."""

ENOUGH_OBJECTS = 5
"""Whole objects in the masks from which their class has shapes to compare with."""

MOSTLY_WHOLE = 0.5
"""Share of a class's pixels in whole objects from which it has: less have a background, which may enclose a few specks
of itself, and a network such as membranes."""

DIGITS = 4


@dataclass(frozen=True)
class Masks:
    """What the masks look like that a network learnt from.

    Attributes:
        shares: (K,) share of each class in the labelled pixels.
        constant: share of the labelled images that are one class.
        shapes: of the objects of each class, by its code, that has enough of them.
    """

    shares: NDArray[np.float64]
    constant: float
    shapes: Mapping[int, ObjectShapes]

    def figures(self) -> GuardFigures:
        """The figures of the manifest."""
        return GuardFigures(
            shares=_rounded(self.shares),
            constant=round(self.constant, DIGITS),
            objects=_object_figures(self.shapes, len(self.shares)),
        )


@dataclass(frozen=True)
class Look:
    """What a network says of unlabelled images.

    Attributes:
        shares: (N, K) share of each image that is given to each class.
        constant: share of the images that are one class throughout.
        steadiness: share of the pixels whose class stays as it is when the image is reflected, and when it is turned.
        learnt: (K,) share of each class that it gives to labelled pixels that it learnt from.
        taught: (K,) share that each class has of these pixels.
        shapes: of the objects of each class, by its code, that the masks have shapes of.
    """

    shares: NDArray[np.float64]
    constant: float
    steadiness: float
    learnt: NDArray[np.float64]
    taught: NDArray[np.float64]
    shapes: Mapping[int, ObjectShapes]

    def figures(self) -> GuardFigures:
        """The figures of the manifest; the shares in the mean over images, by class."""
        return GuardFigures(
            shares=_rounded(self.shares.mean(axis=0)),
            constant=round(self.constant, DIGITS),
            steadiness=round(self.steadiness, DIGITS),
            learnt=_rounded(self.learnt),
            objects=_object_figures(self.shapes, len(self.learnt)),
        )


def masks_of(dataset: Dataset, labelled: IntArray) -> Masks:
    """What the masks of labelled images look like: shares of whole images, shapes of the squares that are looked at.

    A square that is labelled in part tells of no object whether it ends there, and counts for no shape.
    """
    counts = np.zeros((len(labelled), len(dataset.classes)))
    for place, index in enumerate(labelled.tolist()):
        labels = dataset.labels(index)
        counts[place] = np.bincount(labels[labels != dataset.ignore], minlength=counts.shape[1])
    squares = [_inside(batch.labels, batch) for batch in _squares(dataset, labelled, labels=True)]
    drawn = [square for square in squares if (square != IGNORE).all()]
    shapes = {value: object_shapes(drawn, value) for value in range(counts.shape[1])}
    return Masks(
        counts.sum(axis=0) / counts.sum(),
        float(np.mean((counts > 0).sum(axis=1) == 1)),
        {
            value: found
            for value, found in shapes.items()
            if found.whole >= ENOUGH_OBJECTS and found.whole_share >= MOSTLY_WHOLE
        },
    )


@torch.inference_mode()
def look_at(
    network: UNet,
    dataset: Dataset,
    images: IntArray,
    labelled: IntArray,
    precision: Precision,
    shaped: Collection[int],
) -> Look:
    """What a network says of images, or of a square of each, the same for every network; padding is left out.

    Args:
        network: predicts classes with the head `main`.
        dataset: with the images.
        images: unlabelled ones; masks that they have are not read.
        labelled: images that the network learnt from.
        precision: with the device.
        shaped: codes of the classes whose objects are measured.
    """
    network.eval()
    shares, steady, maps = [], [], []

    def classes(pixels: torch.Tensor) -> torch.Tensor:
        with precision.autocast():
            found: torch.Tensor = network(pixels.contiguous(memory_format=torch.channels_last))["main"]
        return found.float().argmax(dim=1)

    for batch in _squares(dataset, images, labels=False):
        batch = batch.to(precision.device)
        shown, plain = batch.shown[:, 0] > 0, classes(batch.images)
        counts = torch.bincount(plain[shown], minlength=len(dataset.classes)).cpu().double()
        shares.append((counts / counts.sum()).numpy())
        reflected = classes(batch.images.flip(-1)).flip(-1)
        turned = torch.rot90(classes(torch.rot90(batch.images, 1, (-2, -1))), -1, (-2, -1))
        steady += [float((other == plain)[shown].float().mean()) for other in (reflected, turned)]
        maps.append(_inside(plain, batch))
    learnt, taught = np.zeros(len(dataset.classes)), np.zeros(len(dataset.classes))
    for batch in _squares(dataset, labelled, labels=True):
        batch = batch.to(precision.device)
        counted = batch.labels != IGNORE
        for sums, said in ((learnt, classes(batch.images)), (taught, batch.labels)):
            sums += torch.bincount(said[counted], minlength=len(sums)).cpu().numpy()
    every = np.array(shares)
    return Look(
        every,
        float(np.mean(every.max(axis=1) == 1)),
        float(np.mean(steady)),
        learnt / learnt.sum(),
        taught / taught.sum(),
        {value: object_shapes(maps, value) for value in shaped},
    )


def _squares(dataset: Dataset, images: IntArray, *, labels: bool) -> Iterator[ImageBatch]:
    """Each image by itself, or a square of it that its index alone decides on; with `labels` around labelled pixels."""
    source = ImageSource(dataset, 0, labels=labels)
    for index in images.tolist():
        where = random_stream(0, "crop", index)
        yield source.batch(np.array([index]), crop=SIDE, random=where, around_labels=labels)


def _inside(codes: torch.Tensor, batch: ImageBatch) -> NDArray[np.int32]:
    """The codes (H, W) of one image without its padding, whose edge cuts objects as that of the image does."""
    shown = batch.shown[0, 0].cpu().numpy() > 0
    inside: NDArray[np.int32] = codes[0].cpu().numpy().astype(np.int32)[np.ix_(shown.any(axis=1), shown.any(axis=0))]
    return inside


def _rounded(shares: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(share, DIGITS) for share in shares.tolist())


def _object_figures(shapes: Mapping[int, ObjectShapes], classes: int) -> tuple[ObjectFigures | None, ...]:
    """The figures of the manifest, by class; None for one without shapes."""
    return tuple(
        None
        if (found := shapes.get(value)) is None
        else ObjectFigures(
            per_image=round(found.per_map, 1),
            size=round(found.size),
            solidity=None if found.solidity is None else round(found.solidity, DIGITS),
        )
        for value in range(classes)
    )
