"""HDF5 files from anybody: what they hold is in them, and is not more than they can hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.hdf5 import MOST_OBJECTS, open_hdf5
from bioseg_cli.io.limits import GIB, LARGEST

Change = Callable[[h5py.File, str], None]


def external_link(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.ExternalLink("/etc/secret.h5", "/x")


def soft_link(file: h5py.File, name: str) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def loop_of_links(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.SoftLink(f"/{name}")


def external_storage(file: h5py.File, name: str) -> None:
    array = file[name]
    shape, dtype = array.shape, array.dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[...] = h5py.VirtualSource("/etc/secret.h5", "x", file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


ELSEWHERE = {
    external_link: "'{}', a link to another place",
    soft_link: "'{}', a link to another place",
    loop_of_links: "'{}', a link to another place",
    external_storage: "the values of '{}' in other files",
    virtual: "the values of '{}' in other files",
}


@pytest.fixture
def changed(disc_dataset: Path, tmp_path: Path) -> Callable[[Change, str], Path]:
    """A data set that a function has changed."""

    def change(how: Change, name: str) -> Path:
        path = Path(shutil.copy(disc_dataset, tmp_path / "changed.h5"))
        with h5py.File(path, "r+") as file:
            how(file, name)
        return path

    return change


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_data_set_whose_values_lie_elsewhere_is_refused(changed, how: Change):
    with pytest.raises(DataError) as caught, Dataset(changed(how, "images")):
        pass
    assert ELSEWHERE[how].format("images") in caught.value.what
    assert "bioseg prepare" in str(caught.value)


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_volume_whose_voxels_lie_elsewhere_is_refused(tmp_path: Path, how: Change):
    volumes = pytest.importorskip("bioseg_cli.io.volumes")
    from helpers.volumes import write_minc

    path = write_minc(tmp_path / "v.mnc", np.zeros((3, 4, 5), np.uint8))
    with h5py.File(path, "r+") as file:
        how(file["minc-2.0/image/0"], "image")
    with pytest.raises(DataError) as caught:
        volumes.open_volume(path)
    assert ELSEWHERE[how].format("image") in caught.value.what


def test_a_group_that_is_a_member_of_itself_is_read_once(changed):
    def loop(file: h5py.File, name: str) -> None:
        file["source/again"] = file["/"]

    with Dataset(changed(loop, "")) as dataset:
        assert dataset.size == 13


def test_a_file_of_endless_groups_is_refused(tmp_path: Path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in range(MOST_OBJECTS + 1):
            file.create_group(str(number))
    with pytest.raises(DataError, match=f"holds more than {MOST_OBJECTS} groups"):
        open_hdf5(tmp_path / "x.h5", called="The file", again="")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_pipe_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "x.h5")
    os.mkfifo(tmp_path / "x.mnc")
    with pytest.raises(DataError), Dataset(tmp_path / "x.h5"):
        pass
    with pytest.raises(DataError, match="no ordinary file"):
        open_hdf5(tmp_path / "x.h5", called="The file", again="")
    volumes = pytest.importorskip("bioseg_cli.io.volumes")
    with pytest.raises(DataError, match="no ordinary file"):
        volumes.open_volume(tmp_path / "x.mnc")


def of_type(dtype: object, shape: tuple[int, ...] | None = None) -> Change:
    def replace(file: h5py.File, name: str) -> None:
        shape_now = file[name].shape if shape is None else shape
        del file[name]
        file.create_dataset(name, shape_now, dtype)

    return replace


COMPOUND = np.dtype([("a", "u1"), ("b", "f4")])
DATES = h5py.opaque_dtype(np.dtype("datetime64[s]"))
TEXTS = h5py.string_dtype()


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("images", of_type(COMPOUND), r"images is an array .* of the type \[\('a', 'u1'\)"),
        ("images", of_type(DATES), r"images is an array .* of the type datetime64"),
        ("images", of_type(TEXTS), r"images is an array .* of the type object"),
        ("images", of_type("c8"), r"images is an array .* of the type complex64"),
        ("images", of_type("u2", (13, 48, 48)), r"images is an array \(13, 48, 48\)"),
        ("labels", of_type("f4"), r"labels is an array .* of the type float32"),
        ("labels", of_type("u1", (13, 48, 47)), r"labels is an array \(13, 48, 47\)"),
        ("labelled", of_type("u1"), r"labelled is an array .* of the type uint8"),
        ("split", of_type("i8"), r"split is an array .* of the type int64"),
        ("source/frame", of_type(COMPOUND), r"source/frame is an array"),
        ("source/origin", of_type("i8", (13, 3)), r"source/origin is an array \(13, 3\).*not \(13, 2\)"),
        ("label_order", of_type("i8", (14,)), r"label_order is an array \(14,\).*not \(13,\)"),
        ("label_order", of_type("f8", (3,)), r"label_order is an array"),
        ("label_order", of_type("i8", ()), r"damaged"),
    ],
)
def test_arrays_of_another_type_or_shape_are_named(changed, name: str, how: Change, said: str):
    with pytest.raises(DataError, match=said), Dataset(changed(how, name)):
        pass


def many(file: h5py.File, name: str) -> None:
    for array, shape, dtype in (("images", (8 * 10**9, 1, 4, 4), "u1"), ("labels", (8 * 10**9, 4, 4), "u1")):
        del file[array]
        file.create_dataset(array, shape, dtype, chunks=(1, *shape[1:]))


def large(file: h5py.File, name: str) -> None:
    for array, shape, dtype in (("images", (13, 1, 90_000, 90_000), "u1"), ("labels", (13, 90_000, 90_000), "u1")):
        del file[array]
        file.create_dataset(array, shape, dtype, chunks=(1, *(1,) * (len(shape) - 3), 9000, 9000))


def long_names(file: h5py.File, name: str) -> None:
    file["source/file"][3] = "x" * 100_000


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (many, r"8000000000 images in a file of"),
        (of_type("u1", (8 * 10**9,)), r"labelled is an array \(8000000000,\)"),
        (large, r"90000 x 90000 .* GiB of memory, and the limit is 1"),
        (long_names, r"source/file holds a text of 100000 characters"),
    ],
)
def test_more_than_the_file_can_hold_is_refused_before_it_is_read(changed, how: Change, said: str):
    with pytest.raises(DataError, match=said), Dataset(changed(how, "labelled")):
        pass


def test_the_limit_of_an_image_can_be_raised(disc_dataset: Path, monkeypatch: pytest.MonkeyPatch):
    size = disc_dataset.stat().st_size
    monkeypatch.setenv(LARGEST, str(100 / GIB))
    # 48 x 48 pixels of two bytes are less than four times the file.
    assert 4 * size > 48 * 48 * 2
    with Dataset(disc_dataset) as dataset:
        assert dataset.image(0).shape == (1, 48, 48)


@pytest.mark.parametrize("value", ["x", np.array([1, 2]), np.dtype(COMPOUND).type])
def test_a_schema_that_is_no_number_is_damage(changed, value: object):
    def set_schema(file: h5py.File, name: str) -> None:
        file.attrs["bioseg_schema"] = np.zeros((), COMPOUND) if isinstance(value, type) else value

    with pytest.raises(DataError, match="damaged"), Dataset(changed(set_schema, "")):
        pass


@pytest.mark.parametrize("part", range(4))
def test_random_damage_of_a_data_set_is_one_kind_of_error(disc_dataset: Path, tmp_path: Path, part: int):
    """In what HDF5 says of groups, types and attributes, of which h5py raises many kinds of errors."""
    whole = disc_dataset.read_bytes()
    path = tmp_path / "a.h5"
    refused = 0
    for number in range(150):
        random = np.random.default_rng([part, number])
        content = bytearray(whole)
        # The last bytes are those of the attributes, which are written when all else is known.
        place = len(content) - int(random.integers(1, min(20_000, len(content))))
        content[place : place + 4] = random.bytes(4)
        path.write_bytes(content)
        try:
            with Dataset(path) as dataset:
                for index in range(dataset.size):
                    dataset.image(index), dataset.labels(index)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50
