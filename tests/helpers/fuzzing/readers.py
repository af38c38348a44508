"""The entrances by which bioseg reads bytes from a user, each with the whole files that fuzzed ones are made of."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from helpers.fuzzing import seeds, seeds_of_bioseg
from helpers.fuzzing.seeds import Seed, written_to
from helpers.fuzzing.seeds_of_bioseg import DATA_HASH, training_parts

from bioseg_cli.annotations.folder import find_annotations
from bioseg_cli.annotations.survey import survey_annotations
from bioseg_cli.config import Config, build_config, read_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError, DataError
from bioseg_cli.io.archives import opened_zip
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile, ImageInfo, inspect_image, sha256_of_image
from bioseg_cli.io.legend import Legend
from bioseg_cli.io.ome_zarr import images_of
from bioseg_cli.io.volumes import Volume, open_volume
from bioseg_cli.masks.labkit import labkit_labels
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.model.saved import load_model
from bioseg_cli.objects.tables import join_tables
from bioseg_cli.prediction.record import PredictionRecord
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import find_sources
from bioseg_cli.prepare.recipes.folder_masks import survey_masks
from bioseg_cli.prepare.recipes.settings import FluoHoechstConfig, FolderConfig
from bioseg_cli.prepare.registry import RECIPES
from bioseg_cli.prepare.rejected import Rejected
from bioseg_cli.report.records import read_record
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.logged import LoggedOutput
from bioseg_cli.runs.seen import seen_images
from bioseg_cli.study.grid import expand, read_plan
from bioseg_cli.study.results import RunResult, read_scores
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.state import load_state
from bioseg_cli.training.uda_settings import TrainUDAConfig

_CPU = torch.device("cpu")
_STACKS = (None, Stacks(planes=True), Stacks(planes=True, level=1))
_SIDE = 64
_SETTINGS: Mapping[str, type[Config]] = {
    "uda": TrainUDAConfig, "iic": TrainIICConfig, "predict": PredictConfig,
    **{f"prepare-{name}": RECIPES.load(name) for name in RECIPES.names},
}  # fmt: skip
"""By how the name of the file begins."""


@dataclass(frozen=True)
class Reader:
    """An entrance.

    Attributes:
        seeds: whole files.
        read: reads one, of whatever bytes; raises a `BiosegError` where it is refused.
        share: of a campaign, beside those of the other readers.
    """

    seeds: Callable[[], Iterator[Seed]]
    read: Callable[[Path], None]
    share: int


def read_image(path: Path) -> None:
    """All that commands ask of an image: of stacks as planes, and of pyramids the next level too."""
    refusals = []
    for stacks in _STACKS:
        try:
            _read_pixels(path, stacks)
        except BiosegError as error:
            refusals.append(error)
    sha256_of_image(path)
    if len(refusals) == len(_STACKS):
        raise refusals[0]


def _read_pixels(path: Path, stacks: Stacks | None) -> None:
    with ImageFile(path, stacks) as file:
        info = file.info
        file.read(info.frames - 1, slice(info.height // 2), slice(info.width // 3, info.width))
        file.read()


def read_mask_file(path: Path) -> None:
    """As `prepare folder` surveys and reads a mask, and as the plugin for napari knows one again."""
    info = inspect_image(path, Stacks(planes=True))
    config = FolderConfig(images=path.parent, masks=path.parent, out=path.parent / "a.h5", planes=True)
    rejected = Rejected()
    surveyed = survey_masks([info], {info.path: path}, path.parent, config, rejected, LoggedOutput())
    Legend.read(path)
    if surveyed is None or (drawn := surveyed.mask_of(path)) is None:
        raise DataError("The mask is refused", where=path)
    drawn(0)


def read_ome_zarr(path: Path) -> None:
    for image in images_of(path):
        read_image(image)


def read_volume(path: Path) -> None:
    """Its values in small blocks, and as labels."""
    volume = open_volume(path)
    _read_blocks(volume)
    with contextlib.suppress(DataError):  # intensities need be no labels
        for _ in volume.label_blocks(64):
            pass


def _read_blocks(volume: Volume) -> None:
    for _ in volume.blocks(max(1, volume.shape[0] // 3)):
        pass


def read_dataset(path: Path) -> None:
    with Dataset(path) as dataset:
        for index in range(dataset.size):
            dataset.normalised(index), dataset.name(index), dataset.source(index), dataset.digest(index)
            if dataset.labelled[index]:
                dataset.labelled_area(index), dataset.shown_classes(index)
        dataset.label_subset(ratio=0.5, draw=1)


def read_model(path: Path) -> None:
    load_model(path, _CPU)


def read_state(path: Path) -> None:
    load_state(path, training_parts(), DATA_HASH, _CPU)


def read_run(path: Path) -> None:
    """Manifest, record of the images, and metrics for the report."""
    run = RunDirectory.open(path)
    seen_images(run)
    read_record(RunResult(path.name, path, "data", "kl", None, 0, 0, "", str(run.manifest.status)))


def read_recorded(path: Path) -> None:
    if path.suffix == ".json":
        read_scores(path, {"split": "test"}, None)
    else:
        PredictionRecord.read(path).of_files(())


def read_study(path: Path) -> None:
    with contextlib.chdir(path):
        expand(read_plan(Path("plan.yaml")), Path("plan.yaml"))


def read_settings(path: Path) -> None:
    model = next(model for start, model in _SETTINGS.items() if path.name.startswith(start))
    build_config(model, read_config(path, model), source=path)


def read_annotations(path: Path) -> None:
    """As `prepare folder` does: the file, its images, its classes, and the pixels of the last frame drawn on."""
    if path.is_dir():
        mask = path / "a.tif"
        if (labels := labkit_labels([mask])) is not None:
            labels.values(mask, read_mask(mask))
        return
    refusals: list[DataError] = []
    names = dict.fromkeys(("a.tif", "b.tif", f"{path.name.partition('.')[0]}.tif"))
    images = [path.parent / "images" / name for name in names]
    found = find_annotations(path.parent, images, lambda _, error: refusals.append(error))
    if found is not None and found.of_image:
        frames = 1 + max((shape.frame or 0 for drawn in found.of_image.values() for shape in drawn.shapes), default=0)
        infos = [ImageInfo(image, frames, 1, _SIDE, _SIDE, np.dtype(np.uint8), None) for image in images]
        surveyed = survey_annotations(found, infos, (), lambda _, error: refusals.append(error))
        for image in found.of_image:
            if surveyed is not None and (draw := surveyed.mask_of(image)) is not None:
                draw(frames - 1)
    if refusals:
        raise refusals[0]


def read_archive(path: Path) -> None:
    with opened_zip(path, "Copy it again.") as archive:
        archive.extractall(path.parent / "inside")


def read_list(path: Path) -> None:
    """Of `predict --files-from`, of `train-uda --label-images`, or in the folder of a published data set."""
    if path.name == "published":
        FluoHoechstConfig(source=path, out=path / "a.h5").collect(LoggedOutput())
    elif path.is_dir():
        with contextlib.chdir(path), ExitStack() as opened:
            find_sources(PredictConfig(run=Path("run"), files_from="files.txt", out=Path("out")), opened)
    else:
        build_config(TrainUDAConfig, {"label_images": [str(path)]}, source=path)


def read_table(path: Path) -> None:
    join_tables([path], path.with_name("joined.csv"))


READERS: Mapping[str, Reader] = {
    "pictures": Reader(seeds.pictures, read_image, 10),
    "TIFF": Reader(seeds.tiffs, read_image, 20),
    "masks": Reader(seeds.masks, read_mask_file, 8),
    "microscopes": Reader(seeds.microscopes, read_image, 9),
    "OME-Zarr": Reader(seeds.ome_zarrs, read_ome_zarr, 7),
    "volumes": Reader(seeds.volumes, read_volume, 9),
    "data sets": Reader(seeds_of_bioseg.datasets, read_dataset, 6),
    "models": Reader(seeds_of_bioseg.models, read_model, 4),
    "resume.pt": Reader(seeds_of_bioseg.states, read_state, 3),
    "runs": Reader(seeds_of_bioseg.runs, read_run, 4),
    "records": Reader(seeds_of_bioseg.records, read_recorded, 3),
    "plans": Reader(seeds_of_bioseg.plans, read_study, 3),
    "settings": Reader(seeds_of_bioseg.settings, read_settings, 3),
    "annotations": Reader(seeds.drawings, read_annotations, 8),
    "archives": Reader(seeds.archives, read_archive, 1),
    "lists": Reader(seeds_of_bioseg.lists, read_list, 1),
    "tables": Reader(seeds_of_bioseg.tables, read_table, 1),
}
"""By the name in tables."""


def read(reader: str, path: Path) -> None:
    """Read a file by the reader of such a name."""
    READERS[reader].read(path)


def prepare() -> None:
    """Read a whole file by every reader: what libraries import at their first use is no work on an input."""
    for reader in READERS.values():
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(BiosegError):
            reader.read(written_to(Path(folder), next(reader.seeds())))
