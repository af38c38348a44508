"""Downloads against a real server on this machine: resumed, checked, refused."""

from __future__ import annotations

import hashlib
import io
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Server

from bioseg_cli.errors import DataError, OutputError
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.prepare import download
from bioseg_cli.prepare.download import (
    ATTEMPTS,
    BLOCK_BYTES,
    MOST_BYTES,
    Publication,
    Remote,
    fetch,
    fetch_unpacked,
)
from bioseg_cli.runs.console import ConsoleOutput

QUIET = ConsoleOutput(quiet=True)


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
ARCHIVE = zipped({"images/a.bin": CONTENT, "__MACOSX/images/._a.bin": b"fork"})


@pytest.fixture
def server(server: Server) -> Server:
    server.files["/set/data.zip"] = ARCHIVE
    return server


def publication(address: str, sha256: str | None = None, name: str = "data.zip") -> Publication:
    return Publication(
        "Set", address, (Remote(name, sha256),), terms="free", by_hand="Or give --source DIR: DIR/images/*.bin"
    )


def fetched(server: Server, folder: Path, sha256: str | None = None) -> Path:
    return fetch_unpacked(publication(server.address, sha256), folder, mirror=None, output=QUIET)


def assert_complete(folder: Path, unpacked: Path) -> None:
    assert (unpacked / "images" / "a.bin").read_bytes() == CONTENT
    assert (folder / "data.zip").read_bytes() == ARCHIVE
    assert sorted(path.name for path in folder.iterdir()) == ["data.zip", "files"]
    assert not (unpacked / "__MACOSX").exists()


def test_fetched_unpacked_and_not_fetched_again(server, tmp_path) -> None:
    unpacked = fetched(server, tmp_path, hashlib.sha256(ARCHIVE).hexdigest())
    assert_complete(tmp_path, unpacked)
    assert fetched(server, tmp_path) == unpacked
    assert server.ranges == [None]


def test_a_broken_transfer_is_taken_up_where_it_stopped(server, tmp_path) -> None:
    server.bytes_before_break = [18 * BLOCK_BYTES, 9 * BLOCK_BYTES]
    assert_complete(tmp_path, fetched(server, tmp_path))
    assert server.ranges == [None, f"bytes={18 * BLOCK_BYTES}-", f"bytes={27 * BLOCK_BYTES}-"]


def test_a_transfer_that_keeps_breaking_is_kept_for_the_next_run(server, tmp_path) -> None:
    server.bytes_before_break = [6 * BLOCK_BYTES] * ATTEMPTS
    with pytest.raises(DataError, match=r"broke off after 0\.4 MB, which are kept"):
        fetched(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    assert_complete(tmp_path, fetched(server, tmp_path))
    assert server.ranges[-1] == f"bytes={ATTEMPTS * 6 * BLOCK_BYTES}-"


def test_a_server_without_ranges_sends_everything_again(server, tmp_path) -> None:
    server.supports_ranges = False
    server.bytes_before_break = [300_000]
    assert_complete(tmp_path, fetched(server, tmp_path))


def test_a_complete_part_is_used(server, tmp_path) -> None:
    (tmp_path / "data.zip.part").write_bytes(ARCHIVE)
    assert_complete(tmp_path, fetched(server, tmp_path))


def test_a_part_of_another_file_is_thrown_away(server, tmp_path) -> None:
    (tmp_path / "data.zip.part").write_bytes(ARCHIVE + b"longer")
    assert_complete(tmp_path, fetched(server, tmp_path))


def test_another_file_is_set_aside_and_fetched_anew(server, tmp_path) -> None:
    with pytest.raises(DataError, match="not the published one: its SHA-256 differs") as caught:
        fetched(server, tmp_path, "0" * 64)
    assert "--source" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.wrong"]
    assert_complete(tmp_path / "again", fetched(server, tmp_path / "again", hashlib.sha256(ARCHIVE).hexdigest()))


def test_what_is_no_published_file_by_its_content_is_set_aside(server, tmp_path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == ARCHIVE
        raise DataError("its voxels measure 1 mm")

    known = Publication("Set", server.address, (Remote("data.zip", None, refuse),), terms="free", by_hand="By hand.")
    with pytest.raises(DataError, match="not the published one: its voxels measure 1 mm"):
        fetch(known, tmp_path, mirror=None, output=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.wrong"]


@pytest.mark.parametrize("announced", ["many", "-1", "1e9", "²"])
def test_a_length_that_is_none_is_an_error_of_the_server(server, tmp_path, announced: str) -> None:
    server.announced = announced.encode().decode("latin-1")
    with pytest.raises(DataError, match=r"The download failed \(InvalidHeader\)"):
        fetched(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("announced", ["", str(MOST_BYTES + 1), "9" * 400])
def test_a_server_that_sends_without_end_fills_no_disk(
    server, tmp_path, monkeypatch: pytest.MonkeyPatch, announced: str
) -> None:
    if not announced:
        monkeypatch.setattr(download, "MOST_BYTES", 2_000_000)
    server.announced, server.times = announced, 100
    with pytest.raises(DataError, match=r"sends more than .* GiB, which no file of a publication has"):
        fetched(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_no_length_is_believed(server, tmp_path) -> None:
    server.announced = ""
    assert_complete(tmp_path, fetched(server, tmp_path))


def test_two_that_fetch_at_once(server, tmp_path) -> None:
    with owned_folder(tmp_path), pytest.raises(OutputError, match="Another process is writing here"):
        fetched(server, tmp_path)
    assert server.ranges == []


def test_a_damaged_archive_is_removed(server, tmp_path) -> None:
    middle = len(ARCHIVE) // 2
    server.files["/set/data.zip"] = ARCHIVE[:middle] + b"????????" + ARCHIVE[middle + 8 :]
    with pytest.raises(DataError, match=r"The archive cannot be read .* so it was removed"):
        fetched(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_not_found(server, tmp_path) -> None:
    wrong = publication(server.address + "/elsewhere")
    with pytest.raises(DataError, match="404") as caught:
        fetch_unpacked(wrong, tmp_path, mirror=None, output=QUIET)
    assert "--mirror" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_mirror(server, tmp_path) -> None:
    unreachable = publication("http://127.0.0.1:1/set")
    assert_complete(tmp_path, fetch_unpacked(unreachable, tmp_path, mirror=server.address + "/", output=QUIET))


def test_offline_says_what_to_put_where(tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = publication(f"http://127.0.0.1:{taken.getsockname()[1]}/set")
        with pytest.raises(DataError, match="No connection") as caught:
            fetch_unpacked(nobody, tmp_path, mirror=None, output=QUIET)
    assert "--source DIR: DIR/images/*.bin" in str(caught.value)


def test_an_archive_put_there_by_hand_is_used(tmp_path) -> None:
    (tmp_path / "data.zip").write_bytes(ARCHIVE)
    assert_complete(tmp_path, fetch_unpacked(publication("http://127.0.0.1:1"), tmp_path, mirror=None, output=QUIET))


def test_an_address_that_is_none(tmp_path) -> None:
    with pytest.raises(DataError, match="The download failed"):
        fetch_unpacked(publication("nonsense"), tmp_path, mirror=None, output=QUIET)
