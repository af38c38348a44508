"""Recipe for anybody's own images: a folder of images, and a folder of masks for some of them or none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.images import ImageInfo, inspect_image, list_images, read_mask
from bioseg_cli.mask_traits import mask_traits
from bioseg_cli.prepare.masks import PALETTE, MaskReading, MaskSurvey
from bioseg_cli.prepare.recipe import (
    BACKGROUND,
    Collection,
    common_pixel_size,
    file_frames,
    inspect_images,
    listing,
)
from bioseg_cli.prepare.settings import FolderConfig
from bioseg_cli.runs.console import Output

MASK_SUFFIX = re.compile(r"[-_. ](cp_)?(masks?|seg|segmentations?|labels?|gt|annotations?)$", re.IGNORECASE)
IMAGE_SUFFIX = re.compile(r"[-_. ](images?|img|raw)$", re.IGNORECASE)
MASK_PREFIX = re.compile(r"^(man_seg|masks?|seg|segmentations?|labels?|gt|annotations?)([-_. ]|(?=\d))", re.IGNORECASE)
LAST_NUMBER = re.compile(r"\d+$")


def collect(config: FolderConfig, output: Output) -> Collection:
    """Pair images with masks and learn what the masks mean.

    Raises:
        DataError: a folder is missing or empty, a mask has no image, two files claim one image, images of several
            types, masks that fit no reading.
        UsageError: the class names do not fit the masks.
    """
    for folder in (config.images, config.masks):
        if folder is not None and not folder.is_dir():
            raise DataError("There is no such folder", where=folder, fix="Check the path.")
    images, masks = _pair(config.images, config.masks)
    infos = inspect_images(images, output)
    reading = None
    if masks:
        reading = _survey(infos, masks, config, output)
    return Collection(
        images=tuple(
            image
            for info in infos
            for image in file_frames(
                info,
                file=info.path.name,
                group=_group(info.path, config.group_by),
                labels=None if reading is None else _labels_of(masks.get(info.path), reading),
            )
        ),
        classes=reading.classes if reading else (BACKGROUND, ClassInfo(name="foreground", colour=PALETTE[0])),
        channels=infos[0].channels,
        dtype=infos[0].dtype,
        keep_groups=config.split_by != "random",
        masks_read_as=reading.sentence if reading else "there are none: only train-iic can use this data set",
        pixel_size=common_pixel_size(infos),
    )


def _pair(images_folder: Path, masks_folder: Path | None) -> tuple[list[Path], dict[Path, Path]]:
    """The image files, and the mask file of those that have one."""
    images = list_images([images_folder])
    if masks_folder is None:
        together = [path.name for path in images if MASK_SUFFIX.search(path.stem)]
        if together and len(together) < len(images):
            raise DataError(
                f"{listing(together)} look{'s like a mask' if len(together) == 1 else ' like masks'} among the images",
                where=images_folder,
                fix="Give --masks too; it may be the same folder.",
            )
        return images, {}
    if "ERR_SEG" in masks_folder.resolve().name:
        raise DataError(
            "ERR_SEG holds the Cell Tracking Challenge's deliberately wrong masks",
            where=masks_folder,
            fix="Use the ..._ST/SEG or ..._GT/SEG folder.",
        )
    masks = list_images([masks_folder])
    if masks_folder.resolve() == images_folder.resolve():
        masks = [path for path in masks if MASK_SUFFIX.search(path.stem) or MASK_PREFIX.match(path.stem)]
        images = [path for path in images if path not in set(masks)]
        if not masks or not images:
            raise DataError(
                "Images and masks in one folder are told apart by the masks' names, such as NAME_mask.png",
                where=images_folder,
                fix="Rename the masks, or put them into a folder of their own.",
            )
    by_name, by_number = _by_name(images), _by_number(images)
    paired: dict[Path, Path] = {}
    alone: list[str] = []
    for mask in masks:
        image = next((by_name[name] for name in _image_names(mask.stem) if name in by_name), None)
        if image is None and MASK_PREFIX.match(mask.stem) and (number := LAST_NUMBER.search(mask.stem)):
            image = by_number.get(int(number[0]))
        if image is None:
            alone.append(mask.name)
        elif image in paired:
            raise DataError(
                f"{paired[image].name} and {mask.name} are both masks of {image.name}",
                where=masks_folder,
                fix="Keep one of them.",
            )
        else:
            paired[image] = mask
    if alone:
        raise DataError(
            f"{len(alone)} of {len(masks)} masks have no image: {listing(alone)}",
            where=masks_folder,
            fix="Name each mask like its image (NAME_mask and mask_NAME are allowed), or move these away.",
        )
    return images, paired


def _by_name(images: Sequence[Path]) -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in images:
        for name in {path.stem, IMAGE_SUFFIX.sub("", path.stem)}:
            if name in names:
                raise DataError(
                    f"{names[name].name} and {path.name} have one name, so a mask could belong to either",
                    where=path.parent,
                    fix="Rename one of them, or move it away.",
                )
            names[name] = path
    return names


def _by_number(images: Sequence[Path]) -> dict[int, Path]:
    """The images whose names end in a number that no other name ends in."""
    numbered = [(int(number[0]), path) for path in images if (number := LAST_NUMBER.search(path.stem))]
    counts = Counter(number for number, _ in numbered)
    return {number: path for number, path in numbered if counts[number] == 1}


def _image_names(mask_stem: str) -> list[str]:
    """The names the image of a mask may have, the likeliest first."""
    return [mask_stem, MASK_SUFFIX.sub("", mask_stem), MASK_PREFIX.sub("", mask_stem)]


def _survey(infos: Sequence[ImageInfo], masks: dict[Path, Path], config: FolderConfig, output: Output) -> MaskReading:
    survey = MaskSurvey()
    labelled = [info for info in infos if info.path in masks]
    for info in output.track(labelled, "Looking at the masks", len(labelled)):
        path = masks[info.path]
        mask = inspect_image(path)
        if (mask.frames, mask.height, mask.width) != (info.frames, info.height, info.width):
            raise DataError(
                f"The mask is {_extent(mask)}, its image {info.path.name} {_extent(info)}",
                where=path,
                fix="Export the mask at the image's own size, a page for each of its frames.",
            )
        traits = mask_traits(path)
        for frame in range(mask.frames):
            survey.add(read_mask(path, frame), where=path, traits=traits, regions=config.masks_are is None)
    return survey.reading(config.masks_are, config.classes)


def _labels_of(mask: Path | None, reading: MaskReading) -> Callable[[int], Pixels] | None:
    return None if mask is None else partial(_read_labels, mask, reading)


def _read_labels(mask: Path, reading: MaskReading, frame: int) -> Pixels:
    return reading.labels(read_mask(mask, frame), mask_traits(mask))


def _group(path: Path, pattern: str | None) -> str:
    if pattern is None:
        return path.stem
    found = re.search(pattern, path.name)
    if found is None:
        raise DataError(f"--group-by {pattern!r} does not match the name", where=path, fix="Widen the expression.")
    return found[1] if found.re.groups else found[0]


def _extent(info: ImageInfo) -> str:
    frames = f"{info.frames} frames of " if info.frames > 1 else ""
    return f"{frames}{info.height} x {info.width} pixels"
