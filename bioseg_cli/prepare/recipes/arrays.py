"""Recipe for images in memory: numpy arrays that a program has, with masks of class numbers for some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bioseg_cli.config import IGNORE_BY_DTYPE, SplitName
from bioseg_cli.dataset.schema import Drawn, label_dtype
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.arrays import channels_first, checked_values
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.classes import named_classes
from bioseg_cli.prepare.recipe import Collection, Loaded, SourceImage
from bioseg_cli.prepare.settings import FrameConfig

Array = NDArray[Any]


class ArraysConfig(FrameConfig):
    """What is said of arrays; no command has these settings."""

    command: ClassVar[str] = "prepare arrays"
    recipe: ClassVar[str] = "arrays"
    spares_few_labels: ClassVar[bool] = True

    class_names: tuple[str, ...] = Field(min_length=2, description="Names of the classes, the background first.")
    unlabelled_value: int | None = Field(default=None, ge=0, description="Value of pixels that nobody drew.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.class_names)) != len(self.class_names) or "" in self.class_names:
            raise ValueError("--class-names: each class needs a name of its own")
        if self.unlabelled_value is not None and self.unlabelled_value < len(self.class_names):
            raise ValueError(f"--unlabelled-value {self.unlabelled_value} is the number of a class")
        return self


@dataclass(frozen=True)
class ImageArrays:
    """Images that have one number of channels and one type.

    Attributes:
        images: (C, H, W) each.
        labels: (H, W) class numbers of each, or None.
        names: of each.
        groups: of each; None: each is a group of its own.
        splits: of each; None: they are drawn.
        pixel_size: of all, where it is known.
    """

    images: tuple[Array, ...]
    labels: tuple[Array | None, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...] | None
    splits: tuple[SplitName, ...] | None
    pixel_size: PixelSize | None

    @classmethod
    def of(
        cls,
        images: Sequence[Array],
        labels: Sequence[Array | None],
        *,
        axes: str | None,
        names: Sequence[str] | None,
        groups: Sequence[str] | None,
        splits: Sequence[SplitName] | None,
        pixel_size: PixelSize | None,
    ) -> Self:
        """Check what a program gives.

        Raises:
            UsageError: lists of different lengths, names that come twice, an unknown split, or nothing that says which
                axis holds the channels.
            DataError: no image, images of several types, or a mask that does not fit its image.
        """
        if not len(images):
            raise DataError("There is no image", fix="Give at least one.")
        lists = {"labels": labels, "names": names, "groups": groups, "splits": splits}
        for name, given in lists.items():
            if given is not None and len(given) != len(images):
                fix = "Give one for each image" + (", None where it has no mask." if name == "labels" else ".")
                raise UsageError(f"--{name} holds {len(given)}, and there are {len(images)} images", fix=fix)
        called = tuple(f"image_{number:03d}" for number in range(len(images))) if names is None else tuple(names)
        if len(set(called)) != len(called):
            raise UsageError("--names: two images have one name", fix="Give each a name of its own.")
        if unknown := sorted(set(splits or ()) - set(get_args(SplitName))):
            raise UsageError(f"--splits: unknown {', '.join(map(repr, unknown))}", fix="Give train, val or test.")
        frames = tuple(
            channels_first(np.asarray(image), axes, None, name) for image, name in zip(images, called, strict=True)
        )
        first = frames[0]
        for frame, name in zip(frames, called, strict=True):
            if (len(frame), frame.dtype) != (len(first), first.dtype):
                what = (
                    f"The image has {len(frame)} channels of {frame.dtype}, {called[0]} {len(first)} of {first.dtype}"
                )
                raise DataError(what, where=name, fix="All images of a data set share one channel count and type.")
        masks = tuple(None if mask is None else np.asarray(mask) for mask in labels)
        for mask, frame, name in zip(masks, frames, called, strict=True):
            if mask is not None and mask.shape != frame.shape[1:]:
                what = f"The mask is {mask.shape}, its image {frame.shape[1:]}"
                raise DataError(what, where=name, fix="A mask has the height and width of its image.")
            if mask is not None and mask.dtype.kind not in "bui":
                raise DataError(f"The mask is {mask.dtype}", where=name, fix="Give whole numbers: the classes.")
        return cls(
            frames,
            masks,
            called,
            None if groups is None else tuple(groups),
            None if splits is None else tuple(splits),
            pixel_size,
        )


def collect(config: ArraysConfig, arrays: ImageArrays) -> Collection:
    """Records of the arrays, which are checked value by value when they are stored."""
    classes = named_classes(config.class_names, (), found="classes")
    first = checked_values(arrays.images[0][:, :1, :1], arrays.names[0])
    groups = arrays.groups or arrays.names
    splits = arrays.splits or (None,) * len(arrays.images)
    return Collection(
        images=tuple(
            SourceImage(
                file=name,
                frame=0,
                shape=(image.shape[1], image.shape[2]),
                group=group,
                labelled=labels is not None and bool(_drawn(labels, config).any()),
                load=partial(_load, image, labels, config, name),
                official=split,
            )
            for name, image, labels, group, split in zip(
                arrays.names, arrays.images, arrays.labels, groups, splits, strict=True
            )
        ),
        classes=classes,
        channels=len(arrays.images[0]),
        dtype=first.dtype,
        keep_groups=True,
        masks_read_as="class numbers"
        if any(mask is not None for mask in arrays.labels)
        else "there are none: only train_iic can use this data set",
        pixel_size=arrays.pixel_size,
        drawn_in_part=config.unlabelled_value is not None,
    )


def _load(image: Array, labels: Array | None, config: ArraysConfig, name: str) -> Loaded:
    pixels = checked_values(image, name)
    if labels is None:
        return Loaded(pixels, None)
    count, drawn = len(config.class_names), _drawn(labels, config)
    if not drawn.any():
        return Loaded(pixels, None)
    if wrong := sorted({int(value) for value in np.unique(labels[drawn]) if not 0 <= value < count}):
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise DataError(
            f"The mask holds {shown}, and the classes are 0 to {count - 1}",
            where=name,
            fix="Labels are numbers of classes, not of objects: give --class-names for all of them, or "
            "--unlabelled-value for pixels that nobody drew.",
        )
    dtype = label_dtype(count)
    codes = np.where(drawn, labels, IGNORE_BY_DTYPE[dtype]).astype(dtype)
    return Loaded(pixels, Drawn(codes))


def _drawn(labels: Array, config: ArraysConfig) -> NDArray[np.bool_]:
    undrawn = config.unlabelled_value
    return np.ones(labels.shape, dtype=bool) if undrawn is None else labels != undrawn
