"""One data set, read whole: whether it is what it was, what its masks hold, and what is kept of its images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.checking.images import CheckedImage, Collection
from bioseg_cli.checking.result import CheckedDataset, Finding, FindingKind
from bioseg_cli.config import SplitName
from bioseg_cli.dataset.identity import ImageIdentity
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.dataset.verification import content_hash_of, refuse_changed
from bioseg_cli.errors import DataError
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.prepare.splits import straddling_groups
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass
class DatasetCheck:
    """What was found in a data set; `facts` is None where it cannot be opened."""

    facts: CheckedDataset | None = None
    collection: Collection | None = None
    class_names: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Read:
    """What was read of one image: None, for pixels or labels, where that failed."""

    image: Pixels | None
    labels: Pixels | None
    kept: CheckedImage | None
    counts: NDArray[np.int64]
    failures: tuple[DataError, ...]


def check_dataset(path: Path, output: Output) -> DatasetCheck:
    """Read a data set; raises nothing of what is wrong with it."""
    try:
        with Dataset(path) as dataset:
            return _Reading(dataset).check(output)
    except DataError as error:
        return DatasetCheck(findings=[_harm(path, error)])


def _harm(path: Path, error: DataError) -> Finding:
    kind: FindingKind = "changed" if "was changed" in error.what else "unreadable"
    return Finding(True, kind, str(path), error.what, error.fix)


class _Reading:
    """Reads an open data set."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.images: list[CheckedImage] = []
        self.findings: list[Finding] = []
        self.counts = np.zeros((dataset.size, len(dataset.classes)), dtype=np.int64)

    def check(self, output: Output) -> DatasetCheck:
        """Read every image once, and say what was found."""
        dataset = self.dataset
        with prefetched_map(self._read, range(dataset.size), most=WORKERS) as found:
            track = partial(output.track, description=f"Checking {dataset.path.name}", total=dataset.size)
            whole = self._keep(track(found))
            content_hash = content_hash_of(dataset, whole)
        if not self.findings:
            try:
                refuse_changed(dataset, content_hash)
            except DataError as error:
                self.findings.append(_harm(dataset.path, error))
        unchanged = not self.findings
        self.findings += self._mask_findings()
        return DatasetCheck(
            self._facts(unchanged=unchanged),
            Collection(str(dataset.path), tuple(self.images)),
            tuple(info.name for info in dataset.classes),
            self.findings,
        )

    def _read(self, index: int) -> _Read:
        dataset = self.dataset
        failures = []
        image = labels = kept = None
        counts = np.zeros(len(dataset.classes), dtype=np.int64)
        try:
            image = dataset.image(index)
            split: SplitName = next(name for name in SPLITS if name == dataset.split[index])
            shown = image[:, *dataset.extent(index)]
            kept = CheckedImage.of(dataset.name(index), split, ImageIdentity.of(dataset, index), shown)
        except DataError as error:
            failures.append(error)
        try:
            labels = dataset.labels(index)
            counts = np.bincount(labels.reshape(-1), minlength=len(counts))[: len(counts)]
        except DataError as error:
            failures.append(error)
        return _Read(image, labels, kept, counts, tuple(failures))

    def _keep(self, found: Iterator[_Read]) -> Iterator[tuple[Pixels, Pixels]]:
        """Keep what is needed of each image, and hand on what the content hash is of."""
        empty = np.empty(0, dtype=np.uint8)
        for index, read in enumerate(found):
            self.findings += [_harm(self.dataset.path, failure) for failure in read.failures]
            self.counts[index] = read.counts
            if read.kept is not None:
                self.images.append(read.kept)
            yield (
                empty if read.image is None else read.image,
                empty if read.labels is None else read.labels,
            )

    def _facts(self, *, unchanged: bool) -> CheckedDataset:
        dataset = self.dataset
        sizes = sorted({dataset.source(index).shape for index in range(dataset.size)})
        images: dict[str, dict[str, int]] = {}
        shares: dict[str, dict[str, float]] = {}
        names = [info.name for info in dataset.classes]
        for split in SPLITS:
            chosen = dataset.split == split
            labelled = int(dataset.labelled[chosen].sum())
            images[split] = {"labelled": labelled, "unlabelled": int(chosen.sum()) - labelled}
            counts = self.counts[chosen].sum(axis=0)
            if counts.any():
                shares[split] = dict(zip(names, (counts / counts.sum()).tolist(), strict=True))
        return CheckedDataset(
            path=str(dataset.path),
            content_hash=dataset.content_hash,
            unchanged=unchanged,
            images=images,
            image_shape=dataset.image_shape,
            image_dtype=str(dataset.image_dtype),
            source_sizes=(sizes[0], sizes[-1]),
            pixel_size=None if dataset.info.pixel_size is None else str(dataset.info.pixel_size),
            class_shares=shares,
        )

    def _mask_findings(self) -> Iterator[Finding]:
        dataset, where = self.dataset, str(self.dataset.path)
        labelled, counted = np.flatnonzero(dataset.labelled), self.counts.sum(axis=1)
        unlabelled = [dataset.name(index) for index in labelled.tolist() if not counted[index]]
        if unlabelled:
            what = f"Every pixel is ignored in {_masks(unlabelled)}: {listing(unlabelled)}"
            yield Finding(False, "masks", where, what, None, tuple(unlabelled))
        empty = [dataset.name(i) for i in labelled.tolist() if counted[i] and not self.counts[i, 1:].any()]
        if empty:
            what = f"Every pixel is {dataset.classes[0].name!r} in {_masks(empty)}: {listing(empty)}"
            yield Finding(False, "masks", where, what, "Check that these images show nothing else.", tuple(empty))
        training = self.counts[dataset.split == "train"].sum(axis=0)
        for info, count in zip(dataset.classes, training.tolist(), strict=True):
            if training.any() and not count:
                yield Finding(False, "classes", where, f"No training mask shows the class {info.name!r}")
        splits: list[SplitName] = [next(name for name in SPLITS if name == split) for split in dataset.split]
        if groups := straddling_groups(dataset.group.tolist(), splits):
            number = "1 group" if len(groups) == 1 else f"{len(groups)} groups"
            what = f"Images of {number} are in several splits: {listing(groups)}"
            fix = "If images of a group show the same cells, split by group: otherwise scores are too good."
            yield Finding(False, "groups", where, what, fix)


def _masks(names: Sequence[str]) -> str:
    return "1 mask" if len(names) == 1 else f"{len(names)} masks"
