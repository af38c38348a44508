"""Recipe for anybody's own images: a folder of images, and masks or annotations for some of them or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bioseg_cli.annotations.survey import SurveyedAnnotations
from bioseg_cli.config import ClassInfo
from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.io.images import ImageFile
from bioseg_cli.io.names import as_seen
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.prepare.recipe import Collection, common_pixel_size, file_frames, read_headers, stack_notes
from bioseg_cli.prepare.recipes.folder_annotations import survey_usable
from bioseg_cli.prepare.recipes.folder_channels import choose_channels
from bioseg_cli.prepare.recipes.folder_files import FolderFiles, find_files
from bioseg_cli.prepare.recipes.folder_masks import SurveyedMasks, survey_masks
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Rejected, RejectedFile
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output


def collect(config: FolderConfig, output: Output) -> Collection:
    """Pair images with masks and learn what the masks mean.

    Raises:
        FilesRejected: files that cannot be used; all of them are named, whatever is wrong with them.
        DataError: a folder is missing or empty, or masks that fit no reading.
        UsageError: the class names do not fit the masks.
    """
    rejected = Rejected()
    files = find_files(config, rejected)
    infos = read_headers(files.images, config.images, output, config.stacks, rejected)
    misnamed = rejected.paths
    compared = [info for info in infos if info.path not in misnamed]
    channels = choose_channels(compared, config.channel, config.images, rejected)
    _reject_damaged_pixels(infos, config, rejected, output)
    surveyed = _survey(infos, files, config, rejected, output)
    left_out = _left_out(config, rejected, files, surveyed)
    unusable = rejected.paths
    infos = [channels.taken_of(info) for info in infos if info.path not in unusable]
    pixel_size, notes = common_pixel_size(infos)
    notes += reading_notes({info.path.name: info.notes for info in infos}, "images")
    notes += [*files.notes, *channels.notes, *(surveyed.notes if surveyed is not None else ())]
    if left_out:
        names = listing([file.name for file in left_out])
        notes.append(f"{len(left_out)} of {files.total} files are left out, as they cannot be used: {names}")
    return Collection(
        images=tuple(
            image
            for info in infos
            for image in file_frames(
                info,
                file=_name(info.path, config),
                group=_group(info.path, config),
                mask=None if surveyed is None else surveyed.mask_of(info.path),
                unlabelled=() if surveyed is None else surveyed.unlabelled_frames(info.path),
                stacks=config.stacks,
                channels=channels.of_image.get(info.path),
            )
        ),
        numbers_objects=surveyed is not None and surveyed.numbers_objects,
        drawn_in_part=surveyed is not None and surveyed.drawn_in_part,
        classes=surveyed.classes if surveyed else (BACKGROUND, ClassInfo(name="foreground", colour=PALETTE[0])),
        channels=infos[0].channels,
        dtype=infos[0].dtype,
        keep_groups=config.split_by != "random",
        masks_read_as=surveyed.sentence if surveyed else "there are none: only train-iic can use this data set",
        pixel_size=pixel_size,
        notes=(*notes, *_size_notes(infos, config), *stack_notes(infos)),
        left_out=left_out,
    )


def _reject_damaged_pixels(
    infos: Sequence[ImageInfo], config: FolderConfig, rejected: Rejected, output: Output
) -> None:
    """Reject images whose pixels cannot be read: that a file breaks off, or holds NaN, its header does not say."""
    known = rejected.paths
    sound = [info for info in infos if info.path not in known]
    with prefetched_map(partial(_damage, stacks=config.stacks), sound, most=WORKERS) as damages:
        for info, damage in zip(sound, output.track(damages, "Reading images", len(sound)), strict=True):
            with rejected.collecting(info.path, config.images, "image"):
                if damage is not None:
                    raise damage


def _damage(info: ImageInfo, stacks: Stacks) -> DataError | None:
    try:
        with ImageFile(info.path, stacks) as file:
            for frame in range(info.frames):
                file.read(frame)
    except DataError as error:
        return error
    return None


def _survey(
    infos: Sequence[ImageInfo], files: FolderFiles, config: FolderConfig, rejected: Rejected, output: Output
) -> SurveyedMasks | SurveyedAnnotations | None:
    """What the masks or annotations mean; None where there are none, or none that can be used."""
    if config.masks is None:
        return None
    if files.annotations is not None:
        return survey_usable(files.annotations, infos, config, config.masks, rejected)
    if not files.masks:
        return None
    return survey_masks(infos, files.masks, config.masks, config, rejected, output)


def _left_out(
    config: FolderConfig,
    rejected: Rejected,
    files: FolderFiles,
    surveyed: SurveyedMasks | SurveyedAnnotations | None,
) -> tuple[RejectedFile, ...]:
    """The files that are left out, where the user allows that; raises for them otherwise."""
    if not config.skip_bad:
        rejected.refuse(files.total, "--skip-bad leaves such files out.")
        return ()
    rejected.refuse_questions()
    if not set(files.images) - rejected.paths:
        rejected.refuse(files.total, "No image is left that --skip-bad could go on with.")
    if config.masks is not None and surveyed is None:
        rejected.refuse(files.total, "No mask is left that --skip-bad could go on with.")
    return tuple(rejected.in_order())


def _name(path: Path, config: FolderConfig) -> str:
    """The file as the data set calls it; with --recursive by its path within the folder of images."""
    return path.relative_to(config.images).as_posix() if config.recursive else path.name


def _group(path: Path, config: FolderConfig) -> str:
    name = _name(path, config)
    if config.group_by is None:
        return Path(name).with_name(path.stem).as_posix()
    # Names that look the same are of one group.
    found = re.search(as_seen(config.group_by), as_seen(name))
    if found is None:
        what = f"--group-by {config.group_by!r} does not match the name"
        raise DataError(what, where=path, fix="Widen the expression.")
    # The first group takes no part in every match: `(a)|b`.
    first = found[1] if found.re.groups else None
    return found[0] if first is None else first


def _size_notes(infos: Sequence[ImageInfo], config: FolderConfig) -> list[str]:
    """The remark on few large images, to whose size all others are padded."""
    if config.crop_side:
        return []
    height, width = max(info.height for info in infos), max(info.width for info in infos)
    large = [info.path.name for info in infos if info.height == height or info.width == width]
    if 2 * len(large) >= len(infos):
        return []
    return [f"all images are padded to {height} x {width} pixels, the size of {listing(large, 3)}"]
