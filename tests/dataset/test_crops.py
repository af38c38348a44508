from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioseg_cli.dataset.crops import Crop, centre_crop, cut_items, tile_area, tile_crops

FRAME = np.arange(2 * 6 * 9).reshape(2, 6, 9)


def test_centre_crop() -> None:
    crop = centre_crop((6, 9), (4, 4))
    np.testing.assert_array_equal(crop.cut(FRAME, 0), FRAME[:, 1:5, 2:6])


def test_what_lies_outside_is_filled() -> None:
    crop = centre_crop((6, 9), (8, 4))
    assert crop == Crop(-1, 2, 8, 4)
    part = crop.cut(FRAME, 255)
    np.testing.assert_array_equal(part[:, 1:7], FRAME[:, :, 2:6])
    assert (part[:, [0, 7]] == 255).all()
    assert crop.inside(6, 9) == (slice(1, 7), slice(0, 4))


@given(height=st.integers(1, 60), width=st.integers(1, 60), side=st.integers(1, 40))
def test_tiles_cover_every_pixel_once(height, width, side) -> None:
    image = np.ones((1, height, width), dtype=np.uint8)
    labels = np.ones((height, width), dtype=np.uint8)
    crops = tile_crops((height, width), side)
    parts = cut_items(image, labels, crops, 255)
    assert sum(int((codes == 1).sum()) for _, codes in parts) == height * width
    assert all(part.shape == (1, side, side) for part, _ in parts)
    assert len(crops) == -(-height // side) * -(-width // side)


def test_overlapping_tiles_keep_their_pixels_but_not_their_labels() -> None:
    labels = np.ones((4, 6), dtype=np.uint8)
    parts = cut_items(np.ones((1, 4, 6), dtype=np.uint8), labels, tile_crops((4, 6), 4), 255)
    assert (parts[1][0] == 1).all()
    np.testing.assert_array_equal(parts[1][1][0], [255, 255, 1, 1])
    assert (labels == 1).all()


@pytest.mark.parametrize("crop", [Crop(3, 5, 4, 4), Crop(-2, 1, 8, 8)])
def test_a_crop_lies_where_its_pixels_lie_in_the_frame(crop) -> None:
    frame = np.random.default_rng(0).normal(size=(3, 4))
    row, column = 2.0, 7.0
    expected = frame @ (crop.y + row, crop.x + column, 1.5, 1)
    np.testing.assert_allclose(np.array(crop.plane(frame)) @ (row, column, 1.5, 1), expected)


@pytest.mark.parametrize("shape", [(6, 9), (3, 30)])
def test_an_unlabelled_image_stays_unlabelled(shape) -> None:
    parts = cut_items(np.ones((1, *shape)), None, tile_crops(shape, 5), 255)
    assert [codes for _, codes in parts] == [None] * len(parts)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_the_area_of_a_tile_is_where_it_keeps_its_labels(height: int, width: int, side: int) -> None:
    crops = tile_crops((height, width), side)
    parts = cut_items(np.ones((1, height, width), np.uint8), np.zeros((height, width), np.uint8), crops, 255)
    for crop, (_, labels) in zip(crops, parts, strict=True):
        assert tile_area((crop.y, crop.x), (height, width), side) == np.count_nonzero(labels == 0)


def test_the_area_of_a_tile_of_a_frame_too_large_to_list_its_tiles() -> None:
    assert tile_area((2**40 - 8, 0), (2**40, 8), 8) == 64
