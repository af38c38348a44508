"""Zip archives from elsewhere: damage of any kind is one kind of error."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bioseg_cli.errors import DataError
from bioseg_cli.io.archives import opened_zip
from bioseg_cli.io.limits import GIB, LARGEST


def whole(compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for number in range(3):
            archive.writestr(f"folder/{number}.txt", bytes(range(256)) * 8)
    return stream.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_damage_is_a_data_error(tmp_path: Path, compression: int):
    random = np.random.default_rng(compression)
    content, path, refused = whole(compression), tmp_path / "a.zip", 0
    for trial in range(200):
        damaged = np.frombuffer(content, np.uint8).copy()
        # The headers are short, and hold most of what a reader believes.
        places = random.integers(0, len(damaged), 4) if trial % 2 else len(damaged) - random.integers(1, 260, 4)
        damaged[places] = random.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes()[: len(damaged) if trial % 3 else int(random.integers(len(damaged)))])
        try:
            with opened_zip(path, "Fetch it anew.") as archive:
                archive.extractall(tmp_path / "out")
        except DataError as error:
            assert error.where == str(path) and error.fix
            refused += 1
    assert refused > 50


def test_an_encrypted_archive_and_an_unknown_compression_are_named(tmp_path: Path):
    content = bytearray(whole(zipfile.ZIP_STORED))
    for flag, value in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = 0
        while (place := content.find(flag, start)) >= 0:
            content[place + value] |= 1
            start = place + 4
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"), opened_zip(tmp_path / "a.zip", "") as archive:
        archive.extractall(tmp_path / "out")


def test_an_archive_that_declares_more_than_it_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", bytes(3_000_000))
    assert path.stat().st_size < 3000
    with opened_zip(path, "") as archive:
        assert archive.namelist() == ["a"]
    monkeypatch.setenv(LARGEST, str(1_000_000 / GIB))
    with pytest.raises(DataError, match=r"content of the archive has .* so much cannot be in it"), opened_zip(path, ""):
        pass


def test_what_is_wrong_with_the_disk_is_no_damage(tmp_path: Path):
    path = tmp_path / "a.zip"
    path.write_bytes(whole(zipfile.ZIP_STORED))
    with pytest.raises(PermissionError), opened_zip(path, ""):
        raise PermissionError(13, "Permission denied")
