"""Which channels of the images of a folder the user chose, by number or by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bioseg_cli.errors import UsageError
from bioseg_cli.io.image_info import ImageInfo
from bioseg_cli.prepare.recipe import reject_minority, reject_odd_layouts
from bioseg_cli.prepare.rejected import Rejected
from bioseg_cli.printable import listing


@dataclass(frozen=True)
class ChosenChannels:
    """The channels to take of each image.

    Attributes:
        of_image: their numbers, from 0; without the images that lack one. Empty: all channels are taken.
        notes: what the user should know of them.
    """

    of_image: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def taken_of(self, info: ImageInfo) -> ImageInfo:
        """What an image holds when only these channels of it are left."""
        numbers = self.of_image.get(info.path)
        return info if numbers is None else replace(info, channels=len(numbers))


def choose_channels(
    infos: Sequence[ImageInfo], chosen: Sequence[str], folder: Path, rejected: Rejected
) -> ChosenChannels:
    """Find the channels of `--channel` in every image, and reject the images in which they may be others.

    A number means the same channel only in files with as many channels, which call it by one name.

    Args:
        infos: of the images of a folder.
        chosen: numbers from 1, or names; none: all channels are taken, and images with another number of channels
            than most are rejected.
        folder: that the images are in.
        rejected: what images without these channels are added to.
    """
    if not chosen:
        reject_odd_layouts(infos, folder, rejected)
        return ChosenChannels()
    if infos and not any(_number(name, info) is not None for info in infos for name in chosen):
        error = UsageError(
            f"No image has a channel of --channel {','.join(chosen)}. The first: {_channels(infos[0])}",
            where=infos[0].path,
            fix="Give a number from 1, or a name that the files give a channel.",
        )
        rejected.ask(folder, "image", error)
        return ChosenChannels()
    found: dict[Path, tuple[int, ...]] = {}
    having: list[ImageInfo] = []
    for info in infos:
        numbers = {name: _number(name, info) for name in chosen}
        if lacking := [name for name, number in numbers.items() if number is None]:
            rejected.add(
                info.path,
                folder,
                "image",
                f"The image has no channel {listing(lacking)}: {_channels(info)}",
                "Give --channel a channel that all images have, or move the image away.",
            )
            continue
        found[info.path] = tuple(number for number in numbers.values() if number is not None)
        having.append(info)
    numbered = [name for name in chosen if _is_number(name)]
    reject_odd_layouts(having, folder, rejected, channels=lambda info: info.channels if numbered else len(chosen))
    alike = [info for info in having if info.path not in rejected.paths]
    _reject_other_names(alike, found, folder, rejected)
    return ChosenChannels(found, _notes(alike, chosen, found))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _number(name: str, info: ImageInfo) -> int | None:
    """The number of a channel, from 0; None where the image has no such channel, or several of this name."""
    if _is_number(name) and 1 <= int(name) <= info.channels:
        return int(name) - 1
    named = [number for number, own in enumerate(info.channel_names) if own.casefold() == name.casefold()]
    return named[0] if len(named) == 1 else None


def _channels(info: ImageInfo) -> str:
    count = "it has 1 channel" if info.channels == 1 else f"it has {info.channels} channels"
    return f"{count} ({', '.join(info.channel_names)})" if info.channel_names else f"{count} without a name"


def _reject_other_names(
    infos: Sequence[ImageInfo], found: dict[Path, tuple[int, ...]], folder: Path, rejected: Rejected
) -> None:
    """Reject images in which the chosen channels have other names than in most of those that name them."""
    shown: dict[str, str] = {}
    by_name: dict[str, list[ImageInfo]] = {}
    for info in infos:
        if info.channel_names:
            called = _called(info, found)
            name = shown.setdefault(called.casefold(), called)
            by_name.setdefault(f"the name {name} for the chosen channel", []).append(info)
    reject_minority(by_name, folder, rejected)


def _called(info: ImageInfo, found: dict[Path, tuple[int, ...]]) -> str:
    return ", ".join(info.channel_names[number] for number in found[info.path])


def _notes(infos: Sequence[ImageInfo], chosen: Sequence[str], found: dict[Path, tuple[int, ...]]) -> tuple[str, ...]:
    named = next((info for info in infos if info.channel_names), None)
    called = "" if named is None else f", called {_called(named, found)} in the files"
    counts = sorted({info.channels for info in infos})
    some = f"channel{'s' if len(chosen) > 1 else ''} {', '.join(chosen)}"
    return (f"of {' or '.join(map(str, counts))} channels, {some} is taken{called}",) if counts else ()
