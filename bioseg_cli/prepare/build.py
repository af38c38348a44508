"""From a recipe's images to a data set on disk: splits, crops, statistics, one image in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.errors import DataError
from bioseg_cli.files import refuse_existing
from bioseg_cli.prepare import demo, fluohoechst, folder, tracking_challenge
from bioseg_cli.prepare.crops import Crop, centre_crop, cut_items, tile_crops
from bioseg_cli.prepare.recipe import Collection, SourceImage, listing
from bioseg_cli.prepare.settings import (
    DemoConfig,
    FluoGFPConfig,
    FluoHoechstConfig,
    FolderConfig,
    PhCConfig,
    PrepareConfig,
)
from bioseg_cli.prepare.splits import split_groups, split_images, straddling_groups
from bioseg_cli.prepare.statistics import RangeOfChannels
from bioseg_cli.prepare.tally import Repeats, Tally
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.manifest import environment, now, write_manifest

RECIPES: Mapping[type[PrepareConfig], Callable[[Any, Output], Collection]] = {
    DemoConfig: demo.collect,
    FolderConfig: folder.collect,
    FluoHoechstConfig: fluohoechst.collect,
    PhCConfig: tracking_challenge.collect_phc,
    FluoGFPConfig: tracking_challenge.collect_fluogfp,
}
"""The recipe of each settings class. A new data set is a module, its settings, and a line here."""


def build_dataset(config: PrepareConfig, output: Output, *, overwrite: bool) -> dict[str, Any]:
    """Make the data set that `config` describes, with its manifest beside it; return a summary of it.

    Raises:
        UsageError: the output exists and may not be replaced, or options that do not fit the files.
        DataError: files that are missing, unreadable or contradict each other, too few labels, one image in two
            splits, a full disk. No file is left then, and one that existed before stays as it was.
    """
    path, manifest_path = config.path, config.manifest_path
    for existing in (path, manifest_path):
        refuse_existing(existing, overwrite=overwrite)
    started = now()
    collection = RECIPES[type(config)](config, output)
    splits = _choose_splits(collection, config, output)
    summary = _write(collection, splits, config, output, overwrite=overwrite)
    write_manifest(
        manifest_path,
        {
            "command": config.command,
            "config": config.model_dump(mode="json"),
            "status": "finished",
            "dataset": summary,
            "environment": environment(),
            "times": {"started": started, "finished": now()},
        },
    )
    return summary


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
    for split in ("train", "val"):
        if any(labelled) and not any(has and own == split for has, own in zip(labelled, splits, strict=True)):
            raise DataError(
                f"The {split} split has no labelled image",
                fix="Give masks for more images, or change --split-by, --val-share or --test-share.",
            )
    return splits


def _write(
    collection: Collection, splits: list[SplitName], config: PrepareConfig, output: Output, *, overwrite: bool
) -> dict[str, Any]:
    size = _item_size(collection, config)
    plan = [(image, split, _crops(image, size, config)) for image, split in zip(collection.images, splits, strict=True)]
    training = [(image, crop) for image, split, crops in plan if split == "train" for crop in crops]
    ranges = RangeOfChannels(
        config.normalize,
        collection.dtype,
        channels=collection.channels,
        pixels=sum(_area(crop, image) for image, crop in training),
    )
    tally = Tally(collection.classes)
    repeats = Repeats()
    with DatasetWriter(
        config.path,
        count=sum(len(crops) for _, _, crops in plan),
        image_shape=(collection.channels, *size),
        image_dtype=collection.dtype,
        label_dtype=collection.label_dtype,
        overwrite=overwrite,
    ) as writer:
        ignore = int(np.iinfo(collection.label_dtype).max)
        for image, split, crops in output.track(plan, "Writing images", len(plan)):
            pixels, labels = image.load()
            digest = repeats.add(image, split, pixels)
            file_hash = digest if image.file_hash is None else image.file_hash()
            for crop, (part, codes) in zip(crops, cut_items(pixels, labels, crops, ignore), strict=True):
                source = ItemSource(image.file, file_hash, image.frame, (crop.y, crop.x), image.shape)
                writer.add(Item(part, codes, split, image.group, source))
                tally.add(split, codes)
                if split == "train":
                    rows, columns = crop.inside(*image.shape)
                    ranges.add(part[:, rows, columns])
        repeats.refuse_across_splits()
        tally.refuse_single_class()
        normalisation = ranges.normalisation()
        info = DatasetInfo(
            config.recipe,
            _portable_settings(config),
            collection.classes,
            normalisation,
            collection.pixel_size,
        )
        content_hash = writer.finish(info, seed=config.seed)
    notes = [*collection.notes, *_padding_notes(plan, size), *repeats.notes(), *tally.notes()]
    return {
        "path": str(config.path),
        "content_hash": content_hash,
        "recipe": config.recipe,
        "images": tally.images(),
        "image_shape": [collection.channels, *size],
        "image_dtype": str(collection.dtype),
        "classes": [one.name for one in collection.classes],
        "class_shares": tally.shares(),
        "normalisation": normalisation.to_json(),
        "pixel_size": None if collection.pixel_size is None else collection.pixel_size.to_json(),
        "masks": collection.masks_read_as,
        "notes": notes,
    }


def _item_size(collection: Collection, config: PrepareConfig) -> tuple[int, int]:
    """Height and width of every stored image."""
    if config.crop_side:
        return config.crop_side, config.crop_side
    heights, widths = zip(*(image.shape for image in collection.images), strict=True)
    return max(heights), max(widths)


def _crops(image: SourceImage, size: tuple[int, int], config: PrepareConfig) -> list[Crop]:
    return tile_crops(image.shape, size[0]) if config.tile else [centre_crop(image.shape, size)]


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


def _portable_settings(config: PrepareConfig) -> dict[str, Any]:
    """The settings without places on this machine, so that equal data give an equal content hash anywhere."""
    places = {name for name, value in config if isinstance(value, Path)} | {"out", "source", "mirror"}
    return config.model_dump(mode="json", exclude=places)
