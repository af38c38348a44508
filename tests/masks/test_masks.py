from __future__ import annotations

import numpy as np
import pytest

from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.masks.reading import map_values
from bioseg_cli.masks.survey import MaskSurvey

SIDE = 40


def read(*masks: np.ndarray, kind=None, names=()):
    survey = MaskSurvey()
    for mask in masks:
        survey.add(mask)
    return survey.reading(kind, names)


def squares(values, dtype=np.uint8) -> np.ndarray:
    """One square of 3 x 3 pixels for each value."""
    mask = np.zeros((SIDE, SIDE), dtype=dtype)
    for place, value in enumerate(values):
        row, column = divmod(place, 8)
        mask[5 * row : 5 * row + 3, 5 * column : 5 * column + 3] = value
    return mask


def coloured(mask: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    picture = np.zeros((*mask.shape, 3), dtype=np.uint8)
    for value, colour in colours.items():
        picture[mask == value] = colour
    return picture


@pytest.mark.parametrize("value", [1, 255, 65535])
def test_one_value_beside_0_is_binary(value) -> None:
    mask = squares([value] * 5, np.uint16)
    reading = read(mask, np.zeros_like(mask))
    assert reading.kind == "binary"
    np.testing.assert_array_equal(reading.labels(mask), (mask > 0).astype(np.uint8))
    assert f"value {value} is 'foreground'" in reading.sentence
    assert "--masks-are instances" in reading.sentence


def test_a_first_mask_with_one_cell_does_not_decide() -> None:
    single, many = squares([1]), squares(range(1, 13))
    assert read(single, many).kind == "instances"
    np.testing.assert_array_equal(read(single, many).labels(many), (many > 0).astype(np.uint8))


def test_values_with_many_regions_are_classes() -> None:
    mask = squares([1, 2, 3] * 6)
    reading = read(mask)
    assert reading.kind == "classes"
    assert [info.name for info in reading.classes] == ["background", "class 1", "class 2", "class 3"]
    np.testing.assert_array_equal(reading.labels(mask), mask)


def test_class_values_with_gaps_become_dense_and_it_is_said() -> None:
    mask = squares([64, 128] * 6)
    reading = read(mask, names=("outside", "mitochondrion", "membrane"))
    np.testing.assert_array_equal(reading.labels(mask), mask // 64)
    assert "64 is 'mitochondrion', 128 is 'membrane'" in reading.sentence


def test_a_named_class_may_be_absent() -> None:
    mask = squares([1, 3] * 6)
    reading = read(mask, names=("background", "a", "b", "c"))
    np.testing.assert_array_equal(reading.labels(mask), mask)


@pytest.mark.parametrize(("dtype", "ignored"), [(np.uint8, 255), (np.uint16, 255), (np.uint16, 65535)])
def test_the_ignore_value_beside_classes(dtype, ignored) -> None:
    mask = squares([1, 2, ignored] * 6, dtype)
    reading = read(mask)
    assert len(reading.classes) == 3
    np.testing.assert_array_equal(reading.labels(mask), np.where(mask == ignored, 255, mask))
    assert f"{ignored} is ignored" in reading.sentence


def test_255_beside_greys_is_a_class() -> None:
    assert len(read(squares([128, 255] * 6)).classes) == 3


def test_few_values_in_one_region_each_are_asked_about() -> None:
    with pytest.raises(DataError, match="numbered objects, or classes") as caught:
        read(squares([1, 2, 3]))
    assert "--masks-are instances" in str(caught.value)
    assert "--masks-are classes" in str(caught.value)


def test_the_user_decides() -> None:
    mask = squares([1, 2, 3])
    assert len(read(mask, kind="classes").classes) == 4
    instances = read(mask, kind="instances", names=("glass", "cell"))
    assert [info.name for info in instances.classes] == ["glass", "cell"]
    assert "recognised" not in instances.sentence


@pytest.mark.parametrize("kind", [None, "binary"])
def test_a_picture_is_no_mask(kind) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    with pytest.raises(DataError, match="scattered like a picture's") as caught:
        read(squares([1] * 5), picture, kind=kind)
    assert "apply a threshold" in str(caught.value)


def test_colours_are_classes_shown_in_their_colour() -> None:
    codes = squares([1, 2] * 6)
    picture = coloured(codes, {1: (255, 0, 0), 2: (0, 200, 0)})
    reading = read(picture)
    assert reading.kind == "colours"
    assert {info.name: info.colour for info in reading.classes} == {
        "background": (0, 0, 0),
        "#00c800": (0, 200, 0),
        "#ff0000": (255, 0, 0),
    }
    np.testing.assert_array_equal(reading.labels(picture), np.array([0, 2, 1])[codes])


def test_a_grey_mask_among_coloured_ones() -> None:
    picture = coloured(squares([1, 2] * 6), {1: (255, 0, 0), 2: (255, 255, 255)})
    white_only = squares([255] * 4)
    reading = read(picture, white_only)
    white = [info.colour for info in reading.classes].index((255, 255, 255))
    np.testing.assert_array_equal(reading.labels(white_only), np.where(white_only, white, 0))


def test_one_colour_is_binary() -> None:
    picture = coloured(squares([1] * 6), {1: (255, 0, 0)})
    reading = read(picture)
    assert reading.kind == "binary"
    assert reading.labels(picture).sum() == 54


def test_kinds_that_do_not_fit() -> None:
    grey, picture = squares([1, 2] * 6), coloured(squares([1, 2] * 6), {1: (9, 0, 0), 2: (0, 9, 0)})
    with pytest.raises(DataError, match="no colours"):
        read(grey, kind="colours")
    with pytest.raises(DataError, match="coloured"):
        read(picture, kind="classes")


def test_wrong_number_of_names() -> None:
    with pytest.raises(UsageError, match="gives 3 names, the masks hold two classes"):
        read(squares([255] * 5), names=("a", "b", "c"))
    with pytest.raises(UsageError, match="gives 2 names, the masks hold values 0, 1, 2"):
        read(squares([1, 2] * 6), names=("a", "b"))


def test_masks_without_any_object() -> None:
    with pytest.raises(DataError, match="All masks are empty"):
        read(squares([]), squares([]), kind="binary")


def test_negative_values() -> None:
    with pytest.raises(DataError, match="negative"):
        read(squares([-1], np.int16))


def test_more_classes_than_a_byte_holds() -> None:
    mask = np.arange(300, dtype=np.uint16).reshape(10, 30)
    reading = read(mask, kind="classes")
    assert reading.labels(mask).dtype == np.uint16
    np.testing.assert_array_equal(reading.labels(mask), mask)


def test_unlisted_values_are_refused() -> None:
    with pytest.raises(DataError, match="the value 7"):
        map_values(np.array([0, 7]), {0: 0, 1: 1})
