"""What a `dataset.h5` holds: names, types and the version of the layout.

N images of one size are stored together; H and W are the stored height and width, in pixels.

====================  ==========  ==================================================================
`images`              (N,C,H,W)   the source's own integer or float type, one compressed chunk an image
`labels`              (N,H,W)     uint8 or uint16 class codes; 255 or 65535 = ignore
`objects`             (N,H,W)     uint32 number of the object, 0 = none; only if the masks number single objects
`labelled`            (N,)        bool: False = no mask exists (its `labels` are all ignore)
`split`               (N,)        "train", "val" or "test"
`group`               (N,)        what must not straddle splits: a sequence, a plate, a file
`source/file`         (N,)        file name the image came from; bytes that are not UTF-8 stay as they are
`source/sha256`       (N,)        of that file
`source/frame`        (N,)        page of that file
`source/origin`       (N,2)       row and column of the stored image's corner in the source frame, negative where padded
`source/shape`        (N,2)       height and width of the source frame
`source/plane`        (N,3,4)     where each lies in space, see `PlaneMatrix`, or NaN; only if any was cut from a volume
`label_order`         (L,)        one seeded order of the labelled training images; a budget is a prefix of it
`digest/images`       (N,32)      uint8: SHA-256 of each image, see `content.digest_of`
`digest/labels`       (N,32)      uint8: SHA-256 of the labels of each image; the same of `digest/objects`
====================  ==========  ==================================================================

The root attributes are `bioseg_schema`, `content_hash`, `info` (JSON of `DatasetInfo`), beside `objects` also
`objects_hash`, and `digests`: JSON with the SHA-256 of each other attribute and of each array but those of pixels, by
name. The numbers of objects are no part of the content hash: no training depends on them. Data sets of earlier versions
have no digests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo, SplitName
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize

SCHEMA_VERSION = 1
SCHEMA_ATTRIBUTE = "bioseg_schema"
PLANE_SHAPE = (3, 4)
OBJECT_DTYPE = "uint32"
NAME_ERRORS = "surrogateescape"
"""How names that are not UTF-8 become text and bytes again, as Python does it for files."""

DESCRIBING_ATTRIBUTES = ("content_hash", "info", "objects_hash")
"""`objects_hash` is not in every data set."""
DIGESTS_ATTRIBUTE = "digests"
DIGEST_BYTES = 32

DRAWN_IN_PART = "drawn_in_part"
"""Among the settings of a data set, true where masks have pixels that nobody drew; left out where they have none."""

LEFT_OUT = "left_out"
"""Among the settings of a data set, the files that could not be used, and why; missing where there are none."""

IntArray = npt.NDArray[np.int64]
Pixels = npt.NDArray[Any]

PlaneMatrix = tuple[tuple[float, float, float, float], ...]
"""Where an image lies in space: a (3, 4) matrix, by rows.

The centre of pixel (row, column) is at `plane @ (row, column, 0, 1)` millimetres of the world, x to the right, y to the
front, z upwards (RAS+): the columns are the step of a row, the step of a column, the unit normal, and pixel (0, 0).
"""


class Drawn(NamedTuple):
    """What a mask says.

    Attributes:
        labels: (H, W) class codes or the ignore label.
        objects: (H, W) number of the object that a pixel belongs to, 0 = none; None where the mask numbers none.
    """

    labels: Pixels
    objects: Pixels | None = None


@dataclass(frozen=True)
class ItemSource:
    """Where a stored image came from, so that it can be found again."""

    file: str
    sha256: str
    frame: int
    origin: tuple[int, int]
    """Row and column of the stored image's top left corner in the source frame; negative where it was padded."""
    shape: tuple[int, int]
    """Height and width of the source frame."""
    plane: PlaneMatrix | None = field(default=None, repr=False)
    """Where the stored image, not the source frame, lies in a volume; None for an image that was cut from none."""


@dataclass(frozen=True)
class Item:
    """One image on its way into a data set."""

    image: Pixels
    """(C, H, W), padded with 0 where the crop reaches over the source frame."""
    labels: Pixels | None
    """(H, W) class codes or the ignore label; None where no mask exists."""
    split: SplitName
    group: str
    source: ItemSource
    objects: Pixels | None = None
    """(H, W) number of the object that a pixel belongs to, 0 = none; None where the mask numbers no objects."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is true of a whole data set."""

    recipe: str
    settings: dict[str, Any]
    classes: tuple[ClassInfo, ...]
    normalisation: Normalisation
    pixel_size: PixelSize | None = None

    def to_json(self) -> str:
        """The root attribute `info`."""
        return json.dumps(
            {
                "recipe": self.recipe,
                "settings": self.settings,
                "classes": [class_info.model_dump() for class_info in self.classes],
                "normalisation": self.normalisation.to_json(),
                "pixel_size": None if self.pixel_size is None else self.pixel_size.to_json(),
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> DatasetInfo:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError where it is damaged."""
        content = parse_json(text)
        size = content["pixel_size"]
        if not isinstance(content["settings"], dict):
            raise TypeError("the settings are no mapping of names to values")
        return cls(
            recipe=content["recipe"],
            settings=content["settings"],
            classes=tuple(ClassInfo.model_validate(class_info) for class_info in content["classes"]),
            normalisation=Normalisation.from_json(content["normalisation"]),
            pixel_size=None if size is None else PixelSize.from_json(size),
        )


def label_dtype(classes: int) -> str:
    """The smallest label type with room for that many classes and the ignore label."""
    return "uint8" if classes <= IGNORE_BY_DTYPE["uint8"] else "uint16"
