from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioseg_cli.errors import DataError
from bioseg_cli.prepare.splits import GAP, split_blocks, split_groups, split_images, straddling_groups

SHARES = {"val_share": 0.2, "test_share": 0.2}


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    val_share=st.floats(0.01, 0.6),
    test_share=st.floats(0, 0.39),
    seed=st.integers(0, 50),
)
def test_groups_stay_whole_and_both_needed_splits_are_filled(sizes, val_share, test_share, seed) -> None:
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    splits = split_groups(groups, [True] * len(groups), val_share=val_share, test_share=test_share, seed=seed)
    assert straddling_groups(groups, splits) == []
    assert {"train", "val"} <= set(splits)


def test_single_images_are_split_exactly_by_the_shares() -> None:
    splits = split_images([True] * 50, **SHARES, seed=3)
    assert Counter(splits) == {"train": 30, "val": 10, "test": 10}


def test_the_seed_decides() -> None:
    first, again, other = (split_images([True] * 50, **SHARES, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_unequal_groups_come_near_the_shares() -> None:
    sizes = {"a": 80, "b": 10, "c": 10}
    groups = [name for name, size in sizes.items() for _ in range(size)]
    splits = split_groups(groups, [True] * 100, val_share=0.1, test_share=0.1, seed=0)
    assert Counter(splits) == {"train": 80, "val": 10, "test": 10}


def test_equal_groups_fill_every_split() -> None:
    groups = [name for name in "abcd" for _ in range(3)]
    splits = split_groups(groups, [True] * 12, **SHARES, seed=0)
    assert Counter(splits) == {"train": 6, "val": 3, "test": 3}


def test_unlabelled_images_train_unless_their_group_is_scored() -> None:
    groups = [f"g{i}" for i in range(10)] + ["g0", "alone"]
    labelled = [True] * 10 + [False, False]
    splits = split_groups(groups, labelled, **SHARES, seed=0)
    assert splits[10] == splits[0]
    assert splits[11] == "train"
    scored = [has_mask for has_mask, split in zip(labelled[:10], splits[:10], strict=True) if split != "train"]
    assert len(scored) == 4


def test_without_any_label_nothing_is_kept_for_the_test() -> None:
    splits = split_images([False] * 10, **SHARES, seed=0)
    assert Counter(splits) == {"train": 8, "val": 2}


@pytest.mark.parametrize(
    ("groups", "labelled", "fix"),
    [
        (["video"] * 6, [True] * 6, "--split-by random"),
        (["a", "b"], [True, False], "Label at least two images"),
    ],
)
def test_too_few_groups_with_labels(groups, labelled, fix) -> None:
    with pytest.raises(DataError, match="training and validation need one each") as caught:
        split_groups(groups, labelled, **SHARES, seed=0)
    assert fix in str(caught.value)


def test_a_group_on_both_sides_is_found() -> None:
    assert straddling_groups(["a", "a", "b", "b"], ["train", "test", "val", "val"]) == ["a"]


def test_blocks_keep_a_gap() -> None:
    splits = split_blocks([True] * 20, val_share=0.2, test_share=0.1, gap=2)
    assert splits == ["train"] * 12 + [GAP] * 2 + ["val"] * 2 + [GAP] * 2 + ["test"] * 2


@pytest.mark.parametrize(("test_share", "tested"), [(0.0, 0), (0.1, 2)])
def test_no_block_validates_where_none_is_wanted(test_share: float, tested: int) -> None:
    splits = split_blocks([True] * 20, val_share=0.0, test_share=test_share, gap=0)
    assert splits == ["train"] * (20 - tested) + ["test"] * tested


def test_blocks_are_cut_by_the_labelled_images() -> None:
    labelled = [i % 4 == 0 for i in range(20)]
    splits = split_blocks(labelled, val_share=0.2, test_share=0.0, gap=1)
    assert splits == ["train"] * 15 + [GAP] + ["val"] * 4
    assert sum(has_mask and split == "val" for has_mask, split in zip(labelled, splits, strict=True)) == 1
