"""Fetching a data set's files: resumed after a broken transfer, checked; archives unpacked whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from bioseg_cli.errors import DataError
from bioseg_cli.io.archives import opened_zip
from bioseg_cli.io.files import sha256_of, write_failure
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.runs.output import Output

ATTEMPTS = 4
"""How often a transfer that breaks is taken up again before giving up; what arrived stays for the next run."""
CONNECT_SECONDS, SILENCE_SECONDS = 10, 60
BLOCK_BYTES = 1 << 14
"""Written at a time; of a transfer that breaks, at most this much is lost."""
MOST_BYTES = 8 * 2**30
"""No file of a publication is nearly as large: a server that sends more sends something else."""
WRONG = ".wrong"
"""Ends the name of a file that is not the published one."""


@dataclass(frozen=True)
class Remote:
    """A file that a data set is published as.

    Attributes:
        name: its path below the publication's address.
        sha256: None where no one has published it.
        refuse: raises `DataError` where a file cannot be the published one, of which no hash is known.
    """

    name: str
    sha256: str | None
    refuse: Callable[[Path], None] = lambda path: None


@dataclass(frozen=True)
class Publication:
    """Where a data set is published and on what terms.

    Attributes:
        name: of the data set.
        address: of the folder that holds the files.
        files: to fetch.
        terms: licence and citation, shown before anything is fetched.
        by_hand: what to do instead where they cannot be fetched, a sentence.
    """

    name: str
    address: str
    files: tuple[Remote, ...]
    terms: str
    by_hand: str

    def paths(self, folder: Path) -> list[Path]:
        """Where its files are kept in `folder`, whatever folders they are published in."""
        return [folder / Path(remote.name).name for remote in self.files]


def fetch(publication: Publication, folder: Path, *, mirror: str | None, output: Output) -> list[Path]:
    """Download the files of a publication that are not in `folder` yet; return their paths.

    Args:
        publication: what to fetch.
        folder: the files are kept here, whatever folders they are published in.
        mirror: address of another folder with the same files.
        output: for the progress.

    Raises:
        DataError: no connection, a file that does not exist, a transfer that keeps breaking, or content that is not
            what was published.
    """
    paths = publication.paths(folder)
    if all(path.is_file() for path in paths):
        return _fetch_missing(publication, folder, mirror=mirror, output=output)
    with owned_folder(folder, say=output.say):
        return _fetch_missing(publication, folder, mirror=mirror, output=output)


def _fetch_missing(publication: Publication, folder: Path, *, mirror: str | None, output: Output) -> list[Path]:
    paths = publication.paths(folder)
    address = (mirror or publication.address).rstrip("/")
    for remote, path in zip(publication.files, paths, strict=True):
        _fetch_file(remote, f"{address}/{remote.name}", path, publication, output)
    return paths


def fetch_unpacked(publication: Publication, folder: Path, *, mirror: str | None, output: Output) -> Path:
    """As `fetch`, of zip archives, with their terms; return the folder they are unpacked in, `files` in `folder`."""
    unpacked = folder / "files"
    if not unpacked.is_dir():
        output.say(f"{publication.name}: {publication.terms}")
        with owned_folder(folder, say=output.say):
            _unpack(_fetch_missing(publication, folder, mirror=mirror, output=output), unpacked)
    return unpacked


def _fetch_file(remote: Remote, url: str, target: Path, publication: Publication, output: Output) -> None:
    part = target.with_name(target.name + ".part")
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(url, part, output)
            part.replace(target)
    except requests.HTTPError as error:
        answer = "with an error" if error.response is None else f"{error.response.status_code} {error.response.reason}"
        raise DataError(
            f"The server answered {answer}",
            where=url,
            fix=f"Check the address, or name another with --mirror. {publication.by_hand}",
        ) from None
    except requests.RequestException as error:
        kept = part.stat().st_size if part.exists() else 0
        offline = isinstance(error, requests.ConnectionError | requests.Timeout)
        state = "No connection" if offline else "The download failed"
        if kept:
            state = f"The transfer broke off after {kept / 1e6:.1f} MB, which are kept"
        again = "Check the address and the connection, and run again." if not kept else "Run again to take it up there."
        raise DataError(f"{state} ({_reason(error)})", where=url, fix=f"{again} {publication.by_hand}") from None
    except OSError as error:
        raise write_failure(error, target) from error
    try:
        if remote.sha256 is not None and sha256_of(target) != remote.sha256:
            raise DataError("its SHA-256 differs")
        remote.refuse(target)
    except DataError as error:
        wrong = target.with_name(target.name + WRONG)
        target.replace(wrong)
        raise DataError(
            f"The file is not the published one: {error.what}",
            where=wrong,
            fix=f"Run again to fetch it anew. {publication.by_hand}",
        ) from None


def _download(url: str, part: Path, output: Output) -> None:
    """Fetch a file, from where an earlier transfer stopped.

    Args:
        url: of the file.
        part: the file that grows; what arrived stays there when a transfer breaks.
        output: for the progress.

    Raises:
        requests.RequestException: no connection, an error from the server, or `ATTEMPTS` broken transfers.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part, output)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            # Without a first byte there is nothing to take up: the machine is offline, or the name is wrong.
            if attempt == ATTEMPTS or not part.exists():
                raise
        else:
            return


