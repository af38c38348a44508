"""Data sets: from files or arrays, and opened to look into."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from bioseg_cli.api.settings import ArgumentNames, settings_of
from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.arrays import ArraysConfig, ImageArrays, collect
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.result import PreparationResult
from bioseg_cli.runs.logged import LoggedOutput

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class PreparedDataset:
    """A data set that was written. Wherever a path of a data set is wanted, this is one.

    Attributes:
        path: the file.
        content_hash: SHA-256 of everything in it.
        images: numbers of `labelled` and `unlabelled` images by split.
        image_shape: (C, H, W) of every stored image.
        classes: names of the classes, the background first.
        masks: how masks became classes, in a sentence.
        notes: what else must be known of it, in sentences.
        warnings: what may make its scores wrong, in sentences.
    """

    path: Path
    content_hash: str
    images: Mapping[str, Mapping[str, int]]
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    masks: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def __fspath__(self) -> str:
        return os.fspath(self.path)


def open_dataset(path: AnyPath) -> Dataset:
    """Open a prepared data set for reading; use it in a `with` statement.

    Raises:
        DataError: no such file, not a data set of bioseg, a newer one, or a damaged one.
    """
    return Dataset(Path(path))


def prepare_folder(
    images: AnyPath, masks: AnyPath | None = None, *, out: AnyPath, overwrite: bool = False, **settings: Any
) -> PreparedDataset:
    """Make a data set from a folder of images, and a folder of masks for some of them or none.

    Args:
        images: folder of images, all of one type.
        masks: folder of masks, named like their images.
        out: data set to write, NAME.h5.
        overwrite: replace an earlier one.
        settings: those of `bioseg prepare folder`, such as `val_share=0.2`.

    Raises:
        UsageError: `out` exists, or settings that do not fit each other or the files.
        DataError: files that are missing, unreadable or contradict each other.
    """
    output = LoggedOutput()
    names = ArgumentNames(FolderConfig)
    with names:
        config = settings_of(FolderConfig, {"images": images, "masks": masks, "out": out, **settings})
        return _prepared(session.run(config, output, overwrite=overwrite), output, names)


def prepare_arrays(
    images: Sequence[NDArray[Any]],
    labels: Sequence[NDArray[Any] | None],
    *,
    out: AnyPath,
    class_names: Sequence[str],
    unlabelled_value: int | None = None,
    axes: Literal["YX", "YXC", "CYX"] | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    splits: Sequence[SplitName] | None = None,
    pixel_size: PixelSize | float | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> PreparedDataset:
    """Make a data set from images in memory.

    The content hash is a function of the pixels, labels, names, groups, splits and settings. That of files with the
    same pixels is another one: it also holds the hashes of the files.

    Args:
        images: N images, (H, W) or with channels, of one type; sizes may differ.
        labels: N masks (H, W) of class numbers, or None for an image without one.
        out: data set to write, NAME.h5.
        class_names: of the classes 0, 1, ..., the background first.
        unlabelled_value: value of pixels that nobody drew, in masks that are drawn in part.
        axes: what the axes of images with channels are.
        names: of the images; by default image_000, image_001, ...
        groups: images of one group never straddle splits; by default each is a group of its own.
        splits: train, val or test for each image; by default they are drawn.
        pixel_size: of all images; a number is micrometres.
        overwrite: replace an earlier one.
        settings: those of `bioseg prepare folder` that are not about files: `crop`, `tile`, `val_share`, `test_share`,
            `normalize`, `seed`, `picture`.

    Raises:
        UsageError: `out` exists, lists of different lengths, or settings that do not fit.
        DataError: images of several types, labels without a class, or masks of another size than their images.
    """
    size = PixelSize(pixel_size, pixel_size) if isinstance(pixel_size, float | int) else pixel_size
    given = {"out": out, "class_names": tuple(class_names), "unlabelled_value": unlabelled_value, **settings}
    output = LoggedOutput()
    arguments = ArgumentNames(ArraysConfig, "axes", "names", "labels", "groups", "splits")
    with arguments:
        config = settings_of(ArraysConfig, given)
        arrays = ImageArrays.of(images, labels, axes=axes, names=names, groups=groups, splits=splits, pixel_size=size)
        result = session.build(config, partial(collect, config, arrays), output, overwrite=overwrite)
        return _prepared(result, output, arguments)


def _prepared(result: PreparationResult, output: LoggedOutput, arguments: ArgumentNames) -> PreparedDataset:
    return PreparedDataset(
        path=result.path,
        content_hash=result.content_hash,
        images=result.images,
        image_shape=result.image_shape,
        classes=result.classes,
        masks=result.masks,
        notes=tuple(map(arguments, result.notes)),
        warnings=tuple(map(arguments, output.warnings)),
    )
