"""Objects are told apart where they touch, and otherwise left as they are."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.blobs import disc
from scipy import ndimage

from bioseg_cli.objects.instances import ObjectRule, ObjectRules, find_objects
from bioseg_cli.objects.labelled import connected_objects, numbered_objects, objects_of_classes

RULE = ObjectRule(smoothing=1, seed_height=1, smallest=16)


def touching(distance: float) -> np.ndarray:
    """Two discs of radius 10."""
    return disc(40, 60, 20, 20, 10) | disc(40, 60, 20, 20 + distance, 10)


def test_touching_discs_are_cut_between_their_centres() -> None:
    found = find_objects(touching(17).astype(np.uint8), [RULE])
    assert found.classes.tolist() == [1, 1]
    np.testing.assert_array_equal(found.numbers > 0, touching(17))
    left, right = (np.nonzero(found.numbers == number)[1] for number in (1, 2))
    assert left.max() <= 29 and right.min() >= 28


@pytest.mark.parametrize("distance", [0, 4])
def test_what_has_one_top_stays_whole(distance: float) -> None:
    assert find_objects(touching(distance).astype(np.uint8), [RULE]).classes.tolist() == [1]


def test_a_higher_seed_height_cuts_less() -> None:
    cut = [len(find_objects(touching(17).astype(np.uint8), [ObjectRule(seed_height=h)]).classes) for h in (1, 8)]
    assert cut == [2, 1]


def test_classes_have_their_own_objects_and_rules() -> None:
    codes = np.where(disc(40, 60, 20, 20, 10), 1, 2 * disc(40, 60, 20, 37, 10))
    codes[2, 2] = codes[37, 50] = 1
    found = find_objects(codes, [ObjectRule(smallest=1), ObjectRule(smallest=400)])
    assert found.classes.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(found.numbers > 0, codes == 1)
    assert find_objects(codes, [RULE, RULE]).classes.tolist() == [1, 2]


def test_specks_are_no_objects_and_no_cut_leaves_one() -> None:
    codes = disc(40, 60, 20, 20, 10) | disc(40, 60, 20, 33, 4)
    small = np.count_nonzero(disc(40, 60, 20, 33, 4))
    assert len(find_objects(codes, [ObjectRule(smallest=16, seed_height=0.5)]).classes) == 2
    whole = find_objects(codes, [ObjectRule(smallest=small + 1, seed_height=0.5)])
    np.testing.assert_array_equal(whole.numbers, codes)
    speck = np.zeros((9, 9), np.uint8)
    speck[4, 4] = 1
    assert find_objects(speck, [ObjectRule(smallest=1)]).classes.tolist() == [1]
    assert find_objects(speck, [ObjectRule(smallest=2)]).classes.tolist() == []


def test_the_edge_of_an_image_is_no_border_of_an_object() -> None:
    codes = touching(17)[20:].astype(np.uint8)  # both discs cut in halves
    assert len(find_objects(codes, [RULE]).classes) == 2
    assert find_objects(np.ones((30, 30), np.uint8), [RULE]).classes.tolist() == [1]
    assert find_objects(np.zeros((30, 30), np.uint8), [RULE]).classes.tolist() == []


def test_every_object_is_one_piece_within_its_class() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(120, 120)), 3)
    codes = (noise > 0).astype(np.uint8)
    found = find_objects(codes, [ObjectRule(smallest=20)])
    assert len(found.classes) > ndimage.label(codes, np.ones((3, 3)))[1]
    for number in range(1, len(found.classes) + 1):
        assert ndimage.label(found.numbers == number, np.ones((3, 3)))[1] == 1
        assert np.count_nonzero(found.numbers == number) >= 20


def test_rules_of_classes_beyond_those_learnt_are_the_default() -> None:
    assert ObjectRules(learnt=(RULE,)).of_classes(3) == [RULE, ObjectRule()]
    assert ObjectRules(learnt=(RULE, RULE)).of_classes(2) == [RULE]


def test_connected_objects_touch_by_corners() -> None:
    codes = np.array([[1, 0, 2], [0, 1, 2], [2, 0, 0]])
    found = connected_objects(codes, 3)
    np.testing.assert_array_equal(found.numbers, [[1, 0, 2], [0, 1, 2], [3, 0, 0]])
    assert found.classes.tolist() == [1, 2, 2]


def test_numbers_are_objects_even_in_pieces_unless_they_are_used_again() -> None:
    pieces = np.array([[5, 5, 0, 9, 3, 0], [0, 0, 0, 9, 3, 0], [5, 5, 0, 9, 3, 0]])
    assert numbered_objects(pieces).classes.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(numbered_objects(pieces).numbers[0], [2, 2, 0, 3, 1, 0])
    reused = np.array([[1, 1, 0, 1, 2, 0], [0, 0, 0, 0, 2, 0], [1, 2, 0, 1, 0, 2]])
    assert len(numbered_objects(reused).classes) == 6
    assert numbered_objects(np.full((3, 3), 4)).numbers.tolist() == np.ones((3, 3)).tolist()
    assert len(numbered_objects(np.zeros((3, 3), int)).classes) == 0


def test_numbered_objects_are_of_the_class_of_most_of_their_pixels() -> None:
    numbers, codes = np.zeros((6, 8), np.uint32), np.zeros((6, 8), np.uint8)
    numbers[1, 1:5], codes[1, 1:5] = 70, (1, 2, 2, 255)
    numbers[3, 1:3], codes[3, 1:3] = 9, 1
    numbers[5, 1:3] = 4  # of the background
    found = objects_of_classes(numbers, codes, 3)
    assert found.classes.tolist() == [1, 2]  # of 9 and of 70
    expected = np.zeros((6, 8), np.int32)
    expected[3, 1:3], expected[1, 1:4] = 1, 2
    np.testing.assert_array_equal(found.numbers, expected)
    nothing = objects_of_classes(np.zeros((2, 2), np.uint32), np.full((2, 2), 255), 2)
    assert nothing.classes.size == 0 and not nothing.numbers.any()


def line(*columns: int) -> np.ndarray:
    """Borders from top to bottom."""
    borders = np.zeros((40, 60), dtype=bool)
    borders[:, list(columns)] = True
    return borders


def test_borders_cut_what_has_one_top_and_belong_to_what_is_nearest() -> None:
    codes = touching(4).astype(np.uint8)
    found = find_objects(codes, [RULE], line(21, 22, 23))
    assert found.classes.tolist() == [1, 1]
    np.testing.assert_array_equal(found.numbers > 0, codes)
    assert set(found.numbers[:, :22][codes[:, :22] > 0]) == {1} and set(found.numbers[:, 23:][codes[:, 23:] > 0]) == {2}
    np.testing.assert_array_equal(find_objects(codes, [RULE], line(50)).numbers, codes)


def test_what_borders_leave_is_cut_by_the_rule_too() -> None:
    codes = touching(17).astype(np.uint8)
    assert len(find_objects(codes, [RULE], line(5)).classes) == 2


def test_what_is_no_wider_than_its_border_stays_an_object() -> None:
    codes = np.zeros((40, 60), np.uint8)
    codes[10:14, 10:20] = codes[20:30, 30:40] = 1
    found = find_objects(codes, [RULE], line(*range(10, 20)))
    assert found.classes.tolist() == [1, 1]
    np.testing.assert_array_equal(found.numbers > 0, codes)


def test_objects_of_every_class_lie_inside_borders() -> None:
    codes = touching(4).astype(np.uint8) * 2
    assert find_objects(codes, [RULE, RULE], line(21, 22, 23)).classes.tolist() == [2, 2]