def _transfer(url: str, part: Path, output: Output) -> None:
    """Ask for what is missing of a file, by an HTTP range, and add what arrives."""
    held = part.stat().st_size if part.exists() else 0
    # Ranges count bytes of the file itself: a server that compresses on the way would shift them.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, SILENCE_SECONDS)) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if response.headers.get("Content-Range") == f"bytes */{held}":
                return
            # What is held is part of another file.
            part.unlink()
            _transfer(url, part, output)
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            raise requests.ConnectionError("the server sent another part than was asked for")
        held = held if resumed else 0
        total = held + _announced(response)
        if total > MOST_BYTES:
            raise _too_much(url, part)
        name = url.rsplit("/", 1)[-1]
        with (
            part.open("ab" if resumed else "wb") as stream,
            output.progress(f"Downloading {name}, MB:", _megabytes(total), _megabytes(held)) as progress,
        ):
            for block in response.iter_content(BLOCK_BYTES):
                if held + len(block) > MOST_BYTES:
                    raise _too_much(url, part)
                stream.write(block)
                progress.advance(_megabytes(held + len(block)) - _megabytes(held))
                held += len(block)
    if held < total:
        raise requests.ConnectionError(f"{held} of {total} bytes arrived")


def _too_much(url: str, part: Path) -> DataError:
    part.unlink(missing_ok=True)
    return DataError(
        f"The server sends more than {MOST_BYTES / 2**30:g} GiB, which no file of a publication has",
        where=url,
        fix="Check the address, or name another with --mirror.",
    )


def _announced(response: requests.Response) -> int:
    """Bytes that the server says it sends; 0 where it does not say."""
    length = response.headers.get("Content-Length", "0")
    if not length.isdecimal():
        raise requests.exceptions.InvalidHeader(f"Content-Length is {length[:20]!r}")
    return int(length[:20])


def _megabytes(count: int) -> int:
    return count // 1_000_000


def _unpack(archives: Sequence[Path], target: Path) -> None:
    """Unpack zip archives into one folder, which appears only when it is complete."""
    temporary = target.with_name(target.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for path in archives:
            with opened_zip(path, "Run again to fetch it anew.") as archive:
                # Resource forks of macOS bear the names of the images they stand beside.
                members = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
                archive.extractall(temporary, members)
        temporary.rename(target)
    except OSError as error:
        raise write_failure(error, target) from error
    except DataError as error:
        path.unlink()
        raise DataError(f"{error.what}, so it was removed", where=path, fix=error.fix) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    return type(error).__name__
