"""All annotations of a data set together: their classes, what the user should know of them, and their class codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from bioseg_cli.annotations.classes import UNCLASSIFIED, ShapeClasses, shape_classes
from bioseg_cli.annotations.folder import FoundAnnotations
from bioseg_cli.annotations.raster import covered
from bioseg_cli.annotations.shape import Annotation, Outline, Refuse, Shape
from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import OBJECT_DTYPE, Drawn, Pixels, label_dtype
from bioseg_cli.errors import DataError
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.printable import listing


@dataclass(frozen=True)
class SurveyedAnnotations:
    """What the annotations of images mean.

    Attributes:
        classes: of the shapes, the background first.
        sentence: how shapes became classes, for the user.
        notes: what the user should know of them.
    """

    classes: tuple[ClassInfo, ...]
    sentence: str
    notes: tuple[str, ...]
    numbers_objects: ClassVar[bool] = True
    drawn_in_part: ClassVar[bool] = False
    _codes: Mapping[str | None, int]
    _annotated: Mapping[Path, tuple[ImageInfo, Annotation]]

    def mask_of(self, image: Path) -> Callable[[int], Drawn] | None:
        """Draws the shapes of a frame; None for an image without an annotation."""
        return partial(self._draw, *self._annotated[image]) if image in self._annotated else None

    def _draw(self, info: ImageInfo, annotation: Annotation, frame: int) -> Drawn:
        drawing = _Drawing(info, self._codes, len(self.classes))
        drawing.add([shape for shape in annotation.shapes if info.frames == 1 or shape.frame == frame])
        return Drawn(drawing.labels, drawing.objects)

    def unlabelled_frames(self, image: Path) -> frozenset[int]:
        """The frames of a file of several in which nothing is drawn."""
        if image not in self._annotated:
            return frozenset()
        info, annotation = self._annotated[image]
        drawn = {shape.frame for shape in annotation.shapes}
        return frozenset() if info.frames == 1 else frozenset(range(info.frames)) - drawn


def survey_annotations(
    annotations: FoundAnnotations, infos: Sequence[ImageInfo], names: Sequence[str], refuse: Refuse
) -> SurveyedAnnotations | None:
    """Look at the annotations of all images; None where annotations are refused, and none is left.

    Args:
        annotations: of the images that have one.
        infos: of all images.
        names: of the classes, the background first; none: those of the shapes, sorted.
        refuse: is told of each annotation that was drawn on an image of another size, or that has a shape outside of
            its image, or on a frame that the image lacks.

    Raises:
        DataError: there are no shapes.
        UsageError: `names` leaves out a class that was drawn.
    """
    of_image = annotations.of_image
    given = [info for info in infos if info.path in of_image]
    annotated: dict[Path, tuple[ImageInfo, Annotation]] = {}
    for info in given:
        try:
            annotation = _on_level(of_image[info.path], info)
            _check(info, annotation)
            annotated[info.path] = info, annotation
        except DataError as error:
            refuse(annotations.paths[info.path], error)
    if given and not annotated:
        return None
    drawn = [shape.class_name for _, annotation in annotated.values() for shape in annotation.shapes]
    found = shape_classes(drawn, names)
    remarks = _Remarks()
    for info, annotation in annotated.values():
        _remark(info, annotation, found, remarks)
    notes = [*annotations.notes, *remarks.sentences()]
    if 0 < (without := drawn.count(None)) < len(drawn):
        notes.append(f"{without} of {len(drawn)} shapes have no class: they are {UNCLASSIFIED!r}")
    sentence = f"shapes of {' and '.join(annotations.formats)}: {found.sentence}"
    return SurveyedAnnotations(found.classes, sentence, tuple(notes), found.codes, annotated)


def _on_level(annotation: Annotation, info: ImageInfo) -> Annotation:
    """The shapes, which are drawn on the full resolution, on the level of the image that is read."""
    full_height, full_width = info.full_size or (info.height, info.width)
    if annotation.size is not None and annotation.size != (full_height, full_width):
        height, width = annotation.size
        raise DataError(
            f"The shapes were drawn on {height} x {width} pixels (height x width), and {info.path.name} has "
            f"{full_height} x {full_width}",
            where=annotation.source,
            fix="Give the image that was drawn on, or scale the shapes with it.",
        )
    return annotation if info.full_size is None else annotation.reduced(*info.reduction)


def _check(info: ImageInfo, annotation: Annotation) -> None:
    """Refuse what does not fit the image."""
    frames = {shape.frame for shape in annotation.shapes} - {None}
    if info.frames == 1 and len(frames) > 1:
        raise DataError(
            f"Shapes were drawn on {len(frames)} frames, and {info.path.name} has one",
            where=annotation.source,
            fix="Give the stack that was drawn on as the image, or export the shapes of this frame alone.",
        )
    if info.sizes_of_both_axes is not None and any(shape.frame for shape in annotation.shapes):
        raise DataError(
            f"Shapes were drawn on later frames, and {info.path.name} has {info.sizes_of_both_axes}: which of its "
            "frames they belong to is not known",
            where=annotation.source,
            fix="Save each time point, or each plane, as a file of its own, and the shapes with it.",
        )
    for shape in annotation.shapes:
        if info.frames > 1 and (shape.frame is None or not 0 <= shape.frame < info.frames):
            on = "no frame in particular" if shape.frame is None else f"frame {shape.frame + 1}"
            raise DataError(
                f"{_begin(shape)} was drawn on {on}, and {info.path.name} has {info.frames} frames",
                where=annotation.source,
                fix="Draw on the frames one by one, or save each frame as an image file of its own.",
            )
        left, top, right, bottom = shape.area.bounds
        if right <= 0 or bottom <= 0 or left >= info.width or top >= info.height:
            raise DataError(
                f"{_begin(shape)} lies outside of {info.path.name}: x {left:g} to {right:g}, y {top:g} to {bottom:g}, "
                f"in an image of {info.width} x {info.height} pixels (width x height)",
                where=annotation.source,
                fix="Check that the file is of this image, and that its coordinates are pixels; or delete the shape.",
            )


def _begin(shape: Shape) -> str:
    return shape.name[:1].upper() + shape.name[1:]


@dataclass
class _Remarks:
    """What is to be said, with the names of the shapes or files that it is about."""

    empty: list[str] = field(default_factory=list)
    empty_stacks: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    thin: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    overlapped: int = 0

    def sentences(self) -> list[str]:
        """One for each kind of remark."""
        said = [
            (self.empty, "annotations are empty: their images show background alone"),
            (self.empty_stacks, "annotations of stacks are empty: all frames are unlabelled"),
            (self.repaired, "outlines cross themselves: all that they run around is taken"),
            (self.cut, "shapes reach beyond their image and are cut off there"),
            (self.lost, "shapes are too small to hold the centre of a pixel, and none is labelled"),
            (self.thin, "shapes are lines or points: what lies around them is the background, and not unlabelled"),
            (self.elsewhere, "shapes were drawn on a later frame, and belong to an image that has one frame"),
            (
                self.overlapping,
                f"images have shapes of different classes over each other, on {self.overlapped} pixels: the smaller "
                "shape lies on top",
            ),
        ]
        return [f"{len(names)} {what} ({listing(names, 3)})" for names, what in said if names]


def _remark(info: ImageInfo, annotation: Annotation, found: ShapeClasses, remarks: _Remarks) -> None:
    if not annotation.shapes:
        (remarks.empty if info.frames == 1 else remarks.empty_stacks).append(annotation.source.name)
    for shape in annotation.shapes:
        name = f"{annotation.source.name}, {shape.name}"
        left, top, right, bottom = shape.area.bounds
        if isinstance(shape.area, Outline) and shape.area.repaired:
            remarks.repaired.append(name)
        if left < 0 or top < 0 or right > info.width or bottom > info.height:
            remarks.cut.append(name)
        if shape.thin:
            remarks.thin.append(name)
        if info.frames == 1 and shape.frame:
            remarks.elsewhere.append(name)
    overlapped = 0
    # All shapes of a single image lie over each other, whether or not they say on which frame they were drawn.
    frames = {shape.frame for shape in annotation.shapes} if info.frames > 1 else {None}
    for frame in frames:
        drawing = _Drawing(info, found.codes, len(found.classes))
        drawing.add([shape for shape in annotation.shapes if info.frames == 1 or shape.frame == frame])
        overlapped += drawing.overlapped
        remarks.lost += [f"{annotation.source.name}, {name}" for name in drawing.lost]
    if overlapped:
        remarks.overlapping.append(info.path.name)
        remarks.overlapped += overlapped


class _Drawing:
    """Draws shapes over each other, the largest first: a nucleus lies on its cell in whatever order a file has them.

    Attributes:
        labels: (H, W) class codes.
        objects: (H, W) number of the shape that lies on top, 0 = none, or one of the background or that is ignored.
        overlapped: pixels on which a shape covers one of another class.
        lost: names of the shapes that cover no pixel.
    """

    def __init__(self, info: ImageInfo, codes: Mapping[str | None, int], classes: int) -> None:
        self._codes, self._classes = codes, classes
        self.labels: Pixels = np.zeros((info.height, info.width), dtype=label_dtype(classes))
        self.objects: Pixels = np.zeros((info.height, info.width), dtype=OBJECT_DTYPE)
        self.overlapped = 0
        self.lost: list[str] = []

    def add(self, shapes: Sequence[Shape]) -> None:
        """Draw the shapes of an image."""
        drawn = np.zeros(self.labels.shape, dtype=bool)
        areas = [(covered(shape.area, *self.labels.shape), shape) for shape in shapes]
        areas.sort(key=lambda area: -np.count_nonzero(area[0].inside))
        for number, (area, shape) in enumerate(areas, 1):
            if not area.inside.any():
                self.lost.append(shape.name)
            part, before, objects = (
                drawn_in[area.rows, area.columns] for drawn_in in (self.labels, drawn, self.objects)
            )
            code = self._codes[shape.class_name]
            self.overlapped += int(np.count_nonzero(area.inside & before & (part != code)))
            part[area.inside], before[area.inside] = code, True
            objects[area.inside] = number if 0 < code < self._classes else 0
