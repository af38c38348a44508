"""Recipe for anybody's own images: a folder of images, and masks or annotations for some of them or none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bioseg_cli.annotations.folder import FoundAnnotations, find_annotations
from bioseg_cli.annotations.survey import SurveyedAnnotations, survey_annotations
from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.folders import list_images
from bioseg_cli.io.images import ImageInfo, inspect_image
from bioseg_cli.io.names import as_seen, stem_of
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.masks.declared import Declared
from bioseg_cli.masks.mask_file import mask_traits, read_mask
from bioseg_cli.masks.pairing import Doubt, Pairing, has_mask_suffix, is_mask_name, pair
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.prepare.recipe import Collection, common_pixel_size, file_frames, inspect_images, stack_notes
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

_SAVE_UPRIGHT = "Turn the image the way the mask was drawn, and save it without an orientation."


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
    images = list_images([config.images])
    annotations = None if config.masks is None else _annotations(config.masks, images, config)
    pairing: Pairing[Path, Path] = Pairing()
    if annotations is None:
        images, pairing = _pair(images, config.images, config.masks)
    infos = inspect_images(images, output, config.stacks)
    pixel_size, notes = common_pixel_size(infos)
    notes += reading_notes({info.path.name: info.notes for info in infos}, "images")
    surveyed: _Surveyed | SurveyedAnnotations | None = None
    if annotations is not None:
        surveyed = survey_annotations(annotations, infos, config.classes)
    elif pairing.found:
        notes += pairing.remarks(lambda mask: mask.name, lambda image: image.name)
        surveyed = _survey(infos, {image: mask for mask, image in pairing.found.items()}, config, output)
    notes += surveyed.notes if surveyed is not None else ()
    return Collection(
        images=tuple(
            image
            for info in infos
            for image in file_frames(
                info,
                file=info.path.name,
                group=_group(info.path, config.group_by),
                labels=None if surveyed is None else surveyed.labels_of(info.path),
                unlabelled=() if surveyed is None else surveyed.unlabelled_frames(info.path),
                stacks=config.stacks,
            )
        ),
        drawn_in_part=surveyed is not None and surveyed.drawn_in_part,
        classes=surveyed.classes if surveyed else (BACKGROUND, ClassInfo(name="foreground", colour=PALETTE[0])),
        channels=infos[0].channels,
        dtype=infos[0].dtype,
        keep_groups=config.split_by != "random",
        masks_read_as=surveyed.sentence if surveyed else "there are none: only train-iic can use this data set",
        pixel_size=pixel_size,
        notes=(*notes, *stack_notes(infos)),
    )


def _annotations(masks: Path, images: Sequence[Path], config: FolderConfig) -> FoundAnnotations | None:
    """The annotations of images; None where masks are images."""
    found = find_annotations(masks, images)
    if found is None:
        return None
    if config.masks_are is not None or config.unlabelled_value is not None:
        raise UsageError(
            f"--masks-are and --unlabelled-value are for masks that are images, not for {' and '.join(found.formats)}",
            fix="Leave the option out: the classes of the shapes say what they are.",
        )
    _refuse_masks_among(images, config.images, fix="Move them away: annotations are used.")
    return found


def _pair(images: list[Path], images_folder: Path, masks_folder: Path | None) -> tuple[list[Path], Pairing[Path, Path]]:
    """The image files, and the masks of those that have one."""
    if masks_folder is None:
        _refuse_masks_among(images, images_folder, fix="Give --masks too; it may be the same folder.")
        return images, Pairing()
    if "ERR_SEG" in masks_folder.resolve().name:
        raise DataError(
            "ERR_SEG holds the Cell Tracking Challenge's deliberately wrong masks",
            where=masks_folder,
            fix="Use the ..._ST/SEG or ..._GT/SEG folder.",
        )
    _refuse_hdf5(masks_folder)
    masks = list_images([masks_folder])
    if masks_folder.resolve() == images_folder.resolve():
        masks = [path for path in masks if is_mask_name(path)]
        images = [path for path in images if path not in set(masks)]
        if not masks or not images:
            raise DataError(
                "Images and masks in one folder are told apart by the masks' names, such as NAME_mask.png",
                where=images_folder,
                fix="Rename the masks, or put them into a folder of their own.",
            )
    pairing = pair(_stems(masks), _stems(images), images=True)
    for doubt in pairing.doubts:
        _refuse_doubt(doubt, masks_folder)
    alone = [mask.name for mask in masks if mask not in pairing.found]
    if alone:
        raise DataError(
            f"{len(alone)} of {len(masks)} masks have no image: {listing(alone)}",
            where=masks_folder,
            fix="Name each mask like its image (NAME_mask and mask_NAME are allowed), or move these away.",
        )
    unlabelled = [path for path in images if path not in set(pairing.found.values())]
    _refuse_masks_among(unlabelled, images_folder, fix="Move them to the masks or away.", images=images)
    return images, pairing


def _refuse_hdf5(folder: Path) -> None:
    """Refuse masks in HDF5, as ilastik exports them by default: their images would be taken for unlabelled."""
    if found := sorted(path.name for path in folder.glob("*.h5") if has_mask_suffix(path)):
        raise DataError(
            f"{listing(found)} {'is' if len(found) == 1 else 'are'} HDF5, and masks are images",
            where=folder,
            fix="Export them as PNG or TIFF: in ilastik, choose the format in the settings of the export.",
        )


def _stems(paths: Sequence[Path]) -> dict[Path, str]:
    return {path: stem_of(path) for path in paths}


def _refuse_doubt(doubt: Doubt[Path, Path], folder: Path) -> None:
    masks, images = ([path.name for path in paths] for paths in (doubt.wanted, doubt.offered))
    if len(images) == 1:
        raise DataError(
            f"{_joined(masks)} are {'both' if len(masks) == 2 else 'all'} masks of {images[0]}",
            where=folder,
            fix="Keep one of them.",
        )
    raise DataError(
        f"{_joined(images)} have one name, so the mask {masks[0]} could belong to either",
        where=doubt.offered[0].parent,
        fix="Rename one of them, or move it away.",
    )


def _refuse_masks_among(
    suspects: Sequence[Path], folder: Path, *, fix: str, images: Sequence[Path] | None = None
) -> None:
    """Raise where the names of some images are those of masks.

    Args:
        suspects: images without a mask.
        folder: of the images.
        fix: what to do.
        images: where masks are given, all images: a suspect is then one that is named like the mask of another.
    """
    named_so = [path for path in suspects if is_mask_name(path)]
    others = [path for path in images or suspects if path not in set(named_so)]
    of_others = pair(_stems(named_so), _stems(others), images=True)
    masks = [*of_others.found, *(mask for doubt in of_others.doubts for mask in doubt.wanted)]
    if images is None and len(endings := [path for path in suspects if has_mask_suffix(path)]) < len(suspects):
        masks += endings
    if names := sorted({path.name for path in masks}):
        raise DataError(
            f"{listing(names)} look{'s like a mask' if len(names) == 1 else ' like masks'} among the images",
            where=folder,
            fix=fix,
        )


def _joined(names: Sequence[str]) -> str:
    return listing(names) if len(names) > 2 else " and ".join(names)


@dataclass(frozen=True)
class _Surveyed:
    """What the masks of a folder are.

    Attributes:
        reading: what their values mean.
        declared: what is certain of them beside.
        masks: of each image that has one.
        stacks: what is said of files that hold several images.
        empty: file and frame of those in which nothing is drawn.
        notes: what the user should know of them.
    """

    reading: MaskReading
    declared: Declared
    masks: Mapping[Path, Path]
    stacks: Stacks
    empty: frozenset[tuple[Path, int]]
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """What the labels mean, by code."""
        return self.reading.classes

    @property
    def sentence(self) -> str:
        """How masks became classes, for the user."""
        return self.reading.sentence

    @property
    def drawn_in_part(self) -> bool:
        """Whether masks have pixels that nobody drew."""
        return self.reading.undrawn is not None

    def labels_of(self, image: Path) -> Callable[[int], Pixels] | None:
        """Reads the class codes of a frame; None for an image without a mask."""
        return partial(self._labels, self.masks[image]) if image in self.masks else None

    def _labels(self, mask: Path, frame: int) -> Pixels:
        values = self.declared.values(mask, read_mask(mask, frame, self.stacks))
        return self.reading.labels(values, mask_traits(mask))

    def unlabelled_frames(self, image: Path) -> frozenset[int]:
        """The frames in whose mask nothing is drawn."""
        return frozenset(frame for path, frame in self.empty if path == self.masks.get(image))


def _survey(infos: Sequence[ImageInfo], masks: dict[Path, Path], config: FolderConfig, output: Output) -> _Surveyed:
    """What the masks mean, and what reading them does to them."""
    declared = Declared.of(list(masks.values()), config.masks_are, config.classes, config.unlabelled_value)
    survey = MaskSurvey()
    notes: dict[str, tuple[str, ...]] = {}
    frames: list[tuple[Path, int]] = []
    labelled = [info for info in infos if info.path in masks]
    for info in output.track(labelled, "Looking at the masks", len(labelled)):
        path = masks[info.path]
        mask = inspect_image(path, config.stacks)
        if (mask.frames, mask.height, mask.width) != (info.frames, info.height, info.width):
            raise DataError(
                f"The mask is {_extent(mask)}, its image {info.path.name} {_extent(info)}",
                where=path,
                fix=_SAVE_UPRIGHT
                if info.orientation != mask.orientation and info.stored_shape == mask.stored_shape
                else "Export the mask at the image's own size, a page for each of its frames.",
            )
        _refuse_unclear_turn(info, mask)
        notes[path.name] = mask.notes
        traits = mask_traits(path)
        for frame in range(mask.frames):
            pixels = declared.values(path, read_mask(path, frame, config.stacks))
            survey.add(pixels, where=path, traits=traits, regions=declared.needs_regions)
            frames.append((path, frame))
    reading = declared.reading(survey)
    empty = frozenset(frame for frame, look in zip(frames, survey.looks, strict=True) if not reading.draws_in(look))
    said = reading_notes(notes, "masks")
    if empty:
        names = listing(list(dict.fromkeys(path.name for path, frame in frames if (path, frame) in empty)))
        said.append(f"nothing is drawn in {len(empty)} of {len(frames)} masks ({names}): their images are unlabelled")
    return _Surveyed(reading, declared, masks, config.stacks, empty, tuple(said))


def _refuse_unclear_turn(image: ImageInfo, mask: ImageInfo) -> None:
    """Refuse a mask of which nothing says whether it was drawn on the image as it is shown or as it is stored."""
    if image.orientation != mask.orientation and image.stored_shape == mask.stored_shape:
        raise DataError(
            f"The image has orientation {image.orientation}, its mask {mask.path.name} {mask.orientation}, and the "
            "mask fits the image turned or not",
            where=image.path,
            fix=_SAVE_UPRIGHT,
        )


def _group(path: Path, pattern: str | None) -> str:
    if pattern is None:
        return path.stem
    # Names that look the same are of one group.
    found = re.search(as_seen(pattern), as_seen(path.name))
    if found is None:
        raise DataError(f"--group-by {pattern!r} does not match the name", where=path, fix="Widen the expression.")
    return found[1] if found.re.groups else found[0]


def _extent(info: ImageInfo) -> str:
    frames = f"{info.frames} frames of " if info.frames > 1 else ""
    return f"{frames}{info.height} x {info.width} pixels"
