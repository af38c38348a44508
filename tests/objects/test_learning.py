"""Rules learnt from labelled objects: touching ones of their kind are cut, and single ones are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import write_discs
from helpers.blobs import disc

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.objects.instances import ObjectRule, ObjectRules, find_objects
from bioseg_cli.objects.learning import (
    learnt_rule,
    pushed_together,
    rule_of_numbered,
    surely_single,
    whole_clumps,
    whole_objects,
)
from bioseg_cli.objects.of_run import rules_of_run
from bioseg_cli.runs.directory import RunDirectory

Bioseg = Callable[..., Result]


def dumbbells(count: int) -> list[np.ndarray]:
    """Single objects with two lobes of radius 9, the neck as deep as a shallow touch."""
    return [disc(30, 46, 15, 14, 9) | disc(30, 46, 15, 14 + 14 + number % 3, 9) for number in range(count)]


def discs_of(*radii: float) -> list[np.ndarray]:
    return [disc(40, 40, 20, 20, radius) for radius in radii]


def test_whole_objects_are_cut_by_no_edge_and_no_unlabelled_pixel() -> None:
    codes = np.zeros((20, 30), np.uint8)
    codes[3:6, 3:6] = 1  # whole
    codes[0:3, 10:12] = 1  # at the edge
    codes[10:13, 3:6] = 1
    codes[13, 6] = 255  # touches it by a corner
    codes[10:13, 15:18] = 2
    codes[10:13, 22:25] = 1
    codes[10:13, 26] = 255  # one pixel away
    found = whole_objects(codes, 1, 255)
    assert [mask.shape for mask in found] == [(5, 5), (5, 5)]
    assert [np.count_nonzero(mask) for mask in found] == [9, 9]
    assert len(whole_objects(codes, 2, 255)) == 1


def test_two_objects_are_pushed_together_until_they_overlap_a_little() -> None:
    first, second = pushed_together(disc(30, 30, 15, 15, 10), disc(20, 20, 10, 10, 6))
    assert np.count_nonzero(first) == np.count_nonzero(disc(30, 30, 15, 15, 10))
    assert np.count_nonzero(second) == np.count_nonzero(disc(20, 20, 10, 10, 6))
    shared = np.nonzero(first & second)
    assert 0 < len(shared[0]) < 0.3 * np.count_nonzero(second)
    assert abs(np.mean(np.nonzero(first)[0]) - np.mean(np.nonzero(second)[0])) <= 1
    hook = np.ones((20, 9), dtype=bool)
    hook[1:19, :8] = False
    both = pushed_together(disc(20, 20, 10, 10, 4), hook)
    assert np.count_nonzero(both[1]) == np.count_nonzero(hook)


def test_a_rule_cuts_what_touches_and_leaves_the_single_objects_of_its_kind() -> None:
    rule = learnt_rule(discs_of(8, 9, 10, 11, 12, 9, 10))
    assert rule.learnt_from == 7
    pair = disc(40, 60, 20, 20, 10) | disc(40, 60, 20, 37, 10)
    assert len(find_objects(pair, [rule]).classes) == 2
    lobed = learnt_rule(dumbbells(8))
    for single in dumbbells(3):
        assert len(find_objects(single, [lobed]).classes) == 1
        assert len(find_objects(single, [rule]).classes) == 2


@pytest.mark.slow
def test_the_smallest_object_is_an_eighth_of_the_small_ones_and_specks_do_not_decide() -> None:
    rule = learnt_rule([*discs_of(*[10] * 40), *discs_of(0)])
    assert rule.smallest == round(np.count_nonzero(disc(40, 40, 20, 20, 10)) / 8)


def test_touching_objects_in_the_labels_do_not_teach_to_leave_them_together() -> None:
    singles, clumps = discs_of(*[10] * 8), [touching(10) for _ in range(4)]
    assert len(surely_single([*singles, *clumps])) == len(singles)
    rule = learnt_rule([*singles, *clumps])
    assert all(len(find_objects(clump.astype(np.uint8), [rule]).classes) == 2 for clump in clumps)
    assert all(len(find_objects(single.astype(np.uint8), [rule]).classes) == 1 for single in singles)
    # Where most are not solid, objects of the class have such shapes.
    assert len(surely_single([*singles[:2], *clumps])) == 6


def touching(radius: int) -> np.ndarray:
    """Two discs side by side that touch in a narrow neck."""
    side = 2 * radius + 8
    left = disc(side, 2 * side, side // 2, side // 2, radius)
    return left | np.roll(left, 2 * radius - 1, axis=1)


def test_too_few_objects_teach_nothing() -> None:
    assert learnt_rule(discs_of(8, 9, 10, 11)) == ObjectRule()
    assert learnt_rule(discs_of(8, 9, 10, 11, 12)) != ObjectRule()


@pytest.mark.slow
def test_a_run_learns_from_its_own_labelled_images_alone(bioseg: Bioseg, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs.h5")
    result = bioseg("train-uda", data, "--run", tmp_path / "run", "--labels", 6, "--width", 2, "--steps", 1, "--quiet")
    assert result.exit_code == 0, result.output
    rules, said = rules_of_run(tmp_path / "run")
    with Dataset(data) as dataset:
        masks = [
            mask
            for index in dataset.label_subset(count=6)
            for mask in whole_objects(dataset.labels(int(index)), 1, dataset.ignore)
        ]
    assert rules.learnt == (learnt_rule(masks),) and len(masks) >= 5
    assert said == f"Objects are told apart: 'cell' as {len(masks)} labelled objects"


def test_without_its_data_a_run_has_the_default_rule(disc_run: Path, tmp_path: Path) -> None:
    model = disc_run / "checkpoints" / "last.safetensors"
    assert rules_of_run(model)[0] == ObjectRules() and "default rule" in rules_of_run(model)[1]
    moved = tmp_path / "run"
    moved.mkdir()
    text = (disc_run / "manifest.yaml").read_text()
    data = RunDirectory.open(disc_run).manifest.data.path
    (moved / "manifest.yaml").write_text(text.replace(data, str(tmp_path / "gone.h5")))
    rules, said = rules_of_run(moved)
    assert rules == ObjectRules() and said.endswith("gone.h5 cannot be read")
    write_discs(tmp_path / "gone.h5", wrong=(0,))
    assert rules_of_run(moved)[1].endswith("gone.h5 has changed")


def clumps(count: int, *, one: bool) -> list[np.ndarray]:
    """Two discs that touch by a shallow neck, numbered as one object or as two."""
    shapes = [(disc(30, 50, 15, 14, 9), disc(30, 50, 15, 29 + number % 3, 9)) for number in range(count)]
    return [np.where(first, 1, np.where(second, 1 if one else 2, 0)) for first, second in shapes]


def test_numbered_objects_say_themselves_whether_a_neck_is_a_border() -> None:
    apart, together = rule_of_numbered(clumps(6, one=False)), rule_of_numbered(clumps(6, one=True))
    assert apart.learnt_from == 12 and together.learnt_from == 6
    for clump in clumps(6, one=False):
        assert find_objects(clump > 0, [apart]).numbers.max() == 2
        assert find_objects(clump > 0, [together]).numbers.max() == 1
    assert rule_of_numbered(clumps(2, one=False)) == ObjectRule()  # four objects are too few
    assert rule_of_numbered([]) == ObjectRule()


def test_the_smallest_object_is_learnt_from_numbers_not_from_clumps() -> None:
    area = np.count_nonzero(clumps(1, one=False)[0] == 2)
    rule = rule_of_numbered(clumps(6, one=False))
    assert rule.smallest < area / 4 < rule_of_numbered(clumps(6, one=True)).smallest * 4


def test_whole_clumps_have_the_numbers_of_their_own_component_alone() -> None:
    codes = np.zeros((20, 20), np.uint8)
    codes[3:6, 3:9] = 1
    codes[7, 10] = 1  # within the window of the other with its margin, but no part of it
    codes[0, 15:] = 1  # at the edge
    numbers = np.arange(400).reshape(20, 20) * (codes > 0)
    first, second = whole_clumps(codes, 1, 255, numbers)
    np.testing.assert_array_equal(first[1:-1, 1:-1], numbers[3:6, 3:9])
    assert np.count_nonzero(first) == 18 and np.unique(second).tolist() == [0, 150]


@pytest.mark.slow
def test_a_run_learns_from_the_numbers_that_its_data_set_holds(bioseg: Bioseg, tmp_path: Path) -> None:
    data = tmp_path / "nuclei.h5"
    made = bioseg("prepare", "demo", "--kind", "nuclei", "--images", 6, "--size", 192, "--out", data, "--quiet")
    assert made.exit_code == 0, made.output
    run = bioseg("train-uda", data, "--run", tmp_path / "run", "--labels", 2, "--width", 2, "--steps", 1, "--quiet")
    assert run.exit_code == 0, run.output
    with Dataset(data) as dataset:
        shown = [
            clump
            for index in map(int, dataset.label_subset(count=2))
            for clump in whole_clumps(dataset.labels(index), 1, dataset.ignore, dataset.objects(index))
        ]
    assert rules_of_run(tmp_path / "run")[0].learnt == (rule_of_numbered(shown),)
    assert max(len(np.unique(clump)) for clump in shown) > 2  # some of them touch
