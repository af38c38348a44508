"""`dataset.h5` files that are not whole, not ours, or not to be replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import SCHEMA_ATTRIBUTE, SCHEMA_VERSION, DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter, _RememberingFile
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.normalisation import Normalisation

SOURCE = ItemSource("cells_007.tif", "0" * 64, 0, (0, 0), (4, 5))
INFO = DatasetInfo("r", {}, (ClassInfo(name="a", colour=(0, 0, 0)),) * 2, Normalisation("minmax", (0.0,), (1.0,)))
IMAGE = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)


def writer(path: Path, **options: object) -> DatasetWriter:
    return DatasetWriter(path, **{"count": 2, "image_shape": (1, 4, 5), "image_dtype": "uint8", **options})


def item(labels: np.ndarray | None = None, image: np.ndarray = IMAGE) -> Item:
    return Item(image, labels, "train", "g", SOURCE)


@pytest.fixture
def damaged(disc_dataset: Path, tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """A copy of a good data set after something was done to it."""

    def damaged(change: Callable[[h5py.File], None]) -> Path:
        path = tmp_path / "damaged.h5"
        shutil.copy(disc_dataset, path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return damaged


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught, Dataset(path):
        pass
    assert str(path) in str(caught.value)
    assert caught.value.fix
    return str(caught.value)


def replace(file: h5py.File, name: str, content: object) -> None:
    if name in file:
        del file[name]
    file[name] = content


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    assert "bioseg prepare" in refusal(tmp_path / "none.h5")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path):
    assert "The system refuses: File name too long" in refusal(tmp_path / f"{'a' * 300}.h5")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_said_to_be_truncated(disc_dataset: Path, tmp_path: Path, share: float):
    path = tmp_path / "short.h5"
    content = disc_dataset.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5" * 100])
def test_another_file_is_said_not_to_be_hdf5(tmp_path: Path, content: bytes):
    (tmp_path / "x.h5").write_bytes(content)
    assert "not an HDF5 file" in refusal(tmp_path / "x.h5")


def test_another_programs_hdf5_is_said_not_to_be_a_data_set(tmp_path: Path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((3, 1, 4, 4))
    assert "not a bioseg data set" in refusal(tmp_path / "x.h5")


def test_a_newer_schema_asks_for_a_newer_bioseg(damaged):
    path = damaged(lambda file: file.attrs.__setitem__(SCHEMA_ATTRIBUTE, SCHEMA_VERSION + 1))
    assert "Update bioseg" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.__delitem__("labels"),
        lambda file: file.__delitem__("source/origin"),
        lambda file: file.attrs.__delitem__("content_hash"),
        lambda file: file.attrs.__setitem__("info", "{"),
        lambda file: file.attrs.__setitem__("info", '{"recipe": "x"}'),
        lambda file: replace(file, "labelled", [True]),
        lambda file: replace(file, "split", ["training"] * 13),
        lambda file: replace(file, "label_order", [0, 99]),
        lambda file: replace(file, "label_order", [12]),
        lambda file: replace(file, "source/plane", np.zeros((12, 3, 4))),
        lambda file: replace(file, "labels", np.zeros((13, 48, 47), np.uint8)),
        lambda file: replace(file, "labels", np.zeros((13, 48, 48), np.float32)),
        lambda file: (file.__delitem__("images"), file.create_group("images")),
    ],
)
def test_a_damaged_data_set_is_refused_when_opened(damaged, change):
    path = damaged(change)
    assert "damaged" in refusal(path)
    # It is closed again: HDF5 opens no file for writing that this process still reads.
    h5py.File(path, "r+").close()


@pytest.mark.parametrize("settings", [True, [], "tile"])
def test_settings_of_a_data_set_are_a_mapping(settings: object):
    content = json.loads(INFO.to_json())
    with pytest.raises(TypeError, match="no mapping"):
        DatasetInfo.from_json(json.dumps({**content, "settings": settings}))


@pytest.mark.parametrize("code", [2, 7, 254])
def test_a_label_without_a_class_is_named_when_it_is_read(damaged, code: int):
    with (
        Dataset(damaged(lambda file: file["labels"].__setitem__((3, 5, 5), code))) as dataset,
        pytest.raises(DataError, match=rf"labels\[3\] holds {code}, the data set has 2 classes"),
    ):
        dataset.labels(3)


def test_an_image_with_broken_bytes_is_named_when_it_is_read(disc_dataset: Path, tmp_path: Path):
    path = tmp_path / "broken.h5"
    content = bytearray(disc_dataset.read_bytes())
    with h5py.File(disc_dataset) as file:
        chunk = file["images"].id.get_chunk_info(2)
    content[chunk.byte_offset + 10 : chunk.byte_offset + chunk.size] = bytes(chunk.size - 10)
    path.write_bytes(content)
    with Dataset(path) as dataset:
        dataset.image(1)
        with pytest.raises(DataError, match=r"images\[2\] cannot be read") as caught:
            dataset.image(2)
    assert str(path) in str(caught.value)


def test_an_image_with_too_few_bytes_is_named_when_it_is_read(damaged):
    short = zlib.compress(bytes(100))
    path = damaged(lambda file: file["images"].id.write_direct_chunk((2, 0, 0, 0), short))
    with Dataset(path) as dataset, pytest.raises(DataError, match=r"images\[2\] cannot be read .100 bytes instead of"):
        dataset.image(2)


def test_an_existing_data_set_is_not_replaced_unless_asked(tmp_path: Path):
    path = tmp_path / "d.h5"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        writer(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "d.h5"
    path.write_text("precious")
    with pytest.raises(error), writer(path, overwrite=True) as open_writer:
        open_writer.add(item())
        raise error
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_data_set_that_cannot_be_begun_leaves_the_earlier_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "d.h5"
    path.write_text("precious")
    with pytest.raises(TypeError), writer(path, image_dtype="datetime64[s]", overwrite=True):
        pass
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_leaving_without_finish_is_an_error_and_writes_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError, match="finish"), writer(tmp_path / "d.h5") as open_writer:
        open_writer.add(item())
    assert not list(tmp_path.iterdir())


def test_fewer_items_than_announced_are_not_a_data_set(tmp_path: Path):
    with (
        pytest.raises(ValueError, match="1 items were added, 2 were announced"),
        writer(tmp_path / "d.h5") as dataset_writer,
    ):
        dataset_writer.add(item())
        dataset_writer.finish(INFO)
    assert not list(tmp_path.iterdir())


def test_finishing_replaces_the_earlier_file_where_that_was_asked(tmp_path: Path):
    path = tmp_path / "d.h5"
    path.write_text("old")
    with writer(path, count=1, overwrite=True) as dataset_writer:
        dataset_writer.add(item())
        content_hash = dataset_writer.finish(INFO)
    with Dataset(path) as dataset:
        assert dataset.content_hash == content_hash
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (item(image=IMAGE.astype(np.uint16)), "uint16"),
        (item(image=np.zeros((1, 5, 4), np.uint8)), r"\(1, 5, 4\)"),
        (item(np.zeros((1, 5), np.uint8)), r"mask is \(1, 5\)"),
        (item(np.full((4, 5), 300)), "300 do not fit uint8"),
        (item(np.full((4, 5), -1)), "do not fit uint8"),
    ],
)
def test_an_image_or_mask_that_does_not_fit_is_refused_by_its_file_name(tmp_path: Path, wrong: Item, message: str):
    with pytest.raises(DataError, match=message) as caught, writer(tmp_path / "d.h5") as dataset_writer:
        dataset_writer.add(wrong)
    assert caught.value.where == "cells_007.tif"


def test_a_label_without_a_class_is_refused_by_its_file_name(tmp_path: Path):
    with (
        pytest.raises(DataError, match="Label 2 has no class: there are 2") as caught,
        writer(tmp_path / "d.h5") as dataset_writer,
    ):
        dataset_writer.add(item(np.full((4, 5), 2)))
        dataset_writer.add(item(np.full((4, 5), 255)))
        dataset_writer.finish(INFO)
    assert caught.value.where == "cells_007.tif"


def test_a_single_class_may_have_no_label_yet(tmp_path: Path):
    for labels in (None, np.full((4, 5), 255)):
        with writer(tmp_path / "d.h5", count=1, overwrite=True) as dataset_writer:
            dataset_writer.add(item(labels))
            dataset_writer.finish(dataclasses.replace(INFO, classes=INFO.classes[:1]))
        with Dataset(tmp_path / "d.h5") as dataset:
            assert (dataset.labels(0) == 255).all()
            assert dataset.label_order.dtype == np.int64
            assert len(dataset.label_order) == (0 if labels is None else 1)


@contextlib.contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """What is written beyond `length` bytes fails, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are of POSIX")
@pytest.mark.parametrize("images", [1, 2, 9])
def test_wherever_the_disk_is_full_the_earlier_file_stays(tmp_path: Path, images: int):
    path = tmp_path / "d.h5"
    path.write_text("precious")
    image = np.random.default_rng(0).integers(0, 255, (1, 1100, 1100), dtype=np.uint8)
    with (
        no_file_longer_than(1_000_000 * images),
        pytest.raises(DataError, match="could not be written") as caught,
        writer(path, count=9, image_shape=image.shape, overwrite=True) as dataset_writer,
    ):
        for _ in range(9):
            dataset_writer.add(Item(image, None, "train", "g", SOURCE))
        dataset_writer.finish(INFO)
    assert caught.value.where == str(path)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are of POSIX")
