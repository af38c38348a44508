"""HDF5 files on file systems without locks, under locks of other programs, and without permission."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow

fcntl = pytest.importorskip("fcntl")

NO_LOCKS = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int operation) { errno = atoi(getenv("LOCK_ERRNO")); return -1; }
"""
OPEN = """
import os
import sys
from pathlib import Path
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.minc import MincFile
path = Path(sys.argv[1])
if "AS_NOBODY" in os.environ:
    os.chdir(path.parent)
    path = Path(path.name)
    if os.geteuid() == 0:
        os.setuid(65534)
try:
    if path.suffix == ".mnc":
        file = MincFile.open(path)
        print(next(file.blocks(9, 0)).sum())
    else:
        with Dataset(path) as one, Dataset(path) as again:
            print(one.size, again.image(0).sum())
except DataError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that takes the place of the system's `flock`, as on a file system that has no locks."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(NO_LOCKS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c"], check=True)
    return folder / "shim.so"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MINC2 volume of 2 x 3 x 4 voxels, all 1."""
    path = tmp_path_factory.mktemp("volume") / "v.mnc"
    with h5py.File(path, "w") as file:
        for name in ("z", "y", "x"):
            axis = file.create_dataset(f"minc-2.0/dimensions/{name}space", data=0)
            axis.attrs.update({"start": 0.0, "step": 1.0, "length": np.int32(4), "spacing": np.bytes_("regular__")})
        image = file.create_dataset("minc-2.0/image/0/image", data=np.ones((2, 3, 4), np.uint8))
        image.attrs["dimorder"] = np.bytes_("zspace,yspace,xspace")
        image.attrs["valid_range"] = [0.0, 255.0]
        file["minc-2.0/image/0/image-min"], file["minc-2.0/image/0/image-max"] = 0.0, 255.0
    return path


def opened(path: Path, shim: Path | None = None, number: int = 0, **environment: str) -> str:
    """What is printed of a file that is opened in another process."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("HDF5")}
    if shim is not None:
        environment |= {"LD_PRELOAD": str(shim), "LOCK_ERRNO": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, path], env={**base, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_both_files_can_be_opened_at_all(disc_dataset: Path, volume: Path):
    assert opened(disc_dataset).startswith("13 ")
    assert opened(volume) == "24\n"


@pytest.mark.parametrize("number", [errno.ENOLCK, 524])
def test_files_are_read_where_the_file_system_has_no_locks(
    disc_dataset: Path, volume: Path, without_locks: Path, number: int
):
    assert opened(disc_dataset, without_locks, number) == opened(disc_dataset)
    assert opened(volume, without_locks, number) == "24\n"


def test_locks_that_the_environment_insists_on_are_explained(disc_dataset: Path, without_locks: Path):
    said = opened(disc_dataset, without_locks, errno.ENOLCK, HDF5_USE_FILE_LOCKING="TRUE")
    assert "its file system has no file locks, and HDF5_USE_FILE_LOCKING=TRUE asks for them" in said
    assert "damaged" not in said


@pytest.mark.parametrize("kind", ["data set", "volume"])
def test_a_file_that_is_being_written_is_said_to_be(disc_dataset: Path, volume: Path, tmp_path: Path, kind: str):
    path = Path(shutil.copy(disc_dataset if kind == "data set" else volume, tmp_path))
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = opened(path)
        assert f"The {kind} cannot be opened: another program is writing it" in said
        assert str(path) in said and "set HDF5_USE_FILE_LOCKING=FALSE" in said
        # What the advice promises.
        assert opened(path, HDF5_USE_FILE_LOCKING="FALSE") == opened(disc_dataset if kind == "data set" else volume)


@pytest.mark.parametrize("spoil", [lambda content: b"not HDF5" * 99, lambda content: content[: len(content) // 2]])
def test_a_damaged_file_stays_damaged_without_locks(
    disc_dataset: Path, without_locks: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
):
    path = tmp_path / "broken.h5"
    path.write_bytes(spoil(disc_dataset.read_bytes()))
    said = opened(path, without_locks, errno.ENOLCK)
    assert ("damaged" in said or "truncated" in said) and "Make it again" in said


def test_a_file_without_permission_is_not_damaged(disc_dataset: Path, volume: Path, tmp_path: Path):
    tmp_path.chmod(0o755)
    for source, kind in ((disc_dataset, "data set"), (volume, "volume")):
        path = Path(shutil.copy(source, tmp_path))
        path.chmod(0)
        assert f"The {kind} cannot be opened: you may not read it" in opened(path, AS_NOBODY="1")
