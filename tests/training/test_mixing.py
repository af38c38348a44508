"""Boxes that are pasted from one image into another: where they lie, and what goes with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.training.mixing import Example, Mixing, draw_mixing


def example(number: float, batch: int = 2) -> Example:
    """Images of which every number says where it is from."""
    places = torch.arange(batch * 6, dtype=torch.float32).reshape(batch, 1, 2, 3) / 100 + number
    return Example(places, torch.cat([places + 0.5, -places], dim=1), torch.full_like(places, number))


def parts(example: Example) -> tuple[torch.Tensor, ...]:
    return example.images, example.target, example.weight


LEFT = torch.tensor([[[[True, False, False], [True, False, False]]], [[[False] * 3] * 2]])
"""Of the first image the left column, of the second nothing."""


def test_cutmix_takes_image_target_and_weight_from_the_next_view() -> None:
    views = example(1)
    views.weight[1] = 0.25
    found = Mixing("cutmix", LEFT).of(views, example(7))
    for mixed, whole in zip(parts(found), parts(views), strict=True):
        assert torch.equal(mixed[0, :, :, :1], whole[1, :, :, :1])
        assert torch.equal(mixed[0, :, :, 1:], whole[0, :, :, 1:])
        assert torch.equal(mixed[1], whole[1])
    # For the last one the next is the first.
    found = Mixing("cutmix", LEFT.flip(0)).of(views, example(7))
    assert torch.equal(found.images[1, :, :, :1], views.images[0, :, :, :1])


def test_labelled_boxes_go_both_ways_and_pseudo_labels_count_half() -> None:
    views, labelled = example(1), example(3)
    found = Mixing("labelled", LEFT).of(views, labelled)
    into_views, into_labelled = (tuple(part[half] for part in parts(found)) for half in (slice(2), slice(2, 4)))
    halved = (views.images, views.target, 0.5 * views.weight)
    for mixed, own, other in zip(into_views, halved, parts(labelled), strict=True):
        assert torch.equal(mixed[0, :, :, :1], other[0, :, :, :1])
        assert torch.equal(mixed[0, :, :, 1:], own[0, :, :, 1:])
        assert torch.equal(mixed[1], own[1])
    for mixed, own, other in zip(into_labelled, parts(labelled), halved, strict=True):
        assert torch.equal(mixed[0, :, :, :1], other[0, :, :, :1])
        assert torch.equal(mixed[0, :, :, 1:], own[0, :, :, 1:])
        assert torch.equal(mixed[1], own[1])
    assert sorted(set(found.weight.flatten().tolist())) == [0.5, 3.0]


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_a_label_as_a_target_is_certain_and_an_ignored_one_counts_nowhere(temperature: float) -> None:
    labels = torch.tensor([[[0, 2, IGNORE]]])
    found = Example.of_labels(torch.rand(1, 1, 1, 3), labels, 3)
    certain = (found.target / temperature).softmax(1)[0, :, 0]
    assert certain[:, :2].T.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found.weight.flatten().tolist() == [1, 1, 0]


@pytest.mark.parametrize(("height", "width"), [(60, 90), (48, 48), (1, 7)])
def test_labelled_boxes_are_two_thirds_high_and_wide_anywhere_inside(height: int, width: int) -> None:
    boxes = draw_mixing("labelled", 400, height, width, np.random.default_rng(0)).boxes
    assert boxes.shape == (400, 1, height, width) and boxes.dtype == torch.bool
    rows, columns = boxes.any(3)[:, 0], boxes.any(2)[:, 0]
    assert (rows.sum(1) == max(1, round(2 / 3 * height))).all() and (columns.sum(1) == round(2 / 3 * width)).all()
    assert torch.equal(boxes[:, 0], rows[:, :, None] & columns[:, None, :])
    # Each edge is inside a box now and then, and outside of others.
    for edges in (rows[:, [0, -1]] if height > 1 else columns[:, [0, -1]], columns[:, [0, -1]]):
        assert edges.any(0).all() and not edges.all(0).any()


def test_cutmix_boxes_have_the_published_areas_and_aspects_and_half_of_the_views_have_one() -> None:
    side, drawn = 300, 400
    boxes = draw_mixing("cutmix", drawn, side, side, np.random.default_rng(1)).boxes
    high, wide = (boxes.any(axis)[:, 0].sum(1).float() for axis in (3, 2))
    there = high > 0
    assert there.float().mean() == pytest.approx(0.5, abs=0.08)
    assert torch.equal(boxes[:, 0].sum((1, 2)).float(), high * wide)
    areas, aspects = (high * wide)[there] / side**2, high[there] / wide[there]
    assert 0.019 < areas.min() < 0.04 and 0.38 < areas.max() < 0.404
    assert areas.mean() == pytest.approx(0.21, abs=0.025)
    assert 0.29 < aspects.min() < 0.4 and 2.5 < aspects.max() < 3.4
    # As often high as wide.
    assert float(aspects.log().mean()) == pytest.approx(0, abs=0.12)


def test_boxes_are_drawn_from_the_generator_alone() -> None:
    for kind in ("cutmix", "labelled"):
        first, again, other = (draw_mixing(kind, 4, 30, 30, np.random.default_rng(seed)).boxes for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
