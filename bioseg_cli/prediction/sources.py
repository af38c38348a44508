"""What there is to predict: image files, volumes, and the images of data sets."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.folders import (
    IMAGE_SUFFIXES,
    VOLUME_SUFFIXES,
    images_in,
    is_of_microscope,
    is_volume,
    is_zarr,
    list_images,
    zarr_root,
)
from bioseg_cli.io.images import ImageFile, sha256_of_image
from bioseg_cli.io.names import on_any_disk, stem_of
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.prediction.record import FileFacts
from bioseg_cli.prediction.settings import BESIDE_MASKS, DATASET_SUFFIXES, PredictConfig

_PICTURE_OF_MANY = re.compile(r"_[fs][0-9]{3,}$")


@dataclass(frozen=True)
class OpenSource:
    """An image file, or an image of a data set, whose frames can be read row by row."""

    frames: int
    shape: tuple[int, int, int]
    """(C, H, W) of a frame."""
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None
    read: Callable[[int, int, int], NDArray[Any]]
    """Pixels (C, stop - start, W) of a frame, by its number, start and stop; raises `DataError`."""
    close: Callable[[], None]
    stack: Mapping[str, int] = field(default_factory=dict)
    """The size of each axis of frames, such as {"T": 3, "Z": 5}, in the order of the file; none for a single frame."""
    about: FileFacts = field(default_factory=FileFacts)
    """What a file says of itself; nothing for an image of a data set."""
    reduction: tuple[float, float] = (1.0, 1.0)
    """How many pixels of the full resolution a pixel stands for, along the height and along the width."""


@dataclass(frozen=True)
class Source:
    """One thing to predict: an image file with all its frames, or one image of a data set."""

    path: Path
    name: str
    """Its outputs are called this, before the suffix."""
    open: Callable[[int], OpenSource]
    """Called with the channels that the model takes; raises `DataError` where it is not a readable image."""


@dataclass(frozen=True)
class VolumeSource:
    """A volume to predict slice by slice."""

    path: Path
    name: str
    """See `Source`."""


AnySource = Source | VolumeSource


def find_sources(config: PredictConfig, opened: ExitStack) -> list[AnySource]:
    """Everything `config` names, in order, that of all parts; the data sets among it are opened on `opened`.

    Raises:
        DataError: a path that does not exist, a folder without images, or a data set without images of the split.
        UsageError: two sources would have the same mask file, a mask would replace an image or lie among other
            outputs, or an option that does not go with what is given; or there are volumes, and a package that reads
            them is not installed.
    """
    sources: list[AnySource] = []
    suffixes = (*IMAGE_SUFFIXES, *VOLUME_SUFFIXES)
    for given in (*config.inputs, *_listed(config.files_from)):
        if is_dataset(given):
            dataset = opened.enter_context(Dataset(given))
            chosen = range(dataset.size) if config.split == "all" else dataset.indices(config.split).tolist()
            if not chosen:
                raise DataError(f"The data set has no {config.split} images", where=given, fix="Give another --split.")
            sources += [_dataset_source(dataset, index) for index in chosen]
            continue
        if config.recursive and given.is_dir() and not is_zarr(given):
            below = images_in(given, suffixes, recursive=True, without=config.out)
            named = {path: _stem(path.relative_to(given)) for path in below}
        else:
            named = {path: _name(path) for path in list_images([given], suffixes)}
        named = dict(_single_images(named))
        sources += file_sources(list(named), config.stacks, list(named.values()))
    if config.zarr_labels is None:
        _check_names(sources, config.out)
    if config.overlay:
        _check_pictures(sources, config.out)
    _check_options(sources, config)
    if of_microscopes := [source.path for source in sources if is_of_microscope(source.path)]:
        from bioseg_cli.io.microscopes import check_installed  # as below

        check_installed(of_microscopes)
    if any(isinstance(source, VolumeSource) for source in sources):
        import bioseg_cli.io.volumes  # noqa: F401 - where a package is missing, that is said before anything is written
    return sources


def is_dataset(path: Path) -> bool:
    """Whether a path is that of a data set, by its name."""
    return path.suffix.lower() in DATASET_SUFFIXES


def file_sources(paths: Sequence[Path], stacks: Stacks, names: Sequence[str]) -> list[AnySource]:
    """Image files, whose axes are named by `stacks` where they do not do so, and volumes.

    Args:
        paths: of the files.
        stacks: what the user said of files with several images.
        names: of the outputs.
    """
    return [
        VolumeSource(path, name) if is_volume(path) else _image_source(path, stacks, name)
        for path, name in zip(paths, names, strict=True)
    ]


def _listed(name: str | None) -> list[Path]:
    """The paths in a list of files, or on the standard input."""
    if name is None:
        return []
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"The list of files cannot be read: {error.strerror}", where=name) from error
    paths = [Path(line) for line in text.split("\n") if line.strip()]
    if not paths:
        where = "the standard input" if name == "-" else name
        raise DataError("The list of files is empty", where=where, fix="Write one path per line.")
    return paths


def _single_images(named: Mapping[Path, str]) -> Iterator[tuple[Path, str]]:
    """The same paths and names, with the images of an OME-Zarr folder instead of the folder: PLATE-A-1-0."""
    for path, name in named.items():
        if not is_zarr(path):
            yield path, name
            continue
        from bioseg_cli.io.ome_zarr import images_of  # not installed with every bioseg

        for image in images_of(path):
            yield image, "-".join((name, *image.relative_to(path).parts))


def _name(path: Path) -> str:
    """A file without folder and suffix; of an image inside an OME-Zarr folder, the folder and the way to the image."""
    inside = path.relative_to(root := zarr_root(path)).parts if is_zarr(path) else ()
    return "-".join((_stem(Path(root.name)), *inside)) if inside else _stem(Path(path.name))


def _stem(path: Path) -> str:
    """A path without the suffix of an image or a volume, with slashes."""
    volume = next((suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)), None)
    stem = stem_of(path) if volume is None else path.name[: -len(volume)]
    return path.with_name(stem).as_posix()


def _dataset_source(dataset: Dataset, index: int) -> Source:
    def opened(_channels: int) -> OpenSource:
        # Decoded when rows are asked for, and then once.
        image = cache(lambda: dataset.image(index))
        return OpenSource(
            frames=1,
            shape=dataset.image_shape,
            dtype=dataset.image_dtype,
            pixel_size=dataset.info.pixel_size,
            read=lambda _, start, stop: image()[:, start:stop],
            close=lambda: None,
        )

    return Source(dataset.path, dataset.name(index), opened)


def _image_source(path: Path, stacks: Stacks, name: str) -> Source:
    def opened(channels: int) -> OpenSource:
        sha256 = sha256_of_image(path, stacks.level)
        file = ImageFile(path, replace(stacks, channels=channels))
        info = file.info
        about = FileFacts(sha256=sha256)
        if info.axes is not None:
            about = about.having(axes=info.axes.shown, axes_by=info.axes.by)
        if info.no_size is not None:
            about = about.having(no_pixel_size=info.no_size)
        if info.notes:
            about = about.having(notes=info.notes)
        return OpenSource(
            frames=info.frames,
            shape=(info.channels, info.height, info.width),
            dtype=info.dtype,
            pixel_size=info.pixel_size,
            read=lambda frame, start, stop: file.read(frame, slice(start, stop)),
            close=file.close,
            stack=info.stack,
            about=about,
            reduction=info.reduction,
        )

    return Source(path, name, opened)


def _check_options(sources: Sequence[AnySource], config: PredictConfig) -> None:
    volume = next((source for source in sources if isinstance(source, VolumeSource)), None)
    if config.axis is not None and volume is None:
        known = ", ".join(VOLUME_SUFFIXES)
        raise UsageError("--axis is for volumes, and there is none", fix=f"Files that count as volumes: {known}.")
    without_levels = next((source for source in sources if volume is source or is_dataset(source.path)), None)
    if config.level and without_levels is not None:
        what = "Volumes and data sets have no levels of a pyramid"
        raise UsageError(what, where=without_levels.path, fix="Leave out --level.")
    if config.probabilities and volume is not None:
        what = "Probabilities are written for images, not for volumes"
        raise UsageError(what, where=volume.path, fix="Leave out --probabilities.")
    if config.objects and volume is not None:
        what = "Objects are written for images, not for volumes"
        raise UsageError(what, where=volume.path, fix="Leave out --objects.")
    if config.lut and volume is not None:
        what = "Colours are written into the masks of images, not into those of volumes"
        raise UsageError(what, where=volume.path, fix="Leave out --lut.")


def _check_names(sources: Sequence[AnySource], out: Path) -> None:
    owners: dict[str, AnySource] = {}
    inputs = {source.path.resolve() for source in sources}
    for source in sources:
        mask = mask_path(out, source)
        first = owners.setdefault(on_any_disk(mask_name(source)), source)
        if first is not source:
            raise UsageError(
                f"{first.path} and {source.path} would have the same mask {mask.name}",
                where=out,
                fix="Predict them one after the other, each with its own --out.",
            )
        if (beside := on_any_disk(source.name).partition("/")[0]) in BESIDE_MASKS and "/" in source.name:
            what = (
                f"The mask of {source.path} would lie in the folder {beside}, which is for what is written beside masks"
            )
            raise UsageError(
                what,
                where=out,
                fix="Rename the folder of the image, or predict that folder by itself, with its own --out.",
            )
        if mask.resolve() in inputs:
            raise UsageError("The mask would replace the image", where=mask, fix="Choose another --out.")


def _check_pictures(sources: Sequence[AnySource], out: Path) -> None:
    """Refuse two sources of which one may be called like the picture of a frame (NAME_f000) or slice of the other."""
    owners = {on_any_disk(source.name): source for source in sources}
    for source in sources:
        first = owners.get(_PICTURE_OF_MANY.sub("", on_any_disk(source.name)), source)
        if first is not source:
            raise UsageError(
                f"Pictures of {first.path} and {source.path} would have the same names",
                where=out,
                fix="Predict them one after the other, each with its own --out, or leave out --overlay.",
            )


def mask_path(out: Path, source: AnySource) -> Path:
    """Where the mask of a source goes."""
    return out / mask_name(source)


def mask_name(source: AnySource) -> str:
    """The path of the mask of a source in the output folder, with slashes; no two sources have the same."""
    return f"{source.name}{'.nii.gz' if isinstance(source, VolumeSource) else '.tif'}"
