"""What the masks of a user's folder mean, and which of them cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo
from bioseg_cli.dataset.schema import Drawn, label_dtype
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.io.images import inspect_image
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.masks.agreement import full_scale
from bioseg_cli.masks.declared import Declared
from bioseg_cli.masks.mask_file import mask_traits, read_mask
from bioseg_cli.masks.reading import MaskReading
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.masks.values import Look, hexadecimal
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import Rejected
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

_SAVE_UPRIGHT = "Turn the image the way the mask was drawn, and save it without an orientation."
_CLEAR = 2
"""A value is odd where every usual value is in more than so many times as many masks."""
_FEW_ODD = 0.25
"""Masks that are unlike the others are odd up to this share of all masks."""
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

    @property
    def numbers_objects(self) -> bool:
        """Whether masks number single objects."""
        return self.reading.numbers_objects

    def mask_of(self, image: Path) -> Callable[[int], Drawn] | None:
        """Reads the mask of a frame; None for an image without a mask."""
        return partial(self._read, self.masks[image]) if image in self.masks else None

    def _read(self, mask: Path, frame: int) -> Drawn:
        values = self.declared.values(mask, read_mask(mask, frame, self.stacks))
        objects = self.reading.objects(values).numbers if self.numbers_objects else None
        return Drawn(self.reading.labels(values, mask_traits(mask)), objects)

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
    try:
        declared = Declared.of(list(masks.values()), config.masks_are, config.classes, config.unlabelled_value)
    except BiosegError as error:
        rejected.ask(folder, "mask", error)
    looked = _Looked(folder, declared, config.stacks_of_masks)
    of_image = {info.path: info for info in infos}
    for image, path in output.track(masks.items(), "Looking at the masks", len(masks)):
        with rejected.collecting(path, folder, "mask"):
            looked.look(path, of_image.get(image), counts=image in of_image and image not in rejected.paths)
    if not looked.frames or any(place == folder for place, _, _ in rejected.questions):
        return None
    try:
        reading = looked.reading(rejected)
    except BiosegError as error:
        rejected.ask(folder, "mask", error)
        return None
    usable = {path for path, _ in looked.frames}
    used = {image: mask for image, mask in masks.items() if mask in usable}
    return SurveyedMasks(reading, declared, used, config.stacks_of_masks, *looked.remarks(reading))


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
        """What the masks mean; rejects few masks that hold values which the others do not know.

        Raises:
            BiosegError: the masks together have no meaning, or several.
        """
        try:
            reading = self.declared.reading(self.survey)
        except BiosegError as error:
            strays = self._beyond_names() if isinstance(error, UsageError) else self._among_full_scale()
            if not strays:
                raise
        else:
            # 255 beside numbers of classes is ignored: a slip in one mask would take the objects of all others away.
            ignores = reading.codes is not None and IGNORE_BY_DTYPE[label_dtype(len(reading.classes))] in set(
                reading.codes.values()
            )
            strays = self._among_full_scale() if ignores else {}
            if not strays:
                return reading
        self._reject(strays, rejected)
        return self.declared.reading(self.survey)

    def _beyond_names(self) -> dict[Path, list[str]]:
        """The masks with values that few hold, where there are more values than the user names classes."""
        holders = Counter(value for look in self.survey.looks for value in look.counts.values.tolist())
        known = len(self.declared.names) + (self.declared.undrawn is not None)
        ordered = [value for value, _ in holders.most_common()]
        usual, odd = ordered[:known], ordered[known:]
        # Only where every class is in more masks than any other value is it plain which value is the odd one.
        if not usual or not odd or holders[usual[-1]] <= _CLEAR * holders[odd[0]]:
            return {}
        return self._holding_more_than(set(usual))

    def _among_full_scale(self) -> dict[Path, list[str]]:
        """The masks with more values than 0 and the largest, where few have more and nobody said what they are."""
        if self.declared.kind is not None or self.declared.undrawn is not None:
            return {}
        plain = [look for look in self.survey.looks if full_scale([look])]
        if len(self.survey.looks) - len(plain) > _FEW_ODD * len(self.survey.looks):
            return {}
        return self._holding_more_than({value for look in plain for value in look.counts.values.tolist()})

    def _holding_more_than(self, usual: Set[int]) -> dict[Path, list[str]]:
        strays: dict[Path, list[str]] = {}
        for (path, _), look in zip(self.frames, self.survey.looks, strict=True):
            if held := [value for value in look.counts.values.tolist() if value not in usual]:
                strays.setdefault(path, []).extend(map(hexadecimal if look.coloured else str, held))
        return strays

    def _reject(self, strays: Mapping[Path, Sequence[str]], rejected: Rejected) -> None:
        """Reject masks with odd values, and forget what was seen of them."""
        kept = [pair for pair in zip(self.frames, self.survey.looks, strict=True) if pair[0][0] not in strays]
        self.frames, self.survey.looks = [frame for frame, _ in kept], [look for _, look in kept]
        usual = sorted({value for look in self.survey.looks for value in look.counts.values.tolist()})
        for path, values in strays.items():
            held = list(dict.fromkeys(values))
            rejected.add(
                path,
                self.folder,
                "mask",
                f"The mask holds the value{'s' * (len(held) > 1)} {listing(held)}; the other masks hold "
                f"{listing([str(value) for value in usual])} alone",
                "Correct the mask. If its values are right, say what they mean with --masks-are and --classes.",
            )

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
    if image.sizes_of_both_axes and mask.sizes_of_both_axes and image.stack != mask.stack:
        raise DataError(
            f"The mask has {mask.sizes_of_both_axes}, its image {image.path.name} {image.sizes_of_both_axes}",
            where=mask.path,
            fix="Export the mask with the time points and planes of its image.",
        )
    if turned:
        raise DataError(
            f"The mask has orientation {mask.orientation}, its image {image.path.name} {image.orientation}, and the "
            "mask fits the image turned or not",
            where=mask.path,
            fix=_SAVE_UPRIGHT,
        )


def _extent(info: ImageInfo) -> str:
    frames = f"{info.frames} frames of " if info.frames > 1 else ""
    return f"{frames}{info.height} x {info.width} pixels"
