"""`dataset.h5`: what goes in comes out, label budgets are nested, and images keep their names and extents."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.datasets import without_digests

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset, find_dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import temporary_path
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize

CLASSES = tuple(
    ClassInfo(name=name, colour=(i, 2 * i, 255)) for i, name in enumerate(["background", "Zellkern µ", "rim"])
)
INFO = DatasetInfo(
    recipe="folder",
    settings={"seed": 3},
    classes=CLASSES,
    normalisation=Normalisation("minmax", (0.0, 1.0), (4000.0, 2.0)),
    pixel_size=PixelSize(0.5, 0.25),
)
SHAPE = (2, 6, 7)

Write = Callable[..., Path]


def item(index: int = 0, split: str = "train", labelled: bool = True, **source: object) -> Item:
    random = np.random.default_rng(index)
    described = {"file": f"a{index}.tif", "sha256": f"{index:064x}", "frame": 0, "origin": (0, 0), "shape": SHAPE[1:]}
    return Item(
        image=random.integers(0, 65536, SHAPE, dtype=np.uint16),
        labels=random.choice([0, 1, 2, 255], SHAPE[1:]).astype(np.uint8) if labelled else None,
        split=split,
        group=f"g{index}",
        source=ItemSource(**{**described, **source}),
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(items: list[Item], *, info: DatasetInfo = INFO, seed: int = 0, name: str = "d.h5") -> Path:
        path = tmp_path / name
        shape, dtype = items[0].image.shape, items[0].image.dtype
        with DatasetWriter(path, count=len(items), image_shape=shape, image_dtype=dtype, overwrite=True) as writer:
            for item in items:
                writer.add(item)
            writer.finish(info, seed=seed)
        return path

    return write


def names_of(write: Write, *sources: dict[str, object], groups: Sequence[str] = "") -> list[str]:
    items = []
    for index, source in enumerate(sources):
        stored = item(index, **source)
        items.append(Item(stored.image, stored.labels, stored.split, groups[index] if groups else "g", stored.source))
    with Dataset(write(items)) as dataset:
        return [dataset.name(index) for index in range(dataset.size)]


def test_images_labels_and_descriptions_come_back_as_they_were(write: Write):
    items = [item(0), item(1, "val", frame=4, origin=(-2, 3), shape=(90, 80)), item(2, "test", labelled=False)]
    with Dataset(write(items)) as dataset:
        assert (dataset.size, dataset.image_shape, dataset.image_dtype) == (3, SHAPE, np.uint16)
        assert dataset.info == INFO
        assert dataset.classes == CLASSES
        for index, written in enumerate(items):
            np.testing.assert_array_equal(dataset.image(index), written.image)
            assert dataset.source(index) == written.source
            assert (dataset.split[index], dataset.group[index]) == (written.split, written.group)
        np.testing.assert_array_equal(dataset.labels(1), items[1].labels)


def test_an_image_without_a_mask_is_unlabelled_and_all_ignore(write: Write):
    with Dataset(write([item(0), item(1, labelled=False)])) as dataset:
        assert dataset.labelled.tolist() == [True, False]
        assert (dataset.labels(1) == dataset.ignore).all()
        assert dataset.indices("train", labelled=False).tolist() == [1]
        assert dataset.label_order.tolist() == [0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
def test_pixels_keep_their_type(write: Write, dtype: type):
    image = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    with Dataset(write([Item(image, None, "train", "g", item().source)])) as dataset:
        assert dataset.image(0).dtype == dtype
        np.testing.assert_array_equal(dataset.image(0), image)


def test_sixteen_bit_labels_have_their_own_ignore(tmp_path: Path):
    classes = tuple(ClassInfo(name=str(i), colour=(0, 0, 0)) for i in range(400))
    labels = np.full(SHAPE[1:], 399)
    labels[0] = 65535
    path = tmp_path / "d.h5"
    with DatasetWriter(path, count=1, image_shape=SHAPE, image_dtype="uint16", label_dtype="uint16") as writer:
        writer.add(Item(item().image, labels, "train", "g", item().source))
        writer.finish(DatasetInfo("r", {}, classes, INFO.normalisation))
    with Dataset(path) as dataset:
        assert dataset.ignore == 65535
        np.testing.assert_array_equal(dataset.labels(0), labels)


def test_indices_are_those_of_the_split(write: Write):
    with Dataset(write([item(i, ("train", "val", "test")[i % 3]) for i in range(7)])) as dataset:
        assert dataset.indices("train").tolist() == [0, 3, 6]
        assert dataset.indices("val").tolist() == [1, 4]
        assert dataset.indices("test").tolist() == [2, 5]


def test_label_budgets_are_nested_and_of_the_labelled_training_images_only(write: Write):
    items = [item(i, "train" if i % 4 else "val", labelled=i % 3 > 0) for i in range(40)]
    eligible = {i for i in range(40) if i % 4 and i % 3}
    with Dataset(write(items)) as dataset:
        budgets = [dataset.label_subset(ratio=ratio).tolist() for ratio in (0.1, 0.25, 0.5, 1.0)]
        assert [len(subset) for subset in budgets] == [2, 5, 10, 20]
        assert set(budgets[-1]) == eligible
        for smaller, larger in itertools.pairwise(budgets):
            assert larger[: len(smaller)] == smaller
        assert dataset.label_subset(count=3).tolist() == budgets[1][:3]


def test_the_label_order_is_shuffled_by_the_seed(write: Write):
    items = [item(i) for i in range(20)]

    def order(seed: int) -> list[int]:
        with Dataset(write(items, seed=seed)) as dataset:
            return dataset.label_order.tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != sorted(order(1))


@pytest.mark.parametrize(
    ("available", "ratio", "count"),
    [(3, 0.1, 1), (92, 0.1, 9), (92, 0.25, 23), (114, 0.1, 11), (114, 0.25, 28), (114, 0.5, 57), (200, 0.1, 20)],
)
def test_a_ratio_rounds_to_the_nearest_image_and_is_at_least_one(
    write: Write, available: int, ratio: float, count: int
):
    image = np.zeros((1, 2, 2), np.uint8)
    source = ItemSource("a.tif", "", 0, (0, 0), (2, 2))
    items = [Item(image, image[0], "train", "g", source) for _ in range(available)]
    with Dataset(write(items)) as dataset:
        assert len(dataset.label_subset(ratio=ratio)) == count


def test_more_labels_than_there_are_is_refused_with_the_number_there_is(write: Write):
    with Dataset(write([item(0), item(1)])) as dataset, pytest.raises(UsageError, match="training split has 2"):
        dataset.label_subset(count=3)


def test_a_budget_without_any_labelled_training_image_is_refused(write: Write):
    with (
        Dataset(write([item(0, "val"), item(1, labelled=False)])) as dataset,
        pytest.raises(DataError, match="has a mask"),
    ):
        dataset.label_subset(ratio=0.5)


def test_a_budget_that_nothing_is_said_of_is_every_label(write: Write):
    with Dataset(write([item(i) for i in range(5)])) as dataset:
        np.testing.assert_array_equal(dataset.label_subset(), dataset.label_order)
        with pytest.raises(UsageError, match="6 labelled images were asked for"):
            dataset.label_subset(ratio=1.2)


def test_the_data_set_given_or_else_the_only_one_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_dataset(Path("elsewhere.h5")) == Path("elsewhere.h5")
    with pytest.raises(UsageError, match="data/ holds none") as none:
        find_dataset(None)
    assert none.value.fix == "Make one with `bioseg prepare`."
    (tmp_path / "data").mkdir()
    for name in ("b.h5", "notes.txt"):
        (tmp_path / "data" / name).touch()
    assert find_dataset(None) == Path("data/b.h5")
    temporary_path(tmp_path / "data" / "c.h5").touch()  # another process writes it, or was killed over it
    assert find_dataset(None) == Path("data/b.h5")
    (tmp_path / "data" / "a.h5").touch()
    with pytest.raises(UsageError, match="data/ holds several") as several:
        find_dataset(None)
    assert several.value.fix == f"Name one of {Path('data/a.h5')}, {Path('data/b.h5')}."


def test_a_data_set_is_closed_when_it_is_left(write: Write):
    path = write([item(0)])
    with Dataset(path):
        pass
    h5py.File(path, "r+").close()


def test_images_are_found_by_their_names_or_not_at_all(write: Write):
    with Dataset(write([item(i) for i in range(4)])) as dataset:
        assert dataset.named(["a2", "a0"]).tolist() == [2, 0]
        assert dataset.named(["a2", "a4"]) is None
        assert dataset.named([]).dtype == np.int64


def test_names_that_are_not_utf8_come_back_as_they_were(write: Write):
    odd = item(0, file="a\udcff.tif")
    with Dataset(write([dataclasses.replace(odd, group="g\udcfe"), item(1)])) as dataset:
        assert dataset.source(0).file == "a\udcff.tif"
        assert dataset.group.tolist() == ["g\udcfe", "g1"]
        assert dataset.name(0) == "a\udcff"


def test_names_are_the_files_stems(write: Write):
    assert names_of(write, {"file": "t000.tif"}, {"file": "t001.tif"}) == ["t000", "t001"]


def test_names_get_only_the_parts_that_tell_them_apart(write: Write):
    assert names_of(write, {"file": "t0.tif"}, {"file": "t0.tif"}, {"file": "t1.tif"}, groups="abb") == [
        "a_t0",
        "b_t0",
        "t1",
    ]
    assert names_of(write, {"file": "t0.tif"}, {"file": "t0.tif"}, groups=["p/1", "p/2"]) == ["p_1_t0", "p_2_t0"]
    assert names_of(write, {"file": "s.tif", "frame": 0}, {"file": "s.tif", "frame": 2}) == ["s_f000", "s_f002"]
    assert names_of(write, {"file": "s.tif"}, {"file": "s.tif", "origin": (0, 512)}) == ["s_y0_x0", "s_y0_x512"]


def test_names_are_unique_even_where_nothing_tells_images_apart(write: Write):
    sources = [{"file": "s.tif"}] * 3 + [{"file": "s.tif", "frame": 1, "origin": (0, 9)}, {"file": "s.png"}]
    names = names_of(write, *sources)
    assert len(set(names)) == len(names)
    assert all(name.startswith("s") for name in names)
    assert names_of(write, {"file": "s.tif"}, {"file": "s.tif"}) == ["s_00000", "s_00001"]


@pytest.mark.parametrize(
    ("origin", "frame", "expected"),
    [
        ((0, 0), (6, 7), (slice(0, 6), slice(0, 7))),
        ((10, 20), (100, 100), (slice(0, 6), slice(0, 7))),
        ((-1, -2), (4, 3), (slice(1, 5), slice(2, 5))),
        ((97, -3), (100, 100), (slice(0, 3), slice(3, 7))),
    ],
)
def test_the_extent_is_the_part_that_shows_the_source(write: Write, origin, frame, expected):
    with Dataset(write([item(0, origin=origin, shape=frame)])) as dataset:
        assert dataset.extent(0) == expected


def test_normalised_pixels_are_in_zero_to_one_by_the_stored_limits(write: Write):
    with Dataset(write([item(0)])) as dataset:
        expected = np.clip((dataset.image(0) - np.array([0, 1.0])[:, None, None]) / [[[4000.0]], [[1.0]]], 0, 1)
        np.testing.assert_allclose(dataset.normalised(0), expected, atol=1e-6)


def test_the_content_hash_changes_with_anything_in_the_data_set_and_with_nothing_else(write: Write):
    first, other = item(0), item(1)
    unlabelled = Item(first.image, np.full(SHAPE[1:], 255, np.uint8), "val", first.group, first.source)

    def content_hash(items: list[Item], **options: object) -> str:
        with Dataset(write(items, **options)) as dataset:
            return dataset.content_hash

    reference = content_hash([first, other])
    assert content_hash([first, other], name="copy.h5") == reference
    changed = [
        content_hash([other, first]),
        content_hash([first, Item(other.image, other.labels, "val", other.group, other.source)]),
        content_hash([first, Item(other.image, None, "train", other.group, other.source)]),
        content_hash([first, other], info=DatasetInfo("x", {}, CLASSES, INFO.normalisation)),
        content_hash([first, unlabelled]),
        content_hash([first, Item(first.image, None, "val", first.group, first.source)]),
    ]
    assert len({reference, *changed}) == 1 + len(changed)


PLANE = ((0.02, 0.0, 0.0, -31.5), (0.0, 0.012, -0.8, 4.25), (0.0, 0.016, 0.6, 70.125))


def hash_with(write: Write, plane: object) -> str:
    with Dataset(write([item(0, plane=plane), item(1)])) as dataset:
        return dataset.content_hash


def test_planes_come_back_and_an_image_of_no_volume_has_none(write: Write):
    path = write([item(0), item(1, plane=PLANE), item(2)])
    with Dataset(path) as dataset:
        assert [dataset.source(index).plane for index in range(3)] == [None, PLANE, None]
    with h5py.File(write([item(0), item(1)], name="flat.h5")) as file:
        assert "plane" not in file["source"]


def test_a_plane_counts_in_the_content_hash_but_not_its_last_bits(write: Write):
    moved = (*PLANE[:2], (0.0, 0.016, 0.6, 70.126))
    rounded = tuple(tuple(float(np.nextafter(value, 1e9)) for value in row) for row in PLANE)
    mirrored = tuple(tuple(-0.0 if value == 0 else value for value in row) for row in PLANE)
    assert rounded != PLANE
    assert hash_with(write, rounded) == hash_with(write, mirrored) == hash_with(write, PLANE)
    assert len({hash_with(write, plane) for plane in (None, PLANE, moved)}) == 3
    assert hash_with(write, PLANE) == "5b88238170e48c26d0341f88fc3844dd9029ddf5cd0c2c0a89b0eea7212f0626"


@pytest.mark.parametrize("plane", [PLANE[:2], tuple(row[:3] for row in PLANE), ((float("nan"),) * 4, *PLANE[1:])])
def test_a_matrix_that_is_no_plane_is_refused(write: Write, plane: object):
    with pytest.raises(ValueError, match="a plane is a matrix"):
        write([item(0, plane=plane)])


def test_the_content_hash_of_a_data_set_stays_what_it_was(tmp_path: Path):
    """Runs and results name the data set they belong to by this number."""
    image = np.arange(2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5)
    sources = [ItemSource(f"a{index}.tif", f"{index:064x}", index, (-1, 2), (90, 80)) for index in range(2)]
    path = tmp_path / "d.h5"
    with DatasetWriter(path, count=2, image_shape=image.shape, image_dtype=image.dtype) as writer:
        writer.add(Item(image, (image[0] % 3).astype(np.uint8), "train", "g0", sources[0]))
        writer.add(Item(image + 1, None, "val", "g1", sources[1]))
        content_hash = writer.finish(INFO)
    assert content_hash == "6fc1bda8efdafbcaf3b61ed8d1090c48ec2593d69dc0669b8eae81bad7ddc285"


def test_the_label_order_of_a_data_set_stays_what_it_was(tmp_path: Path):
    """Label budgets are its beginnings."""
    path = tmp_path / "d.h5"
    with DatasetWriter(path, count=9, image_shape=SHAPE, image_dtype=np.uint16) as writer:
        for index in range(9):
            writer.add(item(index, "val" if index == 4 else "train"))
        writer.finish(INFO)
    with Dataset(path) as dataset:
        assert dataset.label_order.tolist() == [0, 8, 2, 5, 7, 1, 3, 6]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
def test_any_hdf5_program_reads_the_pixels_a_chunk_an_image(write: Write, dtype: type):
    items = [
        Item(
            np.random.default_rng(i).integers(0, 200, SHAPE).astype(dtype), written.labels, "train", "g", written.source
        )
        for i, written in enumerate([item(0), item(1)])
    ]
    with h5py.File(write(items)) as file:
        images, labels = file["images"], file["labels"]
        assert (images.chunks, labels.chunks) == ((1, *SHAPE), (1, *SHAPE[1:]))
        assert images.compression == labels.compression == "gzip"
        assert images.compression_opts == labels.compression_opts == 1
        assert {str(h5py.check_string_dtype(file[name].dtype)) for name in ("split", "group", "source/file")} == {
            "string_info(encoding='utf-8', length=None)"
        }
        # Of the two bits by which a chunk says how hard it was packed, the fastest level has none.
        assert images.id.read_direct_chunk((0, 0, 0, 0))[1][1] >> 6 == 0
        assert (images.shuffle, labels.shuffle) == (np.dtype(dtype).itemsize > 1, False)
        np.testing.assert_array_equal(images[:], [item.image for item in items])
        np.testing.assert_array_equal(labels[:], [item.labels for item in items])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip", "shuffle": True, "chunks": (1, 2, 64, 64)},
        {"compression": "gzip", "chunks": (1, 2, 64, 64)},
        {"compression": "gzip", "chunks": (2, 1, 32, 64)},
        {"compression": "lzf", "chunks": (1, 2, 64, 64)},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_that_hdf5_packed_itself_or_not_at_all_are_read(write: Write, options: dict[str, object], dtype: type):
    path = write([item(0), item(1)])
    noise = np.random.default_rng(0).integers(0, 256, (2, 2, 64, 64)).astype(dtype)
    noise[1] %= 3
    with h5py.File(path, "r+") as file:
        del file["images"], file["labels"]
        file.create_dataset("images", data=noise, **options)
        file["labels"] = np.zeros((2, 64, 64), np.uint8)
        without_digests(file)
    with Dataset(path) as dataset:
        for index in range(2):
            np.testing.assert_array_equal(dataset.image(index), noise[index])


def test_items_packed_in_threads_make_the_same_data_set(write: Write, tmp_path: Path):
    items = [item(index, labelled=index % 3 > 0) for index in range(12)]
    with Dataset(write(items)) as dataset:
        expected = dataset.content_hash
    with (
        DatasetWriter(tmp_path / "t.h5", count=12, image_shape=SHAPE, image_dtype="uint16") as writer,
        ThreadPoolExecutor(4) as pool,
    ):
        for packed in pool.map(writer.pack, items):
            writer.add_packed(packed)
        assert writer.finish(INFO) == expected


def numbered(count: int = 3) -> list[Item]:
    """Items with the numbers of their objects; the last one has no mask."""
    random = np.random.default_rng(5)
    return [
        dataclasses.replace(item(index), objects=random.integers(0, 70000, SHAPE[1:], dtype=np.int64))
        for index in range(count - 1)
    ] + [item(count - 1, labelled=False)]


def write_numbered(path: Path, items: list[Item]) -> str:
    with DatasetWriter(path, count=len(items), image_shape=SHAPE, image_dtype=np.uint16, objects=True) as writer:
        for given in items:
            writer.add(given)
        return writer.finish(INFO)


def test_numbers_of_objects_come_out_as_they_went_in(tmp_path: Path, write: Write) -> None:
    items = numbered()
    content_hash = write_numbered(tmp_path / "numbered.h5", items)
    with Dataset(tmp_path / "numbered.h5") as dataset:
        assert dataset.numbers_objects
        for index, given in enumerate(items):
            expected = np.zeros(SHAPE[1:]) if given.objects is None else given.objects
            np.testing.assert_array_equal(dataset.objects(index), expected)
    with Dataset(write([dataclasses.replace(given, objects=None) for given in items])) as plain:
        assert not plain.numbers_objects
        assert plain.content_hash == content_hash  # no training depends on the numbers
    with h5py.File(tmp_path / "numbered.h5") as file:
        before = file.attrs["objects_hash"]
    write_numbered(tmp_path / "other.h5", [dataclasses.replace(items[0], objects=np.zeros(SHAPE[1:])), *items[1:]])
    with h5py.File(tmp_path / "other.h5") as file:
        assert file.attrs["objects_hash"] != before


def test_a_data_set_numbers_the_objects_of_all_masks_or_of_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the mask of a1.tif numbers no objects"):
        write_numbered(tmp_path / "d.h5", [numbered()[0], item(1)])
    with pytest.raises(ValueError, match="objects are"):
        write_numbered(tmp_path / "d.h5", [dataclasses.replace(item(0), objects=np.zeros((2, 2)))])


def test_objects_of_another_shape_are_damage(tmp_path: Path) -> None:
    write_numbered(tmp_path / "d.h5", numbered())
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["objects"]
        file["objects"] = np.zeros((3, 2, 2), np.uint32)
    with pytest.raises(DataError, match="objects and labels are of different shapes"):
        Dataset(tmp_path / "d.h5")
