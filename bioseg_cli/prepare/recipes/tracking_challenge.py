"""Recipes for the study's PhC and FluoGFP: two data sets of the Cell Tracking Challenge.

Layout: `01/t000.tif`, `01_ST/SEG/man_seg000.tif` (silver truth: computed, nearly every cell of every frame),
`01_GT/SEG/man_seg000.tif` (gold truth: drawn by people, a few frames, sometimes a few cells), `01_GT/TRA/
man_track000.tif` (markers of all cells). `01_ERR_SEG` holds deliberately wrong masks and is never read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo, SplitName
from bioseg_cli.dataset.schema import Drawn
from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.prepare.download import Publication, Remote, fetch_unpacked
from bioseg_cli.prepare.recipe import Collection, SourceImage, file_frames, inspect_images
from bioseg_cli.prepare.recipes.settings import FluoGFPConfig, PhCConfig, TrackingConfig
from bioseg_cli.prepare.splits import GAP, split_blocks
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

TERMS = (
    "the Cell Tracking Challenge (celltrackingchallenge.net/datasets) asks that uses other than the challenge be "
    "agreed with the data providers, and that Maska et al., Bioinformatics 30:1609 (2014), and Ulman et al., "
    "Nature Methods 14:1141 (2017), are cited. Do not pass the files on."
)
IGNORE = IGNORE_BY_DTYPE["uint8"]
LAYOUT = "DIR/01/t000.tif, DIR/01_ST/SEG/man_seg000.tif, DIR/02/..."
FRAME = re.compile(r"^t(\d+)\.tiff?$", re.IGNORECASE)
MASK = re.compile(r"^man_seg_?(\d+)\.tiff?$", re.IGNORECASE)
MARKERS = re.compile(r"^man_track_?(\d+)\.tiff?$", re.IGNORECASE)


@dataclass(frozen=True)
class Challenge:
    """What is special to one data set of the challenge."""

    publication: Publication
    object_name: str
    pixel_size: PixelSize


def _publication(name: str, sha256: str) -> Publication:
    return Publication(
        name=name,
        address="http://data.celltrackingchallenge.net/training-datasets",
        files=(Remote(f"{name}.zip", sha256),),
        terms=TERMS,
        by_hand=f"Or unpack {name}.zip by hand and give --source DIR: {LAYOUT}",
    )


PHC = Challenge(
    _publication("PhC-C2DH-U373", "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e"),
    object_name="cell",
    pixel_size=PixelSize(0.65, 0.65),
)
FLUOGFP = Challenge(
    _publication("Fluo-N2DL-HeLa", "35dd99d58e071aba0b03880128d920bd1c063783cc280f9531fbdc5be614c82e"),
    object_name="nucleus",
    pixel_size=PixelSize(0.645, 0.645),
)


def collect_phc(config: PhCConfig, output: Output) -> Collection:
    """PhC-C2DH-U373: glioblastoma-astrocytoma cells, phase contrast, 8 bit."""
    return _collect(config, PHC, output)


def collect_fluogfp(config: FluoGFPConfig, output: Output) -> Collection:
    """Fluo-N2DL-HeLa: HeLa nuclei, H2b-GFP, 16 bit with an offset of 32768."""
    return _collect(config, FLUOGFP, output)


def _collect(config: TrackingConfig, challenge: Challenge, output: Output) -> Collection:
    """Find frames and masks of the wanted videos.

    Raises:
        DataError: not the challenge's layout, no mask of the wanted truth, a mask without a frame, or a folder of
            deliberately wrong masks.
    """
    publication = challenge.publication
    source = config.source or fetch_unpacked(publication, config.downloads, mirror=config.mirror, output=output)
    root, names = _find_videos(source, config.sequences, publication)
    videos = [_open_video(root, name, config.truth) for name in names]
    if not any(video.masks for video in videos):
        raise DataError(
            f"There are no {config.truth} masks",
            where=videos[0].masks_folder,
            fix=f"Unpack {publication.files[0].name} again, or give another --truth.",
        )
    infos = iter(inspect_images([path for video in videos for path in video.frames.values()], output))
    images: list[SourceImage] = []
    left_out = drawn_whole = 0
    for video in videos:
        splits = _splits_of(video, names, config)
        for number, split, info in zip(video.frames, splits, infos, strict=False):
            if split == GAP:
                left_out += 1
                continue
            mask: Callable[[int], Drawn] | None = None
            if number in video.masks:
                whole = config.truth == "silver" or video.shows_every_cell(number)
                drawn_whole += whole
                mask = partial(_read_mask, video.masks[number], whole, config.border)
            file = f"{video.name}/{info.path.name}"
            images += file_frames(info, file=file, group=video.name, mask=mask, official=split)
    notes: list[str] = []
    if left_out:
        notes.append(f"{left_out} frames between the blocks of video {names[0]} were left out (--gap {config.gap})")
    if config.border:
        notes.append(f"{config.border} pixels along each edge are ignored (--border)")
    if config.truth == "gold":
        drawn = sum(len(video.masks) for video in videos)
        notes.append(
            f"{drawn_whole} of {drawn} gold masks show every tracked cell; in the others what is not drawn is ignored"
        )
    return Collection(
        images=tuple(images),
        classes=(BACKGROUND, ClassInfo(name=challenge.object_name, colour=PALETTE[0])),
        channels=info.channels,
        dtype=info.dtype,
        keep_groups=config.split_by != "random",
        masks_read_as=f"{config.truth} truth, every numbered object is {challenge.object_name!r}",
        pixel_size=challenge.pixel_size,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Video:
    """Files of one video by frame number."""

    name: str
    frames: dict[int, Path]
    masks_folder: Path
    masks: dict[int, Path]
    markers: dict[int, Path]

    def shows_every_cell(self, number: int) -> bool:
        """Whether the gold mask has an object under each tracking marker, so that its 0 is background indeed."""
        if number not in self.markers:
            return False
        markers, drawn = read_mask(self.markers[number]), read_mask(self.masks[number]) > 0
        return bool(np.isin(np.unique(markers[markers > 0]), markers[drawn]).all())


def _find_videos(source: Path, wanted: str, publication: Publication) -> tuple[Path, list[str]]:
    """The folder that holds the videos, and which of the wanted ones are there."""
    if any("ERR_SEG" in part for part in source.resolve().parts):
        raise DataError(
            "ERR_SEG holds deliberately wrong masks, made to test with: nothing can be trained on them",
            where=source,
            fix=f"Give the folder above: {LAYOUT}",
        )
    names = ["01", "02"] if wanted == "both" else [wanted]
    for root in (source, source / publication.name):
        found = [name for name in names if (root / name).is_dir()]
        if found:
            return root, found
    what = "There are no videos" if source.is_dir() else "There is no such folder"
    raise DataError(what, where=source, fix=f"Expected: {LAYOUT}")


def _open_video(root: Path, name: str, truth: str) -> _Video:
    masks_folder = root / (f"{name}_ST" if truth == "silver" else f"{name}_GT") / "SEG"
    frames = _numbered(root / name, FRAME)
    if not frames:
        raise DataError("The folder holds no frames", where=root / name, fix="Expected t000.tif, t001.tif and so on.")
    masks = _numbered(masks_folder, MASK)
    if alone := [path.name for number, path in masks.items() if number not in frames]:
        raise DataError(
            f"{len(alone)} masks have no frame: {listing(alone)}",
            where=masks_folder,
            fix="Unpack the archive again, or move these masks away.",
        )
    return _Video(name, frames, masks_folder, masks, _numbered(root / f"{name}_GT" / "TRA", MARKERS))


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files whose names fit, by the number in the name, ascending."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = {int(match[1]): path for path in paths if (match := pattern.match(path.name))}
    return dict(sorted(found.items()))


def _splits_of(video: _Video, names: list[str], config: TrackingConfig) -> list[SplitName | Literal["gap"] | None]:
    """The split of each frame: video 02 is the test, the end of 01 validates; a single video is cut in three."""
    if config.split_by == "random":
        return [None] * len(video.frames)
    if len(names) > 1 and video.name == names[-1]:
        return ["test"] * len(video.frames)
    return list(
        split_blocks(
            [number in video.masks for number in video.frames],
            val_share=config.val_share,
            test_share=0.0 if len(names) > 1 else config.test_share,
            gap=config.gap,
        )
    )


def _read_mask(path: Path, complete: bool, border: int, _frame: int) -> Drawn:
    """Class codes and objects of an instance mask; where it is not complete, 0 says nothing and is ignored."""
    numbers = read_mask(path)
    labels = (numbers > 0).astype(np.uint8)
    if not complete:
        labels[labels == 0] = IGNORE
    if border:
        inside = np.zeros(labels.shape, dtype=bool)
        inside[border:-border, border:-border] = True
        labels[~inside] = IGNORE
    return Drawn(labels, numbers)
