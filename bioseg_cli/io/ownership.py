"""One process at a time writes to a folder or a file: its owner leaves a hidden file there that says who it is.

Locks of the operating system do not do: many network file systems have none, or have them for one machine alone. Here
the file system only has to make a file that does not exist yet. Whether an owner is still at work is known at once
where it runs, or ran, on this machine. The owner on another machine touches its file again and again; where it has not
done so for `SILENT_SECONDS` while this process watches, it is gone. No clock is compared with that of another machine.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.errors import OutputError, UsageError
from bioseg_cli.io.files import CLAIMING, FOLDER, OWNER, hidden_name, write_failure
from bioseg_cli.io.leftovers import discard_partial, discard_partial_of
from bioseg_cli.io.owner import Owner

BEAT_SECONDS = 10.0
"""An owner touches its file this often."""
SILENT_SECONDS = 60.0
"""An owner on another machine that does not touch its file for so long is gone."""
CLAIM_SECONDS = 5.0
"""Reading and writing the files of owners takes milliseconds; who takes longer was killed over it."""
_PAUSE_SECONDS = 0.05


def _silently(text: str) -> None:
    """Nobody is told."""


class Ownership:
    """A place that this process owns; see `owned_folder`."""

    def __init__(self, path: Path, owner: Owner, place: Path) -> None:
        self._path = path
        self._owner = owner
        self._place = place

    def check(self) -> None:
        """Raise `OutputError` where another process has taken the place over, while this one was silent for long."""
        found = Owner.read(self._path)
        if found is not None and found.token not in ("", self._owner.token):
            raise OutputError(
                f"{found} took over, because this process showed no sign of life for {SILENT_SECONDS:g} s",
                where=self._place,
                fix="Nothing more was written here. Look at what the other process does.",
            )

    def keep(self, ended: threading.Event) -> None:
        """Touch the file until the work has ended."""
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def release(self) -> None:
        """Remove the file, unless it is another's by now."""
        with contextlib.suppress(OSError):
            if (found := Owner.read(self._path)) is not None and found.token == self._owner.token:
                self._path.unlink()


@contextlib.contextmanager
def owned_folder(
    folder: Path, *, part: str | None = None, tidy: bool = True, say: Callable[[str], None] = _silently
) -> Iterator[Ownership]:
    """Own a folder, which is made where there is none, while the context is entered.

    Args:
        folder: that is written to.
        part: own this part of its files alone. Parts of other names do not exclude each other.
        tidy: whether to remove what owners that were killed left half-written anywhere below it; never of a part.
        say: is told where it takes a while to see whether an earlier owner is gone.

    Raises:
        OutputError: another process owns the folder or this part of it, or the folder cannot be written.
    """
    whole, mine = (folder / hidden_name(f"{FOLDER}{suffix}", OWNER) for suffix in ("", f"-{part}" if part else ""))

    def owners() -> list[Path]:
        return sorted(folder.glob(f".{FOLDER}*{OWNER}")) if part is None else [whole, mine]

    place = _Place(folder, mine, folder / hidden_name(FOLDER, CLAIMING), owners)
    with _made(folder), _owned(place, 0, say) as ownership:
        if tidy and part is None:
            discard_partial(folder)
        yield ownership


@contextlib.contextmanager
def owned_file(path: Path, *, wait: float = 0, say: Callable[[str], None] = _silently) -> Iterator[Ownership]:
    """Own a file, which need not exist, and what is named after it; see `owned_folder`.

    Args:
        path: that is written.
        wait: seconds to wait for an owner to end, before it is refused.
        say: see `owned_folder`.
    """
    mine, claiming = (path.with_name(hidden_name(path.name, ending)) for ending in (OWNER, CLAIMING))
    with _made(path.parent), _owned(_Place(path, mine, claiming, lambda: [mine]), wait, say) as ownership:
        discard_partial_of(path)
        yield ownership


def discard_owners(folder: Path) -> None:
    """Remove the files of owners below `folder` that are known to be gone."""
    for path in folder.rglob(f".*{OWNER}"):
        if (owner := Owner.read(path)) is not None and owner.gone:
            name = path.name[1 : -len(OWNER)]
            taken = owned_folder(path.parent) if name == FOLDER else owned_file(path.with_name(name))
            # Another process may have taken it over meanwhile.
            with contextlib.suppress(OutputError), taken:
                pass


