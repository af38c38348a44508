"""Which pixels strokes and bitmaps cover; the tests of each format show those of outlines."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from helpers.drawn import mask

from bioseg_cli.annotations.geometry import stroke
from bioseg_cli.annotations.shape import Area, Bitmap, Shape

ROWS, COLUMNS = np.mgrid[:40, :50] + 0.5


def pixels(area: Area) -> np.ndarray:
    return mask(Shape("shape", None, area), 40, 50)


@pytest.mark.parametrize("seed", range(6))
def test_a_stroke_covers_the_centres_within_half_its_width(seed) -> None:
    random = np.random.default_rng(seed)
    for width in (0.7, 1, 3.3, 12):
        line = random.random((4, 2)) * [90, 70] - 20
        distance = shapely.distance(shapely.LineString(line), shapely.points(COLUMNS, ROWS))
        np.testing.assert_array_equal(pixels(stroke(line, width)), distance <= width / 2)


def test_a_stroke_between_pixels_is_one_pixel_wide_and_as_its_neighbours_to_the_left_and_above() -> None:
    upright, level = pixels(stroke([(5, -3), (5, 60)])), pixels(stroke([(-3, 8), (60, 8)]))
    assert np.flatnonzero(upright.any(axis=0)).tolist() == [4]
    assert np.flatnonzero(level.any(axis=1)).tolist() == [7]
    assert upright.sum() == 40
    assert level.sum() == 50


def test_a_stroke_that_does_not_move_is_a_dot() -> None:
    dot = stroke([(20.5, 10.5), (20.5, 10.5)], 7)
    np.testing.assert_array_equal(pixels(dot), (COLUMNS - 20.5) ** 2 + (ROWS - 10.5) ** 2 <= 3.5**2)
    np.testing.assert_array_equal(pixels(stroke([(20.5, 10.5)], 7)), pixels(dot))


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_a_stroke_without_a_width_is_none(width) -> None:
    with pytest.raises(ValueError, match="pixels wide"):
        stroke([(1, 1), (2, 2)], width)


@pytest.mark.parametrize(("row", "column"), [(-3, 5), (5, -3), (38, 10), (10, 48), (-2, 46)])
def test_a_bitmap_is_cut_off_at_the_borders_of_the_image(row, column) -> None:
    inside = np.random.default_rng(0).random((6, 7)) > 0.4
    whole = np.zeros((60, 70), dtype=bool)
    whole[row + 10 : row + 16, column + 10 : column + 17] = inside
    np.testing.assert_array_equal(pixels(Bitmap.of(inside, row, column)), whole[10:50, 10:60])
