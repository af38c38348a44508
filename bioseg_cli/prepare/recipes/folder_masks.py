"""What the masks of a user's folder mean, and which of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageInfo, inspect_image
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.masks.declared import Declared
from bioseg_cli.masks.mask_file import mask_traits, read_mask
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.masks.values import Look
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Rejected
from bioseg_cli.printable import listing
from bioseg_cli.runs.console import Output

_SAVE_UPRIGHT = "Turn the image the way the mask was drawn, and save it without an orientation."
_FEW_MASKS = 4
"""Among so few masks, a value that a single one holds is nothing odd."""


@dataclass(frozen=True)
class SurveyedMasks:
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


def survey_masks(
    infos: Sequence[ImageInfo],
    masks: Mapping[Path, Path],
    folder: Path,
    config: FolderConfig,
    rejected: Rejected,
    output: Output,
) -> SurveyedMasks | None:
    """Find out what masks mean, and reject those that cannot be used.

    Args:
        infos: of the images that could be read. What the masks mean is decided by those of images that can be used.
        masks: of each image that has one.
        folder: of the masks.
        config: what the user says of them.
        rejected: what masks are added to; questions that are about all masks together too.
        output: for the progress.

    Returns:
        None where no mask can be used, or a question is open.
    """
    declared = Declared(config.masks_are, tuple(config.classes), None, clear=False, labkit=None)
    with rejected.asking(folder, "mask"):
        declared = Declared.of(list(masks.values()), config.masks_are, config.classes, config.unlabelled_value)
    looked = _Looked(folder, declared, config.stacks)
    of_image = {info.path: info for info in infos}
    for image, path in output.track(masks.items(), "Looking at the masks", len(masks)):
        with rejected.collecting(path, folder, "mask"):
            looked.look(path, of_image.get(image), counts=image in of_image and image not in rejected.paths)
    if not looked.frames or any(place == folder for place, _, _ in rejected.questions):
        return None
    with rejected.asking(folder, "mask"):
        reading = looked.reading(rejected)
        used = {image: mask for image, mask in masks.items() if mask in {path for path, _ in looked.frames}}
        empty, notes = looked.remarks(reading)
        return SurveyedMasks(reading, declared, used, config.stacks, empty, notes)
    return None


@dataclass
class _Looked:
    """The masks that can be used, frame by frame."""

    folder: Path
    declared: Declared
    stacks: Stacks
    survey: MaskSurvey = field(default_factory=MaskSurvey)
    frames: list[tuple[Path, int]] = field(default_factory=list)
    reading_notes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def look(self, path: Path, image: ImageInfo | None, *, counts: bool) -> None:
        """Look at a mask.

        Args:
            path: of the mask.
            image: that it belongs to; None: the image cannot be read.
            counts: the mask takes part in what all masks mean.

        Raises:
            DataError: the mask cannot be read, or does not fit its image.
        """
        mask = inspect_image(path, self.stacks)
        if image is not None:
            _refuse_misfit(image, mask)
        traits = mask_traits(path)
        survey = MaskSurvey()
        for frame in range(mask.frames):
            pixels = self.declared.values(path, read_mask(path, frame, self.stacks))
            survey.add(pixels, where=path, traits=traits, regions=self.declared.needs_regions and counts)
        if counts:
            self.survey.looks += survey.looks
            self.frames += [(path, frame) for frame in range(mask.frames)]
            self.reading_notes[path.name] = mask.notes

    def reading(self, rejected: Rejected) -> MaskReading:
        """What the masks mean; rejects those that hold values beyond the classes that the user names.

        Raises:
            BiosegError: the masks together have no meaning, or several.
        """
        try:
            return self.declared.reading(self.survey)
        except UsageError as error:
            strays = self._strays(error)
            self._reject(strays, rejected)
            return self.declared.reading(self.survey)

    def _strays(self, error: BiosegError) -> dict[Path, list[int]]:
        """The masks that hold values which few hold, where these are too many values for the names of the classes.

        Raises:
            BiosegError: the error, where no value is an odd one.
        """
        holders: dict[int, int] = {}
        for look in self.survey.looks:
            for value in look.counts.values.tolist():
                holders[value] = holders.get(value, 0) + 1
        known = len(self.declared.names) + (self.declared.undrawn is not None)
        ordered = sorted(holders, key=lambda value: -holders[value])
        if not self.declared.names or len(ordered) <= known or any(look.coloured for look in self.survey.looks):
            raise error
        usual, odd = ordered[:known], ordered[known:]
        # Only where every class is in more masks than any other value is it plain which value is the odd one.
        if min(holders[value] for value in usual) <= 2 * max(holders[value] for value in odd):
            raise error
        strays: dict[Path, list[int]] = {}
        for (path, _), look in zip(self.frames, self.survey.looks, strict=True):
            if held := [value for value in look.counts.values.tolist() if value in odd]:
                strays.setdefault(path, []).extend(held)
        return strays

    def _reject(self, strays: Mapping[Path, Sequence[int]], rejected: Rejected) -> None:
        usual = sorted(
            {
                value
                for (path, _), look in zip(self.frames, self.survey.looks, strict=True)
                if path not in strays
                for value in look.counts.values.tolist()
            }
        )
        for path, values in strays.items():
            held = listing([str(value) for value in dict.fromkeys(values)])
            rejected.add(
                path,
                self.folder,
                "mask",
                f"The mask holds the value {held}, the others hold {listing([str(value) for value in usual])} alone",
                "Correct the value in the mask, or name its class in --classes.",
            )
        kept = [
            (frame, look) for frame, look in zip(self.frames, self.survey.looks, strict=True) if frame[0] not in strays
        ]
        self.frames, self.survey.looks = [frame for frame, _ in kept], [look for _, look in kept]

    def remarks(self, reading: MaskReading) -> tuple[frozenset[tuple[Path, int]], tuple[str, ...]]:
        """The frames in which nothing is drawn, and what the user should know of the masks."""
        looks = list(zip(self.frames, self.survey.looks, strict=True))
        empty = frozenset(frame for frame, look in looks if not reading.draws_in(look))
        notes = reading_notes(self.reading_notes, "masks")
        if empty:
            names = listing(list(dict.fromkeys(path.name for path, frame in self.frames if (path, frame) in empty)))
            notes.append(
                f"nothing is drawn in {len(empty)} of {len(looks)} masks ({names}): their images are unlabelled"
            )
        if reading.kind == "classes" and len(looks) > _FEW_MASKS:
            notes += _lone_values([(path, look) for (path, _), look in looks], reading)
        return empty, tuple(notes)


def _lone_values(looks: Sequence[tuple[Path, Look]], reading: MaskReading) -> list[str]:
    """The remarks on values that a single mask holds: a class that is rare, or a slip."""
    notes = []
    for value in sorted(reading.drawn_values):
        holding = [path.name for path, look in looks if value in look.counts.values.tolist()]
        if len(holding) == 1:
            notes.append(f"a single mask of {len(looks)} holds the value {value} ({holding[0]})")
    return notes


def _refuse_misfit(image: ImageInfo, mask: ImageInfo) -> None:
    """Refuse a mask of another size, or of which nothing says whether it was drawn on the image as shown or stored."""
    turned = image.orientation != mask.orientation and image.stored_shape == mask.stored_shape
    if (mask.frames, mask.height, mask.width) != (image.frames, image.height, image.width):
        raise DataError(
            f"The mask is {_extent(mask)}, its image {image.path.name} {_extent(image)}",
            where=mask.path,
            fix=_SAVE_UPRIGHT if turned else "Export the mask at the image's own size, a page for each of its frames.",
        )
    if turned:
        raise DataError(
            f"The image has orientation {image.orientation}, its mask {mask.path.name} {mask.orientation}, and the "
            "mask fits the image turned or not",
            where=image.path,
            fix=_SAVE_UPRIGHT,
        )


def _extent(info: ImageInfo) -> str:
    frames = f"{info.frames} frames of " if info.frames > 1 else ""
    return f"{frames}{info.height} x {info.width} pixels"
