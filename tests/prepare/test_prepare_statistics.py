from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bioseg_cli.errors import DataError
from bioseg_cli.prepare.statistics import RangeOfChannels, value_counts


def ranges(images, method="percentile"):
    found = RangeOfChannels(
        method, images[0].dtype, channels=len(images[0]), pixels=sum(image[0].size for image in images)
    )
    for image in images:
        found.add(image)
    return found.normalisation()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, ">i2", np.int32, np.float32])
def test_percentiles_are_those_of_numpy(dtype) -> None:
    rng = np.random.default_rng(0)
    images = [rng.gamma(2, 20, (2, 37, 41)).astype(dtype) - (100 if dtype == np.int16 else 0) for _ in range(5)]
    if dtype == np.int8:
        images = [np.clip(image.astype(np.int16), -128, 127) for image in images]
    images = [image.astype(dtype) for image in images]
    found = ranges(images)
    pooled = np.stack(images, axis=1).reshape(2, -1).astype(np.float64)
    np.testing.assert_allclose(found.low, np.percentile(pooled, 0.1, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.high, np.percentile(pooled, 99.9, axis=1), rtol=1e-12)


@given(values=hnp.arrays(np.float64, st.integers(2, 3000), elements=st.floats(-1e6, 1e6)), pieces=st.integers(1, 4))
def test_streaming_equals_seeing_everything_at_once(values, pieces) -> None:
    if values.min() == values.max():
        return
    found = ranges([part[None, None] for part in np.array_split(values, pieces) if part.size])
    expected = np.percentile(values, [0.1, 99.9])
    if expected[0] < expected[1]:
        np.testing.assert_allclose([found.low[0], found.high[0]], expected, rtol=1e-9, atol=1e-9)


def test_minimum_and_maximum_by_channel() -> None:
    image = np.stack([np.arange(12).reshape(3, 4), 100 + np.arange(12).reshape(3, 4)]).astype(np.uint16)
    found = ranges([image], "minmax")
    assert (found.low, found.high) == ((0.0, 100.0), (11.0, 111.0))


def test_an_offset_of_32768_loses_nothing() -> None:
    image = (32768 + np.arange(100)).astype(np.uint16).reshape(1, 10, 10)
    applied = ranges([image], "minmax").apply(image)
    np.testing.assert_allclose(applied.ravel(), np.arange(100) / 99, atol=1e-6)


def test_nearly_empty_images_keep_their_range() -> None:
    image = np.zeros((1, 100, 100), dtype=np.uint8)
    image[0, 5, 5] = 200
    found = ranges([image])
    assert (found.low, found.high) == ((0.0,), (200.0,))


def test_one_grey_everywhere() -> None:
    with pytest.raises(DataError, match="one value"):
        ranges([np.full((1, 4, 4), 7, dtype=np.uint8)])


def test_an_empty_channel_beside_a_full_one() -> None:
    image = np.stack([np.zeros((4, 4)), np.arange(16).reshape(4, 4)]).astype(np.uint8)
    found = ranges([image], "minmax")
    np.testing.assert_array_equal(found.apply(image)[0], 0)


@given(values=hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.integers(0, 50)))
def test_every_value_is_counted(values) -> None:
    np.testing.assert_array_equal(value_counts(values), np.bincount(values, minlength=256**values.itemsize))
