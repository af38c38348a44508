"""What tells an image again in another data set: the place in a file that it came from, and its pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from bioseg_cli.dataset.reader import Dataset

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class ImageIdentity:
    """Where an image came from, and what it shows.

    Attributes:
        file: name of its file, as it was recorded.
        sha256: of that file.
        frame: page of that file.
        rows, columns: of the source frame that the image shows: the first one, and the one behind the last.
        in_volume: it was cut from a volume, where rows and columns say nothing of the place.
        pixels: digest of its pixels, see `content.digest_of`.
    """

    file: str
    sha256: str
    frame: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    in_volume: bool
    pixels: str

    @classmethod
    def of(cls, dataset: Dataset, index: int) -> ImageIdentity:
        """The identity of an image of a data set; of a data set of an earlier version, the image is read."""
        source = dataset.source(index)
        rows, columns = (
            (shown.start + corner, shown.stop + corner)
            for shown, corner in zip(dataset.extent(index), source.origin, strict=True)
        )
        in_volume = source.plane is not None
        return cls(source.file, source.sha256, source.frame, rows, columns, in_volume, dataset.digest(index))

    def overlaps(self, other: ImageIdentity) -> bool:
        """Whether both show a common part of one frame of a file; of slices of a volume this is never known."""
        if self.in_volume or other.in_volume or (self.sha256, self.frame) != (other.sha256, other.frame):
            return False
        sides = ((self.rows, other.rows), (self.columns, other.columns))
        return all(max(ours[0], theirs[0]) < min(ours[1], theirs[1]) for ours, theirs in sides)


class KnownImages(Generic[Thing]):
    """Images that others are looked up among."""

    def __init__(self) -> None:
        self._by_pixels: defaultdict[str, list[Thing]] = defaultdict(list)
        self._by_frame: defaultdict[tuple[str, int], list[tuple[ImageIdentity, Thing]]] = defaultdict(list)
        self._volumes: set[str] = set()

    def add(self, identity: ImageIdentity, thing: Thing) -> None:
        """Know one more image, which stands for `thing`."""
        self._by_pixels[identity.pixels].append(thing)
        self._by_frame[identity.sha256, identity.frame].append((identity, thing))
        if identity.in_volume:
            self._volumes.add(identity.sha256)

    def overlapping(self, identity: ImageIdentity) -> Iterator[Thing]:
        """Those that show a part of the image."""
        for known, thing in self._by_frame.get((identity.sha256, identity.frame), ()):
            if identity.overlaps(known):
                yield thing

    def equal(self, identity: ImageIdentity) -> Iterator[Thing]:
        """Those with the same pixels; blank images have them without being copies."""
        yield from self._by_pixels.get(identity.pixels, ())

    def of_one_volume(self, identity: ImageIdentity) -> bool:
        """Whether the image was cut from a volume that known ones were cut from."""
        return identity.in_volume and identity.sha256 in self._volumes
