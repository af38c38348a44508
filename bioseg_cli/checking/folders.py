"""One folder of image files, read whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bioseg_cli.checking.images import CheckedImage, Collection
from bioseg_cli.checking.result import CheckedFolder, Finding
from bioseg_cli.dataset.content import digest_of
from bioseg_cli.dataset.identity import ImageIdentity
from bioseg_cli.errors import DataError
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile, sha256_of_image
from bioseg_cli.io.prefetch import WORKERS, prefetched_map
from bioseg_cli.runs.output import Output

UNKNOWN = "unknown"


@dataclass(frozen=True)
class _File:
    """What was read of one file."""

    images: tuple[CheckedImage, ...] = ()
    kind: str = ""
    size: tuple[int, int] = (0, 0)
    pixel_size: str = UNKNOWN
    failure: DataError | None = None


@dataclass
class FolderCheck:
    """What was found in a folder of images."""

    facts: CheckedFolder
    collection: Collection
    findings: list[Finding] = field(default_factory=list)


def check_folder(folder: Path, paths: Sequence[Path], stacks: Stacks, output: Output) -> FolderCheck:
    """Read the image files of a folder; raises nothing of what is wrong with them.

    Args:
        folder: that they are in.
        paths: of the files.
        stacks: what the user said of files with several images.
        output: for progress.
    """
    with prefetched_map(lambda path: _read(path, stacks), paths, most=WORKERS) as found:
        files = list(output.track(found, f"Checking {folder.name}", len(paths)))
    readable = [file for file in files if file.failure is None]
    images = tuple(image for file in readable for image in file.images)
    sizes = sorted({file.size for file in readable})
    facts = CheckedFolder(
        path=str(folder),
        files=len(paths),
        images=len(images),
        kinds=dict(Counter(file.kind for file in readable for _ in file.images)),
        sizes=(sizes[0], sizes[-1]) if sizes else None,
        pixel_sizes=dict(Counter(file.pixel_size for file in readable)),
    )
    failures = [
        Finding(True, "unreadable", file.failure.where or str(path), file.failure.what, file.failure.fix)
        for path, file in zip(paths, files, strict=True)
        if file.failure is not None
    ]
    return FolderCheck(facts, Collection(str(folder), images), [*failures, *_mixtures(facts)])


def _read(path: Path, stacks: Stacks) -> _File:
    try:
        sha256 = sha256_of_image(path)
        images = []
        with ImageFile(path, stacks) as file:
            info = file.info
            for frame in range(info.frames):
                pixels = file.read(frame)
                name = path.name if info.frames == 1 else f"{path.name} frame {frame}"
                place = (0, info.height), (0, info.width)
                identity = ImageIdentity(path.name, sha256, frame, *place, False, digest_of(pixels).hex())
                images.append(CheckedImage.of(name, None, identity, pixels))
    except DataError as error:
        return _File(failure=error)
    kind = f"{info.channels} channel{'s' if info.channels > 1 else ''} of {info.dtype}"
    size = UNKNOWN if info.pixel_size is None else str(info.pixel_size)
    return _File(tuple(images), kind, (info.height, info.width), size)


def _mixtures(facts: CheckedFolder) -> Iterator[Finding]:
    if len(facts.kinds) > 1:
        what = f"The images are of {len(facts.kinds)} kinds: {_numbers(facts.kinds)}"
        yield Finding(False, "sizes", facts.path, what, "Images of one data set have one type and as many channels.")
    if len(facts.pixel_sizes) > 1:
        what = f"The files state {len(facts.pixel_sizes)} pixel sizes: {_numbers(facts.pixel_sizes)}"
        fix = "A network sees objects in the size of its training images: bring all to one pixel size."
        yield Finding(False, "pixel sizes", facts.path, what, fix)


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} ({count})" for kind, count in Counter(counts).most_common(5))