def test_the_first_failure_of_a_file_is_remembered_and_hdf5_is_told_of_none(tmp_path: Path):
    with no_file_longer_than(100), _RememberingFile(tmp_path / "x", "w+") as file:
        assert file.write(b"a" * 60) == 60
        assert file.truncate(80) == 80
        assert file.failure is None
        assert file.truncate(101) == 101
        first = file.failure
        assert isinstance(first, OSError)
        assert file.truncate(102) == 102
        assert file.write(b"b" * 60) == 60
        assert file.failure is first
    assert (tmp_path / "x").read_bytes() == b"a" * 60 + bytes(20)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are of POSIX")
def test_a_full_disk_is_an_error_of_ours_and_leaves_nothing(tmp_path: Path):
    program = """
        import resource, sys
        import numpy as np
        from bioseg_cli.dataset.schema import Item
        from bioseg_cli.errors import DataError
        from test_dataset_files import INFO, SOURCE, Path, writer
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        image = np.random.default_rng(0).integers(0, 255, (1, 1100, 1100), dtype=np.uint8)
        try:
            with writer(Path(sys.argv[1]), count=9, image_shape=image.shape) as one:
                for added in range(9):
                    one.add(Item(image, None, "train", "g", SOURCE))
                one.finish(INFO)
        except DataError as error:
            print(error.what, "after", added)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path / "d.h5"],
        capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")  # HDF5 would complain of each block, and crash at exit
    assert "could not be written" in done.stdout
    assert "after 1" in done.stdout  # at once, not after all the work
    assert not list(tmp_path.iterdir())
