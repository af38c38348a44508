"""What of an image a picture shows: the range of intensities, and colours."""

from __future__ import annotations

import numpy as np
import pytest

from bioseg_cli.figures.display_range import display_range, for_display, stretched

WHOLE = (slice(None), slice(None))


def test_one_bright_pixel_does_not_hide_the_rest() -> None:
    pixels = np.append(np.linspace(100, 200, 999), 60000)
    low, high = display_range(pixels)
    assert (low, high) == tuple(np.percentile(pixels, (0.5, 99.5))) and 100 < low < 101 and 199 < high < 200
    assert display_range(pixels, (0, 100)) == (100, 60000)


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_pixels_that_are_all_alike_are_black(value: int) -> None:
    pixels = np.full((4, 4), value, np.uint16)
    assert display_range(pixels) == (value, value + 1)
    assert not stretched(pixels, *display_range(pixels)).any()


def test_what_lies_outside_of_the_range_is_black_or_white() -> None:
    shown = stretched(np.array([0, 10, 15, 20, 255], np.uint8), 10, 20)
    assert shown.dtype == np.float32 and shown.tolist() == [0, 0, 0.5, 1, 1]


def test_large_integers_keep_their_digits() -> None:
    base = 2**31
    assert stretched(np.array([base, base + 1, base + 2], np.uint32), base, base + 2).tolist() == [0, 0.5, 1]


def test_padding_does_not_decide_on_the_range() -> None:
    image = np.zeros((1, 4, 8))
    image[0, :, :4] = np.linspace(0.5, 0.6, 4)
    of_source, of_all = for_display(image, (slice(0, 4), slice(0, 4))), for_display(image, WHOLE)
    assert of_source.shape == (4, 8, 3) and of_source[0, 1, 0] == pytest.approx(1 / 3, abs=0.02)
    assert of_all[0, 1, 0] > 0.8


def test_three_channels_are_colours_and_others_are_averaged() -> None:
    image = np.stack([np.full((2, 2), 0.0), np.full((2, 2), 0.5), np.full((2, 2), 1.0)])
    assert for_display(image, WHOLE)[0, 0].tolist() == pytest.approx([0, 0.5, 1], abs=0.01)
    assert for_display(image[[0, 2]], WHOLE)[0, 0].tolist() == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
