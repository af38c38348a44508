"""Selections of ImageJ and Fiji: `.roi` files, and the `.zip` of its ROI Manager; by roifile.

ImageJ counts the corners of areas from the corner of the first pixel, and the points of lines from its centre.
"""

from __future__ import annotations

import logging
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from bioseg_cli.annotations.geometry import alternating, box, corners, ellipse, pixel, polygon, stroke
from bioseg_cli.annotations.shape import DAMAGED, Annotation, Area, Points, Shape, frame_of, shape_errors
from bioseg_cli.errors import DataError
from bioseg_cli.io.archives import opened_zip

_MOST_BYTES = 256 * 2**20
"""Of all selections in a file; a million corners of one take 12."""
_BY_PLACE = re.compile(r"[0-9]+(-[0-9]+)+")
"""The name that ImageJ gives to a selection: plane, row and column."""
_REPEATED = re.compile(r"-[0-9]+$")
"""What the ROI Manager adds to a name that another selection has."""

_ROI_SET = re.compile(r"[-_. ]+roi[-_. ]?s(et)?$|^roi[-_. ]?s(et)?[-_. ]+", re.IGNORECASE)

_AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
_LINES = (ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE)
_SHOWN_ALONE = {ROI_SUBTYPE.TEXT: "a text", ROI_SUBTYPE.ARROW: "an arrow", ROI_SUBTYPE.IMAGE: "an image"}


def is_roi_set(path: Path) -> bool:
    """Whether a `.zip` holds selections, or nothing at all; raises `DataError` where it cannot be read."""
    with _opened(path) as archive:
        names = archive.namelist()
        return not names or any(name.lower().endswith(".roi") for name in names)


def without_roi_set(stem: str) -> str:
    """The name of an archive without the words that ImageJ proposes: `a` for `a_RoiSet`."""
    return _ROI_SET.sub("", stem)


def annotation(path: Path) -> Annotation:
    """The shapes of a `.roi` or `.zip` file.

    Raises:
        DataError: the file is damaged or too large, or holds a selection that is no area, line or point.
    """
    if path.suffix.lower() == ".roi":
        if path.stat().st_size > _MOST_BYTES:
            raise _too_large(path)
        files = [(path.stem, path.read_bytes())]
    else:
        files = _unpacked(path)
    return Annotation(path, tuple(shape for name, data in files for shape in _shapes(path, name, data)))


def _unpacked(path: Path) -> list[tuple[str, bytes]]:
    """Name and bytes of every selection of a `.zip`."""
    with _opened(path) as archive:
        inside = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
        if others := [entry.filename for entry in inside if not entry.filename.lower().endswith(".roi")]:
            raise DataError(
                f"The archive holds selections of ImageJ and another file: {others[0]}",
                where=path,
                fix="Save the selections again by ROI Manager, More, Save.",
            )
        # No entry yields more bytes than it declares.
        if sum(entry.file_size for entry in inside) > _MOST_BYTES:
            raise _too_large(path)
        return [(Path(entry.filename).stem, archive.read(entry)) for entry in inside]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with opened_zip(path, DAMAGED) as archive:
            yield archive
    except OSError as error:
        raise DataError(f"The archive cannot be read ({error})", where=path, fix=DAMAGED) from None


def _too_large(path: Path) -> DataError:
    return DataError(
        f"The file holds more than {_MOST_BYTES // 2**20} MiB, which selections do not need",
        where=path,
        fix="Check that it is a set of selections of ImageJ.",
    )


def _shapes(path: Path, label: str, data: bytes) -> list[Shape]:
    name = f"selection {label}"
    with _damage_refused(path, name):
        roi = ImagejRoi.frombytes(data)
    with shape_errors(path, name):
        class_name = _class_name(roi, label)
        if path.suffix.lower() == ".roi" and class_name == path.stem:
            class_name = None  # ImageJ gives the name of the file to a selection that is saved alone
        thin = roi.roitype in (*_LINES, ROI_TYPE.POINT)
        placed = zip(_areas(roi), _frames(roi), strict=True)
        return [Shape(name, class_name, area, frame, thin) for area, frame in placed]


