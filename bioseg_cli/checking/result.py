"""What `session.run` returns: facts of everything that was read, and what is wrong or unusual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

FindingKind = Literal[
    "unreadable",
    "changed",
    "copies",
    "look-alikes",
    "seen",
    "classes",
    "masks",
    "intensities",
    "sizes",
    "pixel sizes",
    "groups",
    "run",
]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or unusual.

    Attributes:
        harm: results that rely on it are wrong; otherwise a remark.
        kind: of what it is about.
        where: file or folder.
        what: in a sentence without a full stop.
        fix: what to do, in a sentence; None where there may be nothing to do.
        images: names of the images it is about; of pairs, both names.
    """

    harm: bool
    kind: FindingKind
    where: str
    what: str
    fix: str | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedDataset:
    """A data set that was read.

    Attributes:
        path: the file.
        content_hash: that it states.
        unchanged: its content has that hash.
        images: numbers of `labelled` and `unlabelled` images by split.
        image_shape: (C, H, W).
        image_dtype: type of the pixels.
        source_sizes: height and width of the smallest and the largest image that it was made of.
        pixel_size: in words, where it is known.
        class_shares: share of each class in the labelled pixels, by split; splits without any are left out.
    """

    path: str
    content_hash: str
    unchanged: bool
    images: Mapping[str, Mapping[str, int]]
    image_shape: tuple[int, int, int]
    image_dtype: str
    source_sizes: tuple[tuple[int, int], tuple[int, int]]
    pixel_size: str | None
    class_shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class CheckedRun:
    """A run that was read.

    Attributes:
        path: the run directory.
        command: that trained it.
        status: how it ended.
        data: data set that it records.
        data_hash: content hash of that data set.
        states: SHA-256 of the file of each saved state.
        seen: images that it has learnt from or was chosen by; None where that is not known.
    """

    path: str
    command: str
    status: str
    data: str
    data_hash: str
    states: Mapping[str, str]
    seen: int | None


@dataclass(frozen=True)
class CheckedFolder:
    """A folder of images that was read.

    Attributes:
        path: the folder.
        files: image files.
        images: that they hold, as far as they can be read.
        kinds: number of images by channels and type of their pixels.
        sizes: height and width of the smallest and the largest image; None where no image can be read.
        pixel_sizes: number of files by their pixel size, in words; "unknown" where they do not state it.
    """

    path: str
    files: int
    images: int
    kinds: Mapping[str, int]
    sizes: tuple[tuple[int, int], tuple[int, int]] | None
    pixel_sizes: Mapping[str, int]


@dataclass(frozen=True)
class CheckResult:
    """What was read, and what was found.

    Attributes:
        datasets, runs, folders: that could be read, in the order given.
        findings: those that do harm first.
    """

    datasets: tuple[CheckedDataset, ...]
    runs: tuple[CheckedRun, ...]
    folders: tuple[CheckedFolder, ...]
    findings: tuple[Finding, ...]

    @property
    def harmful(self) -> tuple[Finding, ...]:
        """The findings that make results wrong."""
        return tuple(finding for finding in self.findings if finding.harm)

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {"harm": bool(self.harmful), **asdict(self)}
