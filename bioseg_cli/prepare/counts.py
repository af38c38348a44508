"""What passes through while a data set is written: counts of images and classes, and images that come twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.content import digest_of
from bioseg_cli.dataset.copies import Signature, is_blank, near_duplicates, signature
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.prepare.recipe import SourceImage
from bioseg_cli.prepare.splits import SPLITS
from bioseg_cli.prepare.statistics import value_counts
from bioseg_cli.printable import listing


class DatasetCounts:
    """Counts stored images and labelled pixels by split."""

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self._names = [class_info.name for class_info in classes]
        self._labelled = dict.fromkeys(SPLITS, 0)
        self._unlabelled = dict.fromkeys(SPLITS, 0)
        self._areas = dict.fromkeys(SPLITS, 0)
        self._pixels = {split: np.zeros(len(classes), dtype=np.int64) for split in SPLITS}

    def add(self, split: SplitName, labels: Pixels | None, area: int) -> None:
        """Count one stored image with its labels (H, W), uint8 or uint16, or without.

        `area` pixels show its source, and no image before it shows them.
        """
        if labels is None:
            self._unlabelled[split] += 1
            return
        self._labelled[split] += 1
        self._areas[split] += area
        self._pixels[split] += value_counts(labels)[: len(self._names)]

    def images(self) -> dict[str, dict[str, int]]:
        """Numbers of stored images by split, with and without a mask."""
        return {split: {"labelled": self._labelled[split], "unlabelled": self._unlabelled[split]} for split in SPLITS}

    def shares(self) -> dict[str, dict[str, float]]:
        """Share of each class in the labelled pixels of a split; splits without any are left out."""
        return {
            split: dict(zip(self._names, (counts / counts.sum()).tolist(), strict=True))
            for split, counts in self._pixels.items()
            if counts.any()
        }

    def labelled_area(self) -> dict[str, dict[str, float]]:
        """Pixels with a label by split, and their share of the labelled images; splits without any are left out."""
        return {
            split: {"pixels": int(counts.sum()), "share": int(counts.sum()) / self._areas[split]}
            for split, counts in self._pixels.items()
            if self._areas[split]
        }

    def refuse_lost_labels(self, labelled: Collection[SplitName]) -> None:
        """Raise `DataError` where a split of labelled images has no crop with a label."""
        for split in labelled:
            if not self._labelled[split]:
                raise DataError(
                    f"Where the images of the {split} split were drawn, the crops do not reach",
                    fix="Give a larger --crop, or --crop 0 for whole images.",
                )

    def refuse_single_class(self) -> None:
        """Raise `DataError` where the training masks show one class only, so that nothing can be learnt from them."""
        shown = [name for name, count in zip(self._names, self._pixels["train"], strict=True) if count]
        if self._labelled["train"] and len(shown) < 2:
            what = f"one class, {shown[0]!r}" if shown else "no class at all: every pixel is ignored"
            raise DataError(
                f"The masks of the training images show {what}",
                fix="Add a mask that shows the others too, or change what the masks mean, --crop or --seed.",
            )

    def notes(self) -> list[str]:
        """What the user should know of the split."""
        notes = []
        if not any(self._labelled.values()):
            return ["no image has a mask: train-iic can use this data set, train-uda cannot"]
        if not self._labelled["test"]:
            notes.append("the test split has no labelled image: nothing is kept apart for a final score")
        for name, count in zip(self._names, self._pixels["train"], strict=True):
            if not count:
                notes.append(f"no training mask shows the class {name!r}")
        return notes


@dataclass(frozen=True)
class Fingerprint:
    """What two images share if their pixels are the same, or if they look alike.

    Attributes:
        sha256: of type, shape and pixels.
        blank: whether all pixels have one value.
        signature: what they look like, see `dataset.copies`.
    """

    sha256: str
    blank: bool
    signature: Signature

    @classmethod
    def of(cls, pixels: Pixels) -> Fingerprint:
        """The fingerprint of a source image (C, H, W)."""
        return cls(digest_of(pixels).hex(), is_blank(pixels), signature(pixels))


class Repeats:
    """Finds images that come twice: a copy under another name or with another header, or an image that looks alike."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, SplitName]] = {}
        self._within = 0
        self._across: list[str] = []
        self._looks: dict[SplitName, list[tuple[str, Signature]]] = {split: [] for split in SPLITS}

    def add(self, image: SourceImage, split: SplitName, pixels: Fingerprint) -> None:
        """See one source image."""
        name = f"{image.file} frame {image.frame}" if image.frame else image.file
        first, first_split = self._seen.setdefault(pixels.sha256, (name, split))
        if image.plane is None:  # neighbouring slices of a volume look alike, and are kept apart by slabs
            self._looks[split].append((name, pixels.signature))
        # Blank images, as at the edge of a slide, are equal without being copies.
        if first != name and not pixels.blank:
            if first_split == split:
                self._within += 1
            else:
                self._across.append(f"{first} ({first_split}) = {name} ({split})")

    def refuse_across_splits(self) -> None:
        """Raise `DataError` where the pixels of one image are in two splits."""
        if self._across:
            raise DataError(
                f"{len(self._across)} images are copies of one in another split: {listing(self._across)}",
                fix="Move the copies away: a network would be scored on what it was trained on.",
            )

    def warning(self) -> str | None:
        """What the reader must know of images in two splits that look alike; None where there are none."""
        training, held = self._looks["train"], [*self._looks["val"], *self._looks["test"]]
        pairs = near_duplicates([look for _, look in held], [look for _, look in training])
        found = {held[number][0]: training[partner][0] for number, partner, _ in pairs}
        if not found:
            return None
        named = listing([f"{name} like {partner}" for name, partner in found.items()], 3)
        number = (
            "1 image for validation or test looks"
            if len(found) == 1
            else f"{len(found)} images for validation or test look"
        )
        return (
            f"{number} like a training image ({named}). Where they show the same cells, the scores will be too good. "
            "`bioseg check` lists all pairs."
        )

    def notes(self) -> list[str]:
        """Copies inside one split."""
        if not self._within:
            return []
        return [f"{self._within} images are copies of another one in the same split"]
