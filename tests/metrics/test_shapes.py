"""Sizes and solidity of objects, beside masks counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bioseg_cli.metrics.shapes import object_shapes


def disc(radius: int) -> np.ndarray:
    rows, columns = np.mgrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def squares(*sides: int, size: int = 60) -> np.ndarray:
    """Squares of such sides in a row, two pixels apart, one pixel from the left and the upper edge."""
    mask, column = np.zeros((size, size), np.uint8), 1
    for side in sides:
        mask[1 : 1 + side, column : column + side] = 1
        column += side + 2
    return mask


def test_a_disc_is_one_whole_solid_object() -> None:
    found = object_shapes([disc(10)], 1)
    assert (found.per_map, found.whole, found.whole_share, found.size) == (1, 1, 1, 317)
    assert found.solidity == pytest.approx(0.93, abs=0.01)


def test_a_hole_and_a_notch_take_from_the_solidity_what_they_take_from_the_hull() -> None:
    ring = np.zeros((30, 30), np.uint8)
    ring[5:25, 5:25] = 1
    ring[10:20, 10:20] = 0
    assert object_shapes([ring], 1).solidity == pytest.approx(300 / 400)
    ring[14:16, 20:25] = 0
    found = object_shapes([ring], 1)
    assert (found.per_map, found.size) == (1, 290)
    assert found.solidity == pytest.approx(290 / 400)


def test_pixels_that_touch_by_a_corner_are_one_object() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:7, 2:7] = 1
    mask[7:12, 7:12] = 1
    found = object_shapes([mask], 1)
    assert (found.per_map, found.size) == (1, 50)
    assert found.solidity is not None and found.solidity < 0.8


def test_specks_decide_the_size_once_they_hold_half_of_the_pixels() -> None:
    few, many = (np.zeros((60, 60), np.uint8) for _ in range(2))
    few[1:11, 1:11] = many[1:11, 1:11] = 1
    few[21:39:2, 1:21:2] = 1  # 90 specks
    many[21:43:2, 1:21:2] = 1  # 110
    assert (object_shapes([few], 1).size, object_shapes([few], 1).per_map) == (100, 91)
    assert (object_shapes([many], 1).size, object_shapes([many], 1).per_map) == (1, 111)
    assert object_shapes([many], 1).solidity == 1  # of the square alone


def test_the_size_is_the_median_weighted_by_area() -> None:
    # 49 + 36 + 25 pixels: half of the 110 are reached within the second.
    assert object_shapes([squares(7, 6, 5)], 1).size == 36
    # 16 + 16 + 36: the largest alone holds more than half.
    assert object_shapes([squares(4, 4, 6)], 1).size == 36
    # Of two maps together: 100 beside 25 + 25 + 36.
    assert object_shapes([squares(10), squares(5, 5, 6)], 1).size == 100


def test_solidity_weighs_objects_by_their_area_and_leaves_small_ones_out() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[1:11, 1:11] = 1  # solidity 1
    mask[1:21, 20:40] = 1
    mask[6:16, 25:35] = 0  # 300 of 400
    assert object_shapes([mask], 1).solidity == pytest.approx((100 * 1 + 300 * 0.75) / 400)
    frame = np.zeros((20, 20), np.uint8)
    frame[2:9, 2:9] = 1
    frame[3:8, 3:8] = 0
    assert frame.sum() == 24 and object_shapes([frame], 1).solidity is None
    frame[3, 3] = 1
    assert object_shapes([frame], 1).solidity == pytest.approx(25 / 49)


@pytest.mark.parametrize("edge", [np.s_[:3, 5:8], np.s_[-3:, 5:8], np.s_[5:8, :3], np.s_[5:8, -3:]])
def test_an_object_that_an_edge_cuts_is_not_whole(edge: tuple[slice, slice]) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[10:14, 10:14] = 1
    mask[edge] = 1
    found = object_shapes([mask], 1)
    assert (found.per_map, found.whole, found.whole_share) == (2, 1, pytest.approx(16 / 25))
    # One pixel away from the edge it is whole.
    assert object_shapes([np.pad(mask, 1)], 1).whole == 2


def test_each_class_has_its_own_objects_and_an_absent_one_has_none() -> None:
    codes = squares(5, 5).astype(np.int32)
    codes[30:36, 30:36] = 2
    assert (object_shapes([codes], 1).per_map, object_shapes([codes], 1).size) == (2, 25)
    assert (object_shapes([codes], 2).per_map, object_shapes([codes], 2).size) == (1, 36)
    none = object_shapes([codes, codes], 3)
    assert (none.per_map, none.whole, none.whole_share, none.size, none.solidity) == (0, 0, 0, 0, None)
    assert object_shapes([], 1) == none
    # The background is one object, which the edges cut.
    assert (object_shapes([codes], 0).per_map, object_shapes([codes], 0).whole) == (1, 0)
    # A map without an object counts among the maps.
    assert object_shapes([codes, np.zeros_like(codes)], 1).per_map == 1
