"""Batches: crops, order and random streams, and what is shown, ignored and normalised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.batches import IGNORE, ImageSource, looped_order, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation

SIZE = (20, 30)
CACHE = 1 << 20
PADDED = 3  # index of the image of which only rows 0..12 and columns 4..30 show the source


def all_of(*indices: int) -> np.ndarray:
    return np.array(indices, dtype=np.int64)


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    """Images whose pixels say where they are: 1000 x image + 30 x row + column; labels alternate, row 0 is ignored."""
    where = np.arange(SIZE[0] * SIZE[1], dtype=np.int32).reshape(SIZE)
    path = tmp_path / "d.h5"
    with DatasetWriter(path, count=4, image_shape=(1, *SIZE), image_dtype=np.int32) as writer:
        for index in range(4):
            origin, shape = ((0, -4), (12, 26)) if index == PADDED else ((0, 0), SIZE)
            labels = where % 2
            labels[0] = 255
            source = ItemSource(f"{index}.tif", "", 0, origin, shape)
            writer.add(Item((where + 1000 * index)[None], labels if index != 2 else None, "train", "g", source))
        classes = (ClassInfo(name="a", colour=(0, 0, 0)),) * 2
        writer.finish(DatasetInfo("r", {}, classes, Normalisation("minmax", (0.0,), (4000.0,))))
    with Dataset(path) as opened:
        yield opened


def positions(images: torch.Tensor) -> np.ndarray:
    """Row and column of the top left corner of each (B, 1, H, W) crop."""
    value = (images[:, 0, 0, 0].double() * 4000).round().long() % 1000
    return torch.stack([value // SIZE[1], value % SIZE[1]], dim=1).numpy()


def test_whole_images_come_normalised_with_their_labels(dataset: Dataset):
    batch = ImageSource(dataset, CACHE).batch(all_of(1, 0))
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (2, 1, *SIZE)
    assert batch.indices == (1, 0)
    np.testing.assert_allclose(batch.images[0], dataset.image(1) / 4000, atol=1e-7)
    assert batch.labels.dtype == torch.int64


def test_the_stored_ignore_label_and_missing_masks_become_ignore(dataset: Dataset):
    labels = ImageSource(dataset, CACHE).batch(all_of(0, 2)).labels
    assert (labels[0, 0] == IGNORE).all()
    assert set(labels[0, 1:].unique().tolist()) == {0, 1}
    assert (labels[1] == IGNORE).all()


def test_padding_is_not_shown(dataset: Dataset):
    shown = ImageSource(dataset, CACHE).batch(all_of(0, PADDED)).shown
    assert shown.dtype == torch.float32
    assert (shown[0] == 1).all()
    expected = np.zeros(SIZE)
    expected[:12, 4:] = 1
    np.testing.assert_array_equal(shown[1, 0], expected)


def test_image_labels_and_shown_are_cropped_alike(dataset: Dataset):
    source, random = ImageSource(dataset, CACHE), random_stream(0, "crop")
    for _ in range(20):
        batch = source.batch(all_of(0, PADDED), crop=13, random=random)
        for number, (row, column) in enumerate(positions(batch.images)):
            window = np.s_[row : row + 13, column : column + 13]
            whole = source.batch(all_of(batch.indices[number]))
            np.testing.assert_array_equal(batch.images[number, 0], whole.images[0, 0][window])
            np.testing.assert_array_equal(batch.labels[number], whole.labels[0][window])
            np.testing.assert_array_equal(batch.shown[number, 0], whole.shown[0, 0][window])


def test_random_crops_reach_every_position_inside_the_extent_and_none_outside(dataset: Dataset):
    source, random = ImageSource(dataset, CACHE), random_stream(0, "crop")
    corners = np.concatenate(
        [positions(source.batch(all_of(PADDED), crop=8, random=random).images) for _ in range(400)]
    )
    assert set(corners[:, 0]) == set(range(12 - 8 + 1))
    assert set(corners[:, 1]) == set(range(4, 30 - 8 + 1))


def test_a_crop_larger_than_the_extent_still_contains_all_of_it(dataset: Dataset):
    source, random = ImageSource(dataset, CACHE), random_stream(0, "crop")
    for _ in range(30):
        shown = source.batch(all_of(PADDED), crop=15, random=random).shown
        assert shown[0, 0].any(dim=1).sum() == 12


def test_a_crop_as_large_as_the_image_is_the_image(dataset: Dataset):
    batch = ImageSource(dataset, CACHE).batch(all_of(0), crop=25, random=random_stream(0, "crop"))
    assert batch.images.shape == (1, 1, 20, 25)


def test_a_crop_without_a_generator_is_a_mistake(dataset: Dataset):
    with pytest.raises(ValueError, match="generator"):
        ImageSource(dataset, CACHE).batch(all_of(0), crop=8)


@pytest.mark.parametrize("cache", [0, 5000, 1 << 30])
def test_images_are_the_same_whatever_fits_in_memory(dataset: Dataset, cache: int):
    source = ImageSource(dataset, cache)
    for _ in range(2):
        for index in range(4):
            np.testing.assert_allclose(source.batch(all_of(index)).images[0], dataset.image(index) / 4000, atol=1e-7)


@pytest.mark.parametrize(("labels", "bytes_each"), [(True, 2400 + 600), (False, 2400 + 1200)])
@pytest.mark.parametrize("slack", [-1, 0])
def test_images_are_read_again_only_where_memory_ran_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, labels: bool, bytes_each: int, slack: int
):
    read = []
    whole = dataset.image
    monkeypatch.setattr(dataset, "image", lambda index: (read.append(index), whole(index))[1])
    # Of three images two fit, or for want of a byte one.
    source = ImageSource(dataset, 2 * bytes_each + slack, labels=labels)
    for _ in range(3):
        source.batch(all_of(0, 1, 2))
    assert Counter(read) == {0: 1, 1: 1 if slack == 0 else 3, 2: 3}


def test_without_labels_every_label_is_ignore_and_no_mask_is_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset, "labels", None)
    batch = ImageSource(dataset, CACHE, labels=False).batch(all_of(0, PADDED))
    assert batch.labels.dtype == torch.int64
    assert batch.labels.shape == (2, *SIZE)
    assert (batch.labels == IGNORE).all()
    np.testing.assert_allclose(batch.images[0], dataset.image(0) / 4000, atol=1e-7)


def test_a_batch_moves_whole(dataset: Dataset):
    batch = ImageSource(dataset, CACHE).batch(all_of(1, PADDED))
    moved = batch.to(torch.device("meta"))
    assert {moved.images.device.type, moved.labels.device.type, moved.shown.device.type} == {"meta"}
    assert (moved.images.shape, moved.labels.shape, moved.shown.shape) == (
        batch.images.shape, batch.labels.shape, batch.shown.shape,
    )  # fmt: skip
    assert moved.indices == (1, PADDED)


def test_streams_stay_what_they_were():
    """Runs are repeated and resumed by these numbers."""
    expected = {"order": 772650, "crop": 307499, "augment": 341783, "validate": 897715}
    assert {purpose: random_stream(3, purpose, 1, 2).integers(10**6) for purpose in expected} == expected


def test_a_stream_is_the_same_every_time_it_is_asked_for():
    assert random_stream(5, "augment", 3, 7).random(4).tolist() == random_stream(5, "augment", 3, 7).random(4).tolist()


def test_streams_of_other_seeds_purposes_and_positions_differ():
    streams = [
        random_stream(seed, purpose, epoch, step).random()
        for seed in (0, 1)
        for purpose in ("order", "crop", "augment", "validate")
        for epoch in range(3)
        for step in range(3)
    ]
    assert len(set(streams)) == len(streams)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 99))
def test_a_looped_order_uses_every_image_equally_often(size, count, seed):
    subset = np.arange(100, 100 + size)
    order = looped_order(subset, count, np.random.default_rng(seed))
    assert len(order) == count
    times = Counter(order.tolist())
    assert set(times) <= set(subset.tolist())
    assert max(times.values()) - min(times.get(index, 0) for index in subset.tolist()) <= 1
    for start in range(0, count - size + 1, size):
        assert len(set(order[start : start + size].tolist())) == size


def test_each_round_of_a_looped_order_is_shuffled_anew():
    rounds = looped_order(np.arange(20), 60, np.random.default_rng(0)).reshape(3, 20).tolist()
    assert rounds[0] != rounds[1]
    assert rounds[1] != rounds[2]
    assert rounds[0] != list(range(20))


def labelled_once(path: Path, image: np.ndarray, labels: np.ndarray) -> Dataset:
    """An open data set of one image."""
    with DatasetWriter(path, count=1, image_shape=image.shape, image_dtype=image.dtype) as writer:
        writer.add(Item(image, labels, "train", "g", ItemSource("a.tif", "", 0, (0, 0), labels.shape)))
        classes = (ClassInfo(name="a", colour=(0, 0, 0)),) * 2
        writer.finish(DatasetInfo("r", {}, classes, Normalisation("minmax", (0.0,), (4000.0,))))
    return Dataset(path)


def test_crops_around_labels_hold_a_labelled_pixel_and_half_of_them_the_rare_class(tmp_path: Path) -> None:
    labels = np.full((60, 60), 255, dtype=np.uint8)
    labels[50:55, 5:10] = 0
    labels[2, 40:44] = 1
    image = np.arange(3600, dtype=np.uint16).reshape(1, 60, 60)
    with labelled_once(tmp_path / "d.h5", image, labels) as dataset:
        source, random = ImageSource(dataset, CACHE), random_stream(0, "crop")
        drawn = [source.batch(all_of(0), crop=20, random=random, around_labels=True).labels[0] for _ in range(400)]
    assert all((crop != IGNORE).any() for crop in drawn)
    # Half of the crops are around class 1; of the others, around any labelled pixel, 4 of 29 are.
    share = np.mean([bool((crop == 1).any()) for crop in drawn])
    assert share == pytest.approx(0.5 + 0.5 * 4 / 29, abs=0.06)


def test_every_place_of_a_pixel_in_the_crops_around_it_is_as_likely(tmp_path: Path) -> None:
    labels = np.full((60, 60), 255, dtype=np.uint8)
    labels[30, 20] = 1
    image = np.zeros((1, 60, 60), dtype=np.uint16)
    with labelled_once(tmp_path / "d.h5", image, labels) as dataset:
        source, random = ImageSource(dataset, CACHE), random_stream(0, "crop")
        crops = [source.batch(all_of(0), crop=8, random=random, around_labels=True).labels[0] for _ in range(900)]
    places = Counter(int((crop == 1).nonzero()[0, 0]) for crop in crops)
    assert set(places) == set(range(8))
    assert max(places.values()) < 2 * min(places.values())


def test_crops_around_labels_of_an_image_without_any_lie_anywhere(tmp_path: Path) -> None:
    image = np.zeros((1, 30, 30), dtype=np.uint16)
    with labelled_once(tmp_path / "d.h5", image, np.full((30, 30), 255, np.uint8)) as dataset:
        batch = ImageSource(dataset, CACHE).batch(
            all_of(0), crop=8, random=random_stream(0, "crop"), around_labels=True
        )
    assert batch.labels.shape == (1, 8, 8)
