"""Recipe for the study's BigBrain: slices of a brain volume at random rotations, with classes from a second volume.

BigBrain is the histological volume of one human brain (Amunts et al., Science 340:1472, 2013). Any other volume goes
the same way, and its classes may be on any grid: the two meet in world coordinates.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Drawn
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.files import sha256_of, write_text
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.io.volumes import Volume, open_volume
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.prepare.download import Publication, Remote, fetch
from bioseg_cli.prepare.recipe import Collection, Loaded, SourceImage
from bioseg_cli.prepare.recipes.bigbrain_settings import BigBrainConfig
from bioseg_cli.prepare.slicing.label_mapping import LabelMapping, label_mapping
from bioseg_cli.prepare.slicing.planes import AXES, Plane, box_corners, draw_planes
from bioseg_cli.prepare.slicing.slices import LabelledSlices, SampledVolume, sample
from bioseg_cli.processors import processors
from bioseg_cli.runs.output import Output

IMAGE_FILE = "3D_Volumes/Histological_Space/nii/full8_200um_optbal.nii.gz"
LABELS_FILE = "3D_Classified_Volumes/Histological_Space/nii/full_cls_200um_9classes.nii.gz"
VOXEL = 0.2
"""Edge of its voxels in millimetres."""
ADDRESS = "https://ftp.bigbrainproject.org/bigbrain-ftp/BigBrainRelease.2015"


def _refuse_another(path: Path) -> None:
    """Raise `DataError` where a file that was fetched is no volume of that resolution: nobody has published a hash."""
    size = open_volume(path).voxel_size
    if not np.allclose(size, VOXEL, rtol=0.01):
        raise DataError(f"its voxels measure {' x '.join(f'{edge:g}' for edge in size)} mm, and not {VOXEL:g} mm")


PUBLICATION = Publication(
    name="BigBrain, 200 µm",
    address=ADDRESS,
    files=tuple(Remote(name, None, _refuse_another) for name in (IMAGE_FILE, LABELS_FILE)),
    terms="CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0): not for commercial use, and what is "
    "made from it is shared on the same terms. Please cite Amunts et al., Science 340:1472 (2013).",
    by_hand=f"Or fetch {ADDRESS}/{IMAGE_FILE} and {ADDRESS}/{LABELS_FILE} elsewhere and name them with --image and "
    "--labels.",
)

MICROMETRES = 1000
"""In a millimetre."""
FULL_OVERLAP = 0.9
"""A smaller share of the image inside the class volume is remarked on."""
OVERLAP_POINTS = 20
"""Points along each axis of the image at which its overlap with the class volume is measured."""
PLAN = "plan.json"
NOT_IN_PLAN = {"image", "labels", "mirror", "accept_licence", "out", "picture", "workers"}
"""Settings that an interrupted run may be resumed with others of."""


def collect(config: BigBrainConfig, output: Output) -> Collection:
    """Sample all slices into scratch files and return their records.

    Raises:
        UsageError: a licence that was not accepted, a guard that leaves no room, nothing to resume.
        DataError: volumes that cannot be read, do not overlap, or hold none of the asked classes; a full disk.
    """
    image_path, labels_path = _files(config, output)
    image = open_volume(image_path)
    notes: list[str] = []
    labels = None if labels_path is None else _paired(image, open_volume(labels_path), notes)
    planes = draw_planes(config, image)
    if config.split_by != "slab":
        output.warn(
            f"--split-by {config.split_by}: slices of training, validation and test cross each other in one brain. "
            "The scores will be too good; --split-by slab keeps every voxel in one split."
        )
    elif config.guard < (needed := 2 * _reach(image, config.slab_axis)):
        notes.append(
            f"--guard {config.guard:g} is less than two voxels along {config.slab_axis} ({needed:g} mm): interpolation "
            "reads the voxels at a boundary for both splits"
        )
    image_hash = sha256_of(image.path)
    _open_workspace(config, [image_hash, "" if labels is None else sha256_of(labels.path)], output)
    try:
        return _sample(config, image, image_hash, labels, planes, notes, output)
    except BiosegError:
        # Nothing can be gone on with: the next run would meet the same.
        shutil.rmtree(config.workspace, ignore_errors=True)
        raise


def _sample(
    config: BigBrainConfig,
    image: Volume,
    image_hash: str,
    labels: Volume | None,
    planes: list[Plane],
    notes: list[str],
    output: Output,
) -> Collection:
    workers = config.workers or processors()
    sampling = partial(sample, folder=config.workspace, workers=workers, output=output)
    mapping: LabelMapping | None = None
    labelled: LabelledSlices | None = None
    shown = list(range(len(planes)))
    if labels is not None:
        sampled = sampling(labels, planes, nearest=True)
        mapping = label_mapping(config, sampled.survey, labels.path)
        labelled = LabelledSlices(sampled, image, mapping)
        with ThreadPoolExecutor(workers) as pool:
            shares = list(output.track(pool.map(labelled.tissue_share, shown), "Looking for tissue", len(planes)))
        shown = [index for index in shown if shares[index] >= config.min_tissue]
        least = f"{100 * config.min_tissue:g}%"
        if skipped := len(planes) - len(shown):
            notes.append(f"{skipped} of {len(planes)} slices were skipped: less than {least} tissue")
        for split in ("train", "val"):
            if split not in {planes[index].split for index in shown}:
                raise DataError(
                    f"No slice of the {split} split shows {least} of tissue",
                    where=labels.path,
                    fix="Lower --min-tissue, give more --slices or another --slab-axis, or check --spacing and --crop.",
                )
    pictures = sampling(image, [planes[index] for index in shown], nearest=False)
    outside = f"image {pictures.survey.outside:g}, the median of its outermost voxels"
    if mapping is not None and labelled is not None:
        meaning = "a kept class, so ignored" if mapping.outside else repr(mapping.classes[0].name)
        outside += f"; labels {labelled.volume.survey.outside:g}, {meaning}"
    notes.append(f"outside the volume: {outside}")
    return Collection(
        images=tuple(_record(image, image_hash, pictures, place, labelled, index) for place, index in enumerate(shown)),
        classes=(BACKGROUND, ClassInfo(name="foreground", colour=PALETTE[0])) if mapping is None else mapping.classes,
        channels=1,
        dtype=image.dtype,
        keep_groups=True,
        masks_read_as="there are none: only train-iic can use this data set" if mapping is None else mapping.sentence,
        pixel_size=_pixel_size(planes[0]),
        notes=tuple(notes),
        discard=partial(shutil.rmtree, config.workspace),
    )


def _record(
    image: Volume, image_hash: str, pictures: SampledVolume, place: int, labelled: LabelledSlices | None, index: int
) -> SourceImage:
    plane = pictures.planes[place]

    def load() -> Loaded:
        return Loaded(pictures.slice(place)[None], None if labelled is None else Drawn(labelled.labels(index)))

    return SourceImage(
        file=image.path.name,
        frame=plane.number,
        shape=(plane.side, plane.side),
        group=f"rotation{plane.rotation}" if plane.slab is None else str(plane.slab),
        labelled=labelled is not None,
        load=load,
        file_hash=lambda: image_hash,
        official=plane.split,
        plane=plane.matrix,
    )


def _reach(volume: Volume, axis: str) -> float:
    """How far along a world axis, in millimetres, a pixel may be from a voxel that it is interpolated from."""
    return round(float(np.abs(volume.affine[AXES.index(axis), :3]).sum()), 4)


def _pixel_size(plane: Plane) -> PixelSize:
    # Headers hold float32: 0.2 mm are 200.000003 µm there.
    edge = round(float(np.linalg.norm(plane.matrix[:, 0])) * MICROMETRES, 4)
    return PixelSize(edge, edge)


def _files(config: BigBrainConfig, output: Output) -> tuple[Path, Path | None]:
    """The volumes the user gave, or BigBrain's, downloaded on its terms."""
    if config.image is not None:
        return config.image, config.labels
    folder = config.path.parent / "downloads" / config.recipe
    if not all(path.is_file() for path in PUBLICATION.paths(folder)):
        output.warn(f"{PUBLICATION.name} is licensed: {PUBLICATION.terms}")
        if not (config.accept_licence or _agrees()):
            raise UsageError("BigBrain's licence was not accepted", fix="Read it, and give --accept-licence.")
    image, labels = fetch(PUBLICATION, folder, mirror=config.mirror, output=output)
    return image, labels


