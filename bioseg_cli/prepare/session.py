"""From a recipe's images to a data set on disk: splits, crops, statistics, a few images in memory at a time.

Threads load, cut, hash and compress the images; one thread writes them in their order and keeps the counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.config import SplitName, flag_of
from bioseg_cli.dataset.crops import Crop, centre_crop, cut_items, tile_area, tile_crops
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DRAWN_IN_PART, LEFT_OUT, DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter, PackedItem
from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.files import refuse_existing
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.prepare.counts import DatasetCounts, Fingerprint, Repeats
from bioseg_cli.prepare.recipe import Collection, SourceImage
from bioseg_cli.prepare.result import PreparationResult
from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.prepare.splits import affordable_shares, split_groups, split_images, straddling_groups
from bioseg_cli.prepare.statistics import RangeOfChannels
from bioseg_cli.printable import listing
from bioseg_cli.runs.manifest import environment, now, write_manifest
from bioseg_cli.runs.output import Output

PREFETCH_BYTES = 1 << 30
"""Images that are ready before they are written take this much memory, and about as much again for their parts."""


def run(config: PrepareConfig, output: Output, *, overwrite: bool) -> PreparationResult:
    """Make the data set that `config` describes, with its manifest, and a picture if one is asked for, beside it.

    Raises:
        UsageError: the output exists and may not be replaced, or options that do not fit the files.
        DataError: files that are missing, unreadable or contradict each other, too few labels, one image in two
            splits, a full disk. No file is left then, and one that existed before stays as it was. Where only the
            picture does not fit on the disk, the data set is whole and stays.
    """
    return build(config, partial(config.collect, output), output, overwrite=overwrite)


def build(
    config: PrepareConfig, collect: Callable[[], Collection], output: Output, *, overwrite: bool
) -> PreparationResult:
    """Make a data set of the images that `collect` finds; see `run`."""
    with owned_file(config.path, say=output.say):
        for existing in (config.path, config.manifest_path, *([config.picture_path] if config.picture else [])):
            refuse_existing(existing, overwrite=overwrite)
        return _build(config, collect, output, overwrite=overwrite)


def _build(
    config: PrepareConfig, collect: Callable[[], Collection], output: Output, *, overwrite: bool
) -> PreparationResult:
    started = now()
    collection = collect()
    try:
        config, collection = _without_unaffordable_splits(config, collection)
        splits = _choose_splits(collection, config, output)
        result = _write(collection, splits, config, output, overwrite=overwrite)
    except BiosegError:
        if collection.discard is not None:
            collection.discard()
        raise
    write_manifest(
        config.manifest_path,
        {
            "command": config.command,
            "config": config.model_dump(mode="json"),
            "status": "finished",
            "dataset": result.to_json(),
            "environment": environment(),
            "times": {"started": started, "finished": now()},
        },
    )
    if collection.discard is not None:
        collection.discard()
    if config.picture:
        # Of all that is imported here, only pictures need matplotlib.
        from bioseg_cli.prepare.picture import write_picture

        with Dataset(config.path) as dataset:
            write_picture(config.picture_path, dataset)
        return dataclasses.replace(result, picture=config.picture_path)
    return result


def _without_unaffordable_splits(config: PrepareConfig, collection: Collection) -> tuple[PrepareConfig, Collection]:
    """The settings and the notes where few images are labelled and no share or split was asked for."""
    given = all(image.official is not None for image in collection.images)
    if given or not config.spares_few_labels:
        return config, collection
    labelled = sum(image.labelled for image in collection.images)
    shares = {"val_share": config.val_share, "test_share": config.test_share}
    affordable = affordable_shares(labelled, **shares)
    withheld = {
        name: share
        for (name, asked), share in zip(shares.items(), affordable, strict=True)
        if share != asked and name not in config.model_fields_set
    }
    if not withheld:
        return config, collection
    splits = " and ".join({"val_share": "for validation", "test_share": "for a test"}[name] for name in withheld)
    note = (
        f"{labelled} labelled image{'s' if labelled > 1 else ''}: with so few, none is held back {splits}, all of them "
        f"train ({' and '.join(map(flag_of, withheld))} would hold some back)"
    )
    return config.model_copy(update=withheld), dataclasses.replace(collection, notes=(*collection.notes, note))


def _choose_splits(collection: Collection, config: PrepareConfig, output: Output) -> list[SplitName]:
    """The official split where there is one, else groups or single images drawn by seed."""
    images = collection.images
    groups = [image.group for image in images]
    labelled = [image.labelled for image in images]
    official = [image.official for image in images if image.official is not None]
    if len(official) == len(images):
        splits = official
    elif collection.keep_groups:
        splits = split_groups(
            groups, labelled, val_share=config.val_share, test_share=config.test_share, seed=config.seed
        )
    else:
        splits = split_images(labelled, val_share=config.val_share, test_share=config.test_share, seed=config.seed)
        if straddling := straddling_groups(groups, splits):
            output.warn(
                f"images of one group train and are scored ({listing(straddling)}). The scores will be too good: the "
                "network has seen the same cells. --split-by group keeps groups apart."
            )
    for split in ("train", "val") if config.val_share else ("train",):
        if any(labelled) and not any(has and own == split for has, own in zip(labelled, splits, strict=True)):
            raise DataError(
                f"The {split} split has no labelled image",
                fix="Give masks for more images, or change --split-by, --val-share or --test-share.",
            )
    return splits


def _write(
    collection: Collection, splits: list[SplitName], config: PrepareConfig, output: Output, *, overwrite: bool
) -> PreparationResult:
    size = _item_size(collection, config)
    plan = [(image, split, _crops(image, size, config)) for image, split in zip(collection.images, splits, strict=True)]
    training = [(image, crop) for image, split, crops in plan if split == "train" for crop in crops]
    ranges = RangeOfChannels(
        config.normalize,
        collection.dtype,
        channels=collection.channels,
        pixels=sum(_area(crop, image) for image, crop in training),
    )
    counts = DatasetCounts(collection.classes)
    repeats = Repeats()
    with DatasetWriter(
        config.path,
        count=sum(len(crops) for _, _, crops in plan),
        image_shape=(collection.channels, *size),
        image_dtype=collection.dtype,
        label_dtype=collection.label_dtype,
        objects=collection.numbers_objects,
        overwrite=overwrite,
    ) as writer:
        pack = partial(_pack, writer, drawn_in_part=collection.drawn_in_part)
        with prefetched_map(pack, plan, most=_prefetched_images(collection)) as packed:
            steps = zip(plan, packed, strict=True)
            for (image, split, crops), (fingerprint, items) in output.track(steps, "Writing images", len(plan)):
                repeats.add(image, split, fingerprint)
                for crop, item in zip(crops, items, strict=True):
                    writer.add_packed(item)
                    area = (
                        tile_area((crop.y, crop.x), image.shape, size[0]) if config.cuts_tiles else _area(crop, image)
                    )
                    counts.add(split, None if item.item.labels is None else item.labels, area)
                    if split == "train":
                        rows, columns = crop.inside(*image.shape)
                        ranges.add(item.item.image[:, rows, columns])
        repeats.refuse_across_splits()
        if (warning := repeats.warning()) is not None:
            output.warn(warning)
        counts.refuse_lost_labels({split for image, split, _ in plan if image.labelled})
        counts.refuse_single_class()
        normalisation = ranges.normalisation()
        info = DatasetInfo(
            config.recipe,
            _portable_settings(config, collection),
            collection.classes,
            normalisation,
            collection.pixel_size,
        )
        content_hash = writer.finish(info, seed=config.seed)
    notes = [*collection.notes, *_padding_notes(plan, size), *repeats.notes(), *counts.notes()]
    return PreparationResult(
        path=config.path,
        content_hash=content_hash,
        recipe=config.recipe,
        images=counts.images(),
        image_shape=(collection.channels, *size),
        image_dtype=str(collection.dtype),
        classes=tuple(cls.name for cls in collection.classes),
        class_shares=counts.shares(),
        labelled_area=counts.labelled_area(),
        normalisation=normalisation,
        pixel_size=collection.pixel_size,
        masks=collection.masks_read_as,
        notes=tuple(notes),
        left_out=collection.left_out,
    )


def _pack(
    writer: DatasetWriter, planned: tuple[SourceImage, SplitName, list[Crop]], *, drawn_in_part: bool
) -> tuple[Fingerprint, list[PackedItem]]:
    """All of the work on one image that needs no other."""
    image, split, crops = planned
    pixels, drawn = image.load()
    fingerprint = Fingerprint.of(pixels)
    file_hash = fingerprint.sha256 if image.file_hash is None else image.file_hash()
    items = []
    labels, objects = (None, None) if drawn is None else drawn
    for crop, (part, codes) in zip(crops, cut_items(pixels, labels, crops, writer.ignore), strict=True):
        plane = None if image.plane is None else crop.plane(image.plane)
        if drawn_in_part and codes is not None and (codes == writer.ignore).all():
            codes = None  # a part of the image in which nobody drew has no label
        source = ItemSource(image.file, file_hash, image.frame, (crop.y, crop.x), image.shape, plane)
        numbers = None if objects is None or codes is None else crop.cut(objects, 0)
        items.append(writer.pack(Item(part, codes, split, image.group, source, numbers)))
    return fingerprint, items


def _prefetched_images(collection: Collection) -> int:
    """How many images may be ready before they are written: enough for all threads, as far as memory allows."""
    pixels = max(height * width for height, width in (image.shape for image in collection.images))
    bytes_each = pixels * collection.channels * collection.dtype.itemsize
    return int(np.clip(PREFETCH_BYTES // bytes_each, 1, WORKERS + 1))


def _item_size(collection: Collection, config: PrepareConfig) -> tuple[int, int]:
    """Height and width of every stored image."""
    if config.crop_side:
        return config.crop_side, config.crop_side
    heights, widths = zip(*(image.shape for image in collection.images), strict=True)
    return max(heights), max(widths)


def _crops(image: SourceImage, size: tuple[int, int], config: PrepareConfig) -> list[Crop]:
    return tile_crops(image.shape, size[0]) if config.cuts_tiles else [centre_crop(image.shape, size)]


def _area(crop: Crop, image: SourceImage) -> int:
    """Pixels of the crop that show the image."""
    rows, columns = crop.inside(*image.shape)
    area: int = (rows.stop - rows.start) * (columns.stop - columns.start)
    return area


def _padding_notes(plan: list[tuple[SourceImage, SplitName, list[Crop]]], size: tuple[int, int]) -> list[str]:
    shown = sum(_area(crop, image) for image, _, crops in plan for crop in crops)
    stored = size[0] * size[1] * sum(len(crops) for _, _, crops in plan)
    if shown == stored:
        return []
    share = f"{1 - shown / stored:.0%}"
    return [f"{share} of the stored pixels are padding, without label: images smaller than {size[0]} x {size[1]}"]


def _portable_settings(config: PrepareConfig, collection: Collection) -> dict[str, Any]:
    """The settings that say what is in the data set, not where or how: equal data have an equal content hash."""
    places = {name for name, value in config if isinstance(value, Path)} | {"out", "source", "mirror", "picture"}
    # Where every pixel was drawn, it does not matter whether that was said; nor what was allowed and did not occur.
    said = set() if collection.drawn_in_part else {"unlabelled_value"}
    said |= {"recursive", "skip_bad"} | {name for name, value in config if name in ("channel", "level") and not value}
    settings = config.model_dump(mode="json", exclude=places | {"workers", "accept_licence"} | said)
    if collection.drawn_in_part:
        settings[DRAWN_IN_PART] = True
    if collection.left_out:
        settings[LEFT_OUT] = [file.record() for file in collection.left_out]
    return settings