@dataclass(frozen=True)
class _Place:
    """What a process owns.

    Attributes:
        path: what errors name.
        mine: file of the owner.
        claiming: file that is there while a process reads and writes the files of owners.
        owners: the files of all whose ownership excludes this one, which may not exist.
    """

    path: Path
    mine: Path
    claiming: Path
    owners: Callable[[], Sequence[Path]]


@contextlib.contextmanager
def _owned(place: _Place, wait: float, say: Callable[[str], None]) -> Iterator[Ownership]:
    owner = Owner.this_process()
    _claim(place, owner, wait, say)
    ownership = Ownership(place.mine, owner, place.path)
    ended = threading.Event()
    keeper = threading.Thread(target=ownership.keep, args=(ended,), daemon=True, name="owner")
    try:
        keeper.start()
        yield ownership
        ownership.check()
    finally:
        ended.set()
        if keeper.ident is not None:
            keeper.join()
        ownership.release()


def _claim(place: _Place, owner: Owner, wait: float, say: Callable[[str], None]) -> None:
    """Write the file of the owner, when no other is left that is at work."""
    told: set[str] = set()
    silent: set[str] = set()
    end = time.monotonic() + wait
    while busy := _busy(place, owner, silent):
        path, rival = next(iter(busy.items()))
        if not rival.here and rival.token not in told:
            told.add(rival.token)
            say(f"Waiting for up to {SILENT_SECONDS:g} s to see whether {rival}, still writes here")
        if not rival.here and not _shows_life(path):
            silent.add(rival.token)
        elif time.monotonic() >= end:
            raise OutputError(
                f"Another process is writing here: {rival}",
                where=place.path,
                fix="Wait until it has ended, or stop it, or choose another place.",
            )
        else:
            time.sleep(_PAUSE_SECONDS)


def _busy(place: _Place, owner: Owner, silent: Collection[str]) -> dict[Path, Owner]:
    """The other owners who are at work, by their files; where none is, the place is the owner's from now on."""
    try:
        with _alone(place.claiming):
            there = {path: found for path in place.owners() if (found := Owner.read(path)) is not None}
            busy = {path: found for path, found in there.items() if not (found.gone or found.token in silent)}
            if not busy:
                for path in there:
                    path.unlink(missing_ok=True)
                owner.write(place.mine)
            return busy
    except OSError as error:
        raise write_failure(error, place.mine) from error


def _shows_life(path: Path) -> bool:
    """Whether an owner on another machine touches its file, or lets go of the place."""
    seen, end = _touched(path), time.monotonic() + SILENT_SECONDS
    while time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
        if _touched(path) != seen:
            return True
    return False


@contextlib.contextmanager
def _alone(claiming: Path) -> Iterator[None]:
    """Only one process at a time is within it."""
    seen: object = ()
    end = 0.0
    while True:
        try:
            os.close(os.open(claiming, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            if (stamp := _touched(claiming)) != seen:
                seen, end = stamp, time.monotonic() + CLAIM_SECONDS
            elif time.monotonic() >= end:
                claiming.unlink(missing_ok=True)
            time.sleep(_PAUSE_SECONDS)
        except FileNotFoundError:
            # A process that has just ended removed the folder, which was empty.
            claiming.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        claiming.unlink(missing_ok=True)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is there within it; what had to be made for it and stays empty is removed again."""
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        if not missing and not folder.is_dir():
            raise UsageError("A file is where the folder would go", where=folder, fix="Choose another place.")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(error, folder) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in missing:
                place.rmdir()


def _touched(path: Path) -> tuple[int, int] | None:
    """What changes whenever a file is made or touched; None without a file."""
    with contextlib.suppress(OSError):
        # Only of a file that is opened do network file systems ask how it is now.
        path.open("rb").close()
    try:
        stamp = path.stat()
    except OSError:
        return None
    return stamp.st_ino, stamp.st_mtime_ns