def _agrees() -> bool:
    """Ask at a terminal; elsewhere nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write("Do you accept these terms? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _paired(image: Volume, labels: Volume, notes: list[str]) -> Volume:
    """The class volume, where it lies in the image's space.

    Raises:
        DataError: the two do not overlap, or one of them does not say where it lies.
    """
    if not (image.oriented and labels.oriented):
        if image.oriented or labels.oriented or image.shape != labels.shape:
            silent = labels if image.oriented else image
            raise DataError(
                "The volume states no position in space (its NIfTI header has neither sform nor qform)",
                where=silent.path,
                fix="Set its affine, or give image and labels that are both without one and of one shape.",
            )
        notes.append("neither volume states its position in space: they were paired voxel by voxel")
        return replace(labels, affine=image.affine)
    grid = np.stack(
        np.meshgrid(*(np.linspace(0, length - 1, OVERLAP_POINTS) for length in image.shape), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    world = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
    to_voxels = np.linalg.inv(labels.affine)
    voxels = world @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    inside = ((voxels >= -0.5) & (voxels < np.array(labels.shape) - 0.5)).all(axis=1).mean()
    if inside == 0:
        raise DataError(
            f"Image and labels do not overlap in space: the image fills {_box(image)}, the labels {_box(labels)}",
            where=labels.path,
            fix=f"Give the class volume of {image.path.name}, in the same space.",
        )
    if inside < FULL_OVERLAP:
        notes.append(f"the class volume covers {inside:.0%} of the image; the rest has no label and is ignored")
    return labels


def _box(volume: Volume) -> str:
    corners = box_corners(volume)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return ", ".join(f"{axis} {a:.0f}..{b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True)) + " mm"


def _open_workspace(config: BigBrainConfig, hashes: list[str], output: Output) -> None:
    """Make the folder of scratch files anew, or check that the one to resume belongs to these settings and files."""
    settings = config.model_dump(mode="json", exclude=NOT_IN_PLAN)
    plan = hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()
    folder = config.workspace
    record = folder / PLAN
    if config.resume:
        if not record.is_file():
            raise UsageError("There is nothing to resume", where=folder, fix="Run without --resume.")
        if record.read_bytes() != json.dumps(plan).encode():
            raise UsageError(
                "The interrupted run had other settings or other volumes",
                where=folder,
                fix="Repeat its options, or run without --resume to begin anew.",
            )
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_text(record, json.dumps(plan))
    output.say(f"Scratch files are in {folder} until the data set is written; after an interruption, --resume goes on.")
