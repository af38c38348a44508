"""Reading a `dataset.h5`: every problem is named with the file and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from bioseg_cli.config import IGNORE_BY_DTYPE, ClassInfo, SplitName
from bioseg_cli.dataset.budgets import LabelBudgets
from bioseg_cli.dataset.chunks import read_image
from bioseg_cli.dataset.content import digest_of
from bioseg_cli.dataset.crops import tile_area
from bioseg_cli.dataset.descriptions import PREPARE_AGAIN, Descriptions, changed_error, read_descriptions
from bioseg_cli.dataset.schema import DRAWN_IN_PART, IntArray, ItemSource, Pixels, PlaneMatrix
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.hdf5 import DAMAGE, open_hdf5
from bioseg_cli.io.names import on_any_disk, stem_of

DATA_FOLDER = Path("data")
TILED = "tile"
"""The setting of a data set whose images are tiles; see `prepare.settings`."""


def find_dataset(given: Path | None) -> Path:
    """The data set to work on: the one given, or the only one in `data/`.

    Raises:
        UsageError: none was given and `data/` does not hold exactly one.
    """
    if given is not None:
        return given
    there = sorted(DATA_FOLDER.glob("[!.]*.h5"))
    if len(there) == 1:
        return there[0]
    if not there:
        raise UsageError("No data set was given and data/ holds none", fix="Make one with `bioseg prepare`.")
    raise UsageError("No data set was given and data/ holds several", fix=f"Name one of {', '.join(map(str, there))}.")


class Dataset:
    """A prepared data set, open for reading. A context manager.

    What describes the images is verified when it is opened, and each image and mask when it is read: by the digests in
    the file, which those of earlier versions do not have.

    Attributes:
        path: the file.
        info: recipe, classes, normalisation, pixel size.
        stored_info: the text that `info` was read from.
        content_hash: SHA-256 of everything in it, as it was made; see `verification`.
        verified_as_read: whether it has digests.
        size: N, the number of images.
        image_shape: (C, H, W).
        image_dtype, label_dtype: types of the stored pixels and labels.
        ignore: the label that counts nowhere.
        numbers_objects: whether masks number single objects.
        objects_hash: SHA-256 of the numbers, which the content hash leaves out; None where there are none.
        labelled, split, group: (N,) arrays; see `schema`.

    Raises:
        DataError: no such file, not HDF5, truncated, not a bioseg data set, a newer schema, damaged, or changed after
            it was made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown: dict[int, frozenset[int]] = {}
        try:
            there = path.is_file()
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            raise DataError(f"The system refuses: {error.strerror}", where=path, fix="Check the path.") from None
        if not there:
            raise DataError("There is no such data set", where=path, fix="Make one with `bioseg prepare`.")
        self._file = open_hdf5(path, called="The data set", again=PREPARE_AGAIN)
        try:
            described = read_descriptions(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.info = described.info
        self.stored_info = described.stored_info
        self.content_hash = described.content_hash
        self.size = len(described.labelled)
        self.image_shape = described.image_shape
        self.image_dtype = described.image_dtype
        self.label_dtype = described.label_dtype
        self.ignore = IGNORE_BY_DTYPE[described.label_dtype]
        self.numbers_objects = described.numbers_objects
        self.objects_hash = described.objects_hash
        self.labelled = described.labelled
        self.split = described.split
        self.group = described.group
        self.label_order = described.label_order
        self.verified_as_read = described.digests is not None
        self._described = described
        self._names = _unique_names(described)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes; a label is an index into them."""
        return self.info.classes

    @property
    def drawn_in_part(self) -> bool:
        """Whether masks have pixels that nobody drew, unlike those that are ignored for a reason."""
        return bool(self.info.settings.get(DRAWN_IN_PART, False))

    def labelled_area(self, index: int) -> tuple[int, int]:
        """How many pixels of an image have a label, and how many show the source.

        Of tiles that overlap, the pixels that tiles before this one show do not count, as they have their labels there.
        """
        rows, columns = self.extent(index)
        labels = self.labels(index)[rows, columns]
        shown = labels.size
        if self.info.settings.get(TILED):
            source = self.source(index)
            shown = tile_area(source.origin, source.shape, self.image_shape[1])
        return int(np.count_nonzero(labels != self.ignore)), shown

    @property
    def deep(self) -> bool:
        """Whether the stored pixels have more than 8 bits."""
        return self.image_dtype != np.uint8

    def indices(self, split: SplitName, *, labelled: bool | None = None) -> IntArray:
        """Indices of a split's images, all or only those with (without) a mask."""
        chosen = self.split == split
        if labelled is not None:
            chosen &= self.labelled == labelled
        return np.flatnonzero(chosen)

    def label_subset(self, *, ratio: float = 1.0, count: int | None = None, draw: int = 0) -> IntArray:
        """The labelled training images of a budget; smaller budgets of a draw are inside its larger ones.

        A ratio is of the labelled training images, rounded (a half to the even number) and at least 1. Budgets show
        every class where they can, see `label_budgets`.

        Raises:
            DataError: there are no labelled training images.
            UsageError: more labels are asked for than there are.
        """
        available = len(self.label_order)
        if available == 0:
            raise DataError(
                "No training image has a mask", where=self.path, fix="Prepare it again with masks for some images."
            )
        if count is None:
            count = max(1, round(ratio * available))
        if count > available:
            raise UsageError(
                f"{count} labelled images were asked for, the training split has {available}",
                where=self.path,
                fix=f"Give --labels {available} or less.",
            )
        return self.label_budgets(draw).first(count)

    def label_budgets(self, draw: int = 0) -> LabelBudgets:
        """The budgets of a draw: of draw 0 in `label_order`, of each other number in another random order."""
        order, available = self.label_order, len(self.label_order)
        if draw:
            order = np.random.default_rng([draw, available]).permutation(order)
        return LabelBudgets(order, len(self.classes), self.shown_classes)

    def shown_classes(self, index: int) -> frozenset[int]:
        """The classes that an image has labelled pixels of; its mask is read once."""
        if index not in self._shown:
            labels = self.labels(index)
            # A pass a class: a histogram takes four times as long.
            self._shown[index] = frozenset(code for code in range(len(self.classes)) if (labels == code).any())
        return self._shown[index]

    def image(self, index: int) -> Pixels:
        """(C, H, W) pixels as stored."""
        return self._verified("images", index, self._read("images", index))

    def labels(self, index: int) -> Pixels:
        """(H, W) class codes, `ignore` where a pixel counts nowhere; raises `DataError` for a code without a class."""
        labels = self._read("labels", index)
        outside = labels[(labels >= len(self.classes)) & (labels != self.ignore)]
        if outside.size:
            raise DataError(
                f"labels[{index}] holds {outside[0]}, the data set has {len(self.classes)} classes",
                where=self.path,
                fix=PREPARE_AGAIN,
            )
        return self._verified("labels", index, labels)

    def digest(self, index: int) -> str:
        """SHA-256 of the pixels of an image, in hexadecimal; see `content.digest_of`."""
        digests = self._described.digests
        return digest_of(self.image(index)).hex() if digests is None else digests["images"][index].tobytes().hex()

    def objects(self, index: int) -> Pixels:
        """(H, W) number of the object that a pixel belongs to, 0 = none; only where the data set numbers objects."""
        return self._verified("objects", index, self._read("objects", index))

    def normalised(self, index: int) -> npt.NDArray[np.float32]:
        """(C, H, W) float32 in [0, 1] by the training split's normalisation."""
        return self.info.normalisation.apply(self.image(index))

    def _read(self, name: str, index: int) -> Pixels:
        try:
            return read_image(self._file[name], index)
        except DAMAGE as error:
            raise DataError(f"{name}[{index}] cannot be read ({error})", where=self.path, fix=PREPARE_AGAIN) from None

    def _verified(self, name: str, index: int, pixels: Pixels) -> Pixels:
        digests = self._described.digests
        if digests is not None and digest_of(pixels) != digests[name][index].tobytes():
            raise changed_error(self.path, f"{name}[{index}] ({self.name(index)})")
        return pixels

    def source(self, index: int) -> ItemSource:
        """Where an image came from."""
        described = self._described
        origin, shape = described.origins[index], described.shapes[index]
        return ItemSource(
            file=str(described.files[index]),
            sha256=str(described.hashes[index]),
            frame=int(described.frames[index]),
            origin=(int(origin[0]), int(origin[1])),
            shape=(int(shape[0]), int(shape[1])),
            plane=self._plane(index),
        )

    def _plane(self, index: int) -> PlaneMatrix | None:
        planes = self._described.planes
        if planes is None or np.isnan(planes[index]).any():
            return None
        return tuple((a, b, c, d) for a, b, c, d in planes[index].tolist())

    def extent(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of the stored image that show the source; the rest is padding."""
        rows, columns = (
            slice(max(0, -int(origin)), min(stored, int(full) - int(origin)))
            for origin, stored, full in zip(
                self._described.origins[index], self.image_shape[1:], self._described.shapes[index], strict=True
            )
        )
        return rows, columns

    def name(self, index: int) -> str:
        """A readable name, unique whatever the disk: the file's stem, with group, frame and crop where needed."""
        return self._names[index]

    def named(self, names: Iterable[str]) -> IntArray | None:
        """The indices of images by their names; None where one has none."""
        known = {name: index for index, name in enumerate(self._names)}
        found = [known.get(name) for name in names]
        return None if None in found else np.array(found, dtype=np.int64)


def _unique_names(described: Descriptions) -> list[str]:
    names = [stem_of(Path(name)) for name in described.files.tolist()]
    parts = {
        "{name}_f{part:03d}": described.frames.tolist(),
        "{part}_{name}": [group.replace("/", "_") for group in described.group.tolist()],
        "{name}_{part}": [f"y{row}_x{column}" for row, column in described.origins.tolist()],
        "{name}_{part:05d}": range(len(names)),
    }
    # Each part is added only where it tells images of one name apart, the most telling one first.
    for pattern, values in parts.items():
        told: dict[str, set[object]] = {}
        for name, value in zip(names, values, strict=True):
            told.setdefault(on_any_disk(name), set()).add(value)
        names = [
            pattern.format(name=name, part=value) if len(told[on_any_disk(name)]) > 1 else name
            for name, value in zip(names, values, strict=True)
        ]
    return names