@contextmanager
def _damage_refused(path: Path, name: str) -> Iterator[None]:
    """Raise `DataError` where roifile fails, or logs that it leaves something out and goes on."""

    def refuse(record: logging.LogRecord) -> bool:
        raise ValueError(record.getMessage())

    log = logging.getLogger("roifile")
    log.addFilter(refuse)
    try:
        yield
    except (ValueError, TypeError, AssertionError, OverflowError, struct.error) as error:
        raise DataError(f"S{name[1:]} cannot be read ({error})", where=path, fix=DAMAGED) from None
    finally:
        log.removeFilter(refuse)


def _class_name(roi: ImagejRoi, label: str) -> str | None:
    """The group, or else the name without what ImageJ puts in its place or adds to it."""
    if roi.group:
        return f"group {roi.group}"
    name = (roi.name or label).removesuffix(".roi")
    return None if _BY_PLACE.fullmatch(name) else _REPEATED.sub("", name) or None


def _frames(roi: ImagejRoi) -> list[int | None]:
    """The frame of the selection, or of each of its points."""
    frame: int | None = None
    if roi.z_position > 0 or roi.t_position > 0:
        # Of a hyperstack; its channels are of one image, so that of a selection does not matter.
        frame = frame_of(max(roi.t_position - 1, 0), max(roi.z_position - 1, 0))
    elif roi.position > 0:
        frame = roi.position - 1
    if roi.roitype != ROI_TYPE.POINT:
        return [frame]
    places = np.zeros(roi.n_coordinates) if roi.counter_positions is None else roi.counter_positions
    if places.any() and (roi.z_position or roi.t_position):
        raise ValueError("has points on several planes of a hyperstack: save the points of each plane as a selection")
    return [int(place) - 1 if place else frame for place in places]


def _areas(roi: ImagejRoi) -> list[Area]:
    """The area of a selection; of points that of each."""
    kind, subtype = roi.roitype, roi.subtype
    if subtype in _SHOWN_ALONE:
        raise ValueError(f"is {_SHOWN_ALONE[subtype]}, and no area, line or point")
    if roi.composite:
        try:
            return [alternating(roi.coordinates(multi=True))]
        except NotImplementedError:
            raise ValueError("holds curves, and only straight edges are read") from None
        except RuntimeError as error:
            raise ValueError(f"holds a path that cannot be read ({error})") from None
    if kind in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        return [_upright(roi)]
    if kind == ROI_TYPE.FREEHAND and subtype in (ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT):
        return [_slanted(roi)]
    if kind in _AREAS:
        return [polygon(roi.coordinates())]
    if kind in _LINES:
        width = roi.float_stroke_width or roi.stroke_width or 1
        return [stroke(_centred(roi), width)]
    if kind == ROI_TYPE.POINT:
        if roi.counters is not None and len(np.unique(roi.counters)) > 1:
            raise ValueError("has points of several counters: save the points of each counter as a selection")
        return [pixel(x, y) for x, y in _centred(roi)]
    raise ValueError(f"is of the type {kind.name.lower()}, and no area, line or point")


def _centred(roi: ImagejRoi) -> Points:
    return corners(roi.coordinates()) + 0.5


def _upright(roi: ImagejRoi) -> Area:
    """A rectangle or an oval within one."""
    if roi.subpixelrect:
        left, top, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
    else:
        left, top, width, height = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
    if roi.roitype == ROI_TYPE.OVAL:
        return ellipse((left + width / 2, top + height / 2), (width / 2, 0), (0, height / 2))
    return box(left, top, left + width, top + height, rounded=roi.rounded_rect_arc_size / 2)


def _slanted(roi: ImagejRoi) -> Area:
    """An ellipse or a rectangle around an axis: with its width, or the ratio of it to the length of the axis."""
    # The four bytes of this number are other fields in selections of other types.
    fields = (roi.arrow_style_or_aspect_ratio, roi.arrow_head_size, roi.rounded_rect_arc_size)
    (number,) = struct.unpack(">f", struct.pack(">BBh", *fields))
    start, stop = corners([(roi.x1, roi.y1), (roi.x2, roi.y2)])
    along = (stop - start) / 2
    across = np.array([-along[1], along[0]])
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return ellipse((start + stop) / 2, along, across * number)
    aside = across / (np.hypot(*across) or 1) * number / 2
    return polygon([start - aside, stop - aside, stop + aside, start + aside])
