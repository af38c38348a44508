"""Contact sheets: where pictures, texts and colours go, and how large a picture is on one."""

from __future__ import annotations

import numpy as np
import pytest

from bioseg_cli.figures.contact_sheet import BLACK, SIDE, SWATCH, ContactSheet, fitted, plain_swatch, shown_size

WHITE = (255, 255, 255)


def test_a_picture_lies_where_it_was_put_and_the_rest_is_white() -> None:
    sheet = ContactSheet(40, 30)
    picture = np.random.default_rng(0).integers(0, 255, (10, 20, 3), np.uint8)
    sheet.paste(picture, 5, 7)
    pixels = sheet.pixels()
    assert pixels.shape == (30, 40, 3)
    np.testing.assert_array_equal(pixels[7:17, 5:25], picture)
    assert (pixels.sum() - picture.sum()) == 255 * 3 * (30 * 40 - 10 * 20)


def test_a_text_stays_within_its_width_and_shows_its_end() -> None:
    def written(text: str) -> np.ndarray:
        sheet = ContactSheet(300, 30)
        sheet.write(text, 10, 5, width=100)
        return sheet.pixels()

    short, long = written("cell"), written(f"cell{'-' * 60}42")
    inked = np.flatnonzero((long != WHITE).any(axis=(0, 2)))
    assert inked[0] >= 10 and 60 < inked[-1] - 10 < 100
    assert (short != WHITE).any() and not np.array_equal(long, written(f"cell{'-' * 60}43"))


def test_what_cannot_be_printed_is_escaped() -> None:
    def written(text: str) -> np.ndarray:
        sheet = ContactSheet(300, 30)
        sheet.write(text, 0, 0, width=300)
        return sheet.pixels()

    np.testing.assert_array_equal(written("a\x1b[31mb"), written("a\\x1b[31mb"))


def test_a_swatch_has_its_colour_within_a_frame() -> None:
    sheet = ContactSheet(40, 40)
    sheet.swatch(plain_swatch((10, 20, 30)), 4, 6)
    pixels = sheet.pixels()
    assert (pixels[7 : 6 + SWATCH, 5 : 4 + SWATCH] == (10, 20, 30)).all()
    for y, x in ((6, 4), (6, 4 + SWATCH), (6 + SWATCH, 4), (6 + SWATCH, 4 + SWATCH)):
        assert tuple(pixels[y, x]) == BLACK
    assert tuple(pixels[5, 3]) == WHITE


@pytest.mark.parametrize(
    ("size", "shown"),
    [((SIDE, 100), (SIDE, 100)), ((600, 400), (300, 200)), ((100, 70), (300, 210)), ((140, 7), (280, 14)),
     ((9000, 1), (300, 1))],
)  # fmt: skip
def test_a_small_picture_grows_by_a_whole_number_and_a_large_one_is_reduced(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert shown_size(*size) == shown
    assert fitted(np.zeros(size[::-1], np.uint8), smooth=False).shape == shown[::-1]


def test_labels_are_never_mixed_and_only_a_reduced_picture_is_smooth() -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 200], np.uint8), (700, 700))
    assert set(np.unique(fitted(labels, smooth=False))) == {0, 200}
    assert len(np.unique(fitted(labels, smooth=True))) > 2
    assert set(np.unique(fitted(labels[:100, :100], smooth=True))) == {0, 200}
