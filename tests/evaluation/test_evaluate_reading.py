"""Masks are decoded once and seen as they are, and a network's images are counted in order while it goes on."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folder_ground_truth import FolderGroundTruth
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth
from bioseg_cli.evaluation.network import LARGEST_BATCH, NetworkOnGroundTruth
from bioseg_cli.evaluation.thresholding import histogram
from bioseg_cli.masks import frames
from bioseg_cli.masks.frames import MaskReader, distinct_values, frames_of
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.runs.console import ConsoleOutput


@given(st.sampled_from(["uint8", "uint16", "uint32", "uint64", "int16", "int64"]), st.data())
def test_distinct_values_are_those_of_numpy(dtype, data):
    limits = np.iinfo(dtype)
    listed = data.draw(st.lists(st.integers(limits.min, limits.max), min_size=1, max_size=20))
    values = data.draw(arrays(dtype, (5, 6), elements=st.sampled_from([*listed, limits.max, 0])))
    found = distinct_values(values)
    np.testing.assert_array_equal(found, np.unique(values))
    assert found.dtype == values.dtype


MASKS = {
    "binary": np.array([[0, 255], [255, 0], [0, 0]], dtype=np.uint8),
    "one value": np.full((3, 2), 7, dtype=np.uint16),
    "two high values": np.array([[65535, 3], [3, 65535]], dtype=np.uint16),
    "objects": np.arange(12, dtype=np.uint16).reshape(3, 4),
    "floats": np.array([[0.0, 2.0], [2.0, 0.0]], dtype=np.float32),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_kept_mask_is_the_one_that_was_read(tmp_path, name, monkeypatch):
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, MASKS[name], photometric="minisblack")
    expected = read_mask(path)
    (frame,) = frames_of(path)
    reader = MaskReader()
    values = reader.look(frame)
    np.testing.assert_array_equal(values, np.unique(expected)[None])
    assert values.dtype == expected.dtype
    monkeypatch.setattr(frames, "read_mask", lambda *_: pytest.fail("decoded again"))
    for _ in range(2):
        kept = reader.read(frame)
        np.testing.assert_array_equal(kept, expected)
        assert kept.dtype == expected.dtype
        kept[:] = 1  # what a caller does to it is its own affair


def test_colours_are_seen_as_colours(tmp_path):
    mask = np.zeros((4, 5, 3), dtype=np.uint8)
    mask[1], mask[2] = (200, 30, 0), (0, 30, 200)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (frame,) = frames_of(tmp_path / "mask.png")
    reader = MaskReader()
    assert sorted(map(tuple, reader.look(frame)[0].tolist())) == [(0, 0, 0), (0, 30, 200), (200, 30, 0)]
    np.testing.assert_array_equal(reader.read(frame), mask)


def test_what_does_not_fit_is_read_again(tmp_path, monkeypatch):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", MASKS["objects"] + number)
    every = [frames_of(tmp_path / f"{number}.tif")[0] for number in range(3)]
    reader = MaskReader(room=MASKS["objects"].nbytes)
    for frame in every:
        reader.look(frame)
    decoded = []
    monkeypatch.setattr(
        frames, "read_mask", lambda path, *which: (decoded.append(path.name), read_mask(path, *which))[1]
    )
    for number, frame in enumerate(every):
        np.testing.assert_array_equal(reader.read(frame), MASKS["objects"] + number)
    assert decoded == ["1.tif", "2.tif"]


def numbered(number: int) -> np.ndarray:
    """Objects numbered from 1, each one region."""
    mask = np.zeros((30, 40), dtype=np.uint16)
    for place in range(12):
        mask[2 + 9 * (place // 4) : 7 + 9 * (place // 4), 2 + 9 * (place % 4) : 8 + 9 * (place % 4)] = (
            place + 1 + number
        )
    return mask


def scattered(number: int) -> np.ndarray:
    """Classes 0 to 3, in many regions."""
    return np.random.default_rng(number).integers(0, 4, (30, 40)).astype(np.uint8)


@pytest.mark.parametrize("draw", [numbered, scattered, lambda number: (scattered(number) > 1).astype(np.uint8) * 255])
@pytest.mark.parametrize("kind", [None, "binary", "classes"])
def test_true_masks_are_read_as_a_survey_of_every_pixel_says(tmp_path, draw, kind):
    survey = MaskSurvey()
    for number in range(3):
        survey.add(draw(number))
        tifffile.imwrite(tmp_path / f"{number}.tif", draw(number))
    truth = FolderGroundTruth(tmp_path, kind, (), None, MaskReader(), ConsoleOutput(quiet=True))
    assert truth.reading == survey.reading(kind, ())
    np.testing.assert_array_equal(truth.labels(1), truth.reading.labels(draw(1)))


def test_negative_labels_are_refused_by_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype=np.int16))
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), -3, dtype=np.int16))
    with pytest.raises(DataError, match="negative values, down to -3") as found:
        FolderGroundTruth(tmp_path, "binary", (), None, MaskReader(), ConsoleOutput(quiet=True))
    assert str(found.value.where) == str(tmp_path / "b.tif")


@given(st.integers(0, 2**32), st.sampled_from([3, 200, 4096]), st.sampled_from([0.0, 0.5, 100.0, -3.0]))
def test_the_histogram_is_that_of_numpy(seed, levels, offset):
    random = np.random.default_rng(seed)
    values = random.integers(0, levels, (20, 30)).astype(np.float32) / np.float32(levels - 1) + np.float32(offset)
    values[0, :2] = offset, offset + 1
    counts, edges = histogram(values, 256)
    expected, expected_edges = np.histogram(values, 256)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(edges, expected_edges)


# A network on a data set ----------------------------------------------------------------------------------------------


@pytest.fixture
def truth(disc_dataset):
    with Dataset(disc_dataset) as dataset:
        yield DatasetGroundTruth(dataset, "train")


@pytest.mark.parametrize("batch", [1, 3, 8, 1000])
def test_images_are_compared_in_order_whatever_the_batch(truth, batch):
    sizes = []

    def forward(images):
        assert threading.current_thread() is threading.main_thread()
        sizes.append(len(images))
        return images

    network = NetworkOnGroundTruth(truth, batch, forward, lambda images: [image[0] for image in images])
    found = list(network.compared(lambda _, labels, predicted: (labels, predicted)))
    assert len(found) == 8
    for number, (labels, predicted) in enumerate(found):
        np.testing.assert_array_equal(labels, truth.labels(number))
        np.testing.assert_array_equal(predicted, truth.stored(number)[0])
    assert sizes == {1: [1] * 8, 3: [3, 3, 2], 8: [8], 1000: [8]}[batch]
    assert max(sizes) <= LARGEST_BATCH
    np.testing.assert_array_equal(network(5), truth.stored(5)[0])


def test_an_image_that_does_not_fit_is_named(truth):
    def compare(number, labels, predicted):
        if predicted:
            raise DataError("It does not fit")
        return 0

    network = NetworkOnGroundTruth(truth, 3, lambda images: len(images), lambda count: [False, True, False][:count])
    with pytest.raises(DataError) as found:
        list(network.compared(compare))
    assert found.value.where == truth.names[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_stops_the_network_stops_its_threads(truth, error):
    passes = []

    def forward(images):
        passes.append(len(images))
        if len(passes) == 3:
            raise error
        return images

    network = NetworkOnGroundTruth(truth, 1, forward, list)
    with pytest.raises(error):
        list(network.compared(lambda *_: 0))
    assert len(passes) == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("prefetch", "counting"))]
