"""Whether a data set still is what its content hash says: everything in it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bioseg_cli.dataset.content import ContentHash
from bioseg_cli.dataset.descriptions import PREPARE_AGAIN
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.io.prefetch import WORKERS, prefetched_map

Parts = tuple[Pixels, Pixels]
"""An image (C, H, W) and its labels (H, W), as they are stored."""


def verify_content(dataset: Dataset, track: Callable[[Iterator[Parts]], Iterable[Parts]] = iter) -> None:
    """Read the whole data set and compare it with its content hash.

    Args:
        dataset: open data set.
        track: shows how far along the images are.

    Raises:
        DataError: an image cannot be read, or anything in the data set is not what it was.
    """

    def read(index: int) -> Parts:
        if dataset.numbers_objects:
            dataset.objects(index)  # no part of the content hash, but verified as it is read
        return dataset.image(index), dataset.labels(index)

    with prefetched_map(read, range(dataset.size), most=WORKERS) as parts:
        refuse_changed(dataset, content_hash_of(dataset, track(parts)))


def content_hash_of(dataset: Dataset, parts: Iterable[Parts]) -> str:
    """The content hash that a data set has now.

    Args:
        dataset: open data set.
        parts: all its images and labels, in order.
    """
    content = ContentHash(dataset.image_shape, dataset.image_dtype, dataset.label_dtype)
    for index, (image, labels) in enumerate(parts):
        content.add(
            image,
            labels,
            split=str(dataset.split[index]),
            group=str(dataset.group[index]),
            source=dataset.source(index),
            labelled=bool(dataset.labelled[index]),
        )
    return content.finish(dataset.stored_info, dataset.label_order)


def refuse_changed(dataset: Dataset, found: str) -> None:
    """Raise `DataError` where the content hash that was found is not the one of the data set."""
    if found != dataset.content_hash:
        raise DataError(
            "The data set was changed after it was made: its content is not that of its content hash",
            where=dataset.path,
            fix=PREPARE_AGAIN,
        )
