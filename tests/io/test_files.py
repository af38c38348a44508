"""Writing files: whole or not at all, never by accident, and with a reason where it fails."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import refuse_existing, replacing, sha256_of, write_bytes, write_failure, write_text


def test_text_is_written_in_utf8_into_folders_that_are_made(tmp_path: Path):
    write_text(tmp_path / "a" / "b" / "c.txt", "µm\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "µm\n".encode()


def test_nothing_is_under_the_final_name_before_the_end(tmp_path: Path):
    path = tmp_path / "x.tif"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
        assert temporary.suffix == ".tif"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_any_error_leaves_the_old_file_and_no_partial_one(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_name_is_hidden_so_that_folder_listings_skip_it(tmp_path: Path):
    with replacing(tmp_path / "x.png") as temporary:
        temporary.touch()
        assert temporary.name.startswith(".")


def test_the_bytes_are_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("sync"), sync(number)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), rename(self, to))[1])
    write_bytes(tmp_path / "x", b"1")
    assert events == ["sync", "rename"]


def test_a_full_disk_is_said_so_and_the_old_file_stays(tmp_path: Path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(DataError, match="disk is full") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"


def test_a_file_in_the_way_of_the_folder_is_our_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        write_text(tmp_path / "file" / "x.txt", "")


def test_a_folder_in_the_way_of_the_file_is_our_error_and_stays(tmp_path: Path):
    (tmp_path / "x.txt" / "inside").mkdir(parents=True)
    with pytest.raises(DataError, match="could not be written"):
        write_text(tmp_path / "x.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_forbidden_folder_is_named(tmp_path: Path):
    error = write_failure(PermissionError(errno.EACCES, "Permission denied"), tmp_path / "x.txt")
    assert error.where == str(tmp_path)
    assert error.fix == "Choose another folder."


def test_an_existing_file_is_refused_unless_it_may_be_replaced(tmp_path: Path):
    path = tmp_path / "x"
    refuse_existing(path, overwrite=False)
    path.touch()
    refuse_existing(path, overwrite=True)
    with pytest.raises(UsageError, match="exists already") as caught:
        refuse_existing(path, overwrite=False)
    assert "--overwrite" in str(caught.value)


def test_only_a_folder_with_something_in_it_counts_as_existing(tmp_path: Path):
    refuse_existing(tmp_path, overwrite=False)
    (tmp_path / "x").touch()
    with pytest.raises(UsageError):
        refuse_existing(tmp_path, overwrite=False)


@pytest.mark.parametrize("size", [0, 10, 1 << 20, (1 << 20) + 1])
def test_the_hash_is_sha256_of_all_bytes(tmp_path: Path, size: int):
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "x").write_bytes(content[:size])
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content[:size]).hexdigest()
