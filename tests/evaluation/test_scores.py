"""Scores of images whose numbers are worked out by hand, limits of intervals included.

Of two images a draw takes one twice or both, the first twice in a quarter of the draws: so the limits of a 95 %
interval are the values of one image alone and of the other alone.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, difference, known_limits, score_images

NAMES = ("background", "nucleus")
GOOD = [[80, 4], [6, 10]]
POOR = [[60, 20], [15, 5]]
GOOD_IOU = (80 / 90, 10 / 20)
POOR_IOU = (60 / 95, 5 / 40)


def counts_of(*matrices: list[list[int]], groups: str = "") -> ImageCounts:
    names = tuple(f"image{number}" for number in range(len(matrices)))
    return ImageCounts(names, tuple(groups) or names, np.array(matrices, dtype=np.int64))


def test_every_number_of_two_images() -> None:
    score = score_images(counts_of(GOOD, POOR), NAMES, Resampling())
    assert (score.classes, score.images, score.absent) == (NAMES, 2, ())
    assert score.confusion.tolist() == [[140, 24], [21, 15]]
    np.testing.assert_allclose(score.iou, [140 / 185, 15 / 60])
    np.testing.assert_allclose(score.dice, [280 / 325, 30 / 75])
    assert score.mean_iou == pytest.approx((140 / 185 + 15 / 60) / 2)
    assert score.mean_iou_foreground == pytest.approx(15 / 60)
    assert score.pixel_accuracy == pytest.approx(155 / 200)
    each = np.mean(GOOD_IOU), np.mean(POOR_IOU)
    assert score.image_wise_mean == pytest.approx(np.mean(each))
    assert score.image_wise_sd == pytest.approx(abs(each[0] - each[1]) / 2**0.5)


def test_the_limits_of_two_images_are_their_own_values() -> None:
    score = score_images(counts_of(GOOD, POOR), NAMES, Resampling())
    assert set(score.intervals) == {"mean_iou", "mean_iou_foreground", "pixel_accuracy", "image_wise"}
    assert score.intervals["mean_iou"] == pytest.approx((np.mean(POOR_IOU), np.mean(GOOD_IOU)))
    assert score.intervals["mean_iou_foreground"] == pytest.approx((5 / 40, 10 / 20))
    assert score.intervals["pixel_accuracy"] == pytest.approx((0.65, 0.9))
    assert score.intervals["image_wise"] == pytest.approx((np.mean(POOR_IOU), np.mean(GOOD_IOU)))
    np.testing.assert_allclose(score.iou_intervals, list(zip(POOR_IOU, GOOD_IOU, strict=True)))


def test_groups_are_drawn_whole_where_they_are_to_be() -> None:
    images = counts_of(*[GOOD] * 8, *[POOR] * 8, groups="a" * 8 + "b" * 8)
    whole = score_images(images, NAMES, Resampling(by_group=True))
    assert whole.intervals["pixel_accuracy"] == pytest.approx((0.65, 0.9))
    assert whole.intervals["image_wise"] == pytest.approx((np.mean(POOR_IOU), np.mean(GOOD_IOU)))
    # No draw of sixteen images is likely to be of one kind.
    for name, (low, high) in score_images(images, NAMES, Resampling()).intervals.items():
        assert whole.intervals[name][0] < low < high < whole.intervals[name][1]
    one_group = counts_of(GOOD, POOR, groups="aa")
    assert np.isnan([*score_images(one_group, NAMES, Resampling(by_group=True)).intervals.values()]).all()
    assert not np.isnan([*score_images(one_group, NAMES, Resampling()).intervals.values()]).any()


def test_draws_and_seed_are_those_asked_for_and_every_number_sees_the_same_draws() -> None:
    image_wise = {0.65: np.mean(POOR_IOU), 0.775: np.mean([*POOR_IOU, *GOOD_IOU]), 0.9: np.mean(GOOD_IOU)}
    seen = set()
    for seed in range(12):
        score = score_images(counts_of(GOOD, POOR), NAMES, Resampling(draws=1, seed=seed))
        assert all(low == high for low, high in score.intervals.values())
        accuracy = round(score.intervals["pixel_accuracy"][0], 6)
        assert score.intervals["image_wise"][0] == pytest.approx(image_wise[accuracy])
        seen.add(accuracy)
    assert seen == set(image_wise)


def test_an_image_without_a_counted_pixel_changes_no_score() -> None:
    with_it = score_images(counts_of(GOOD, [[0, 0], [0, 0]], POOR), NAMES, Resampling())
    without = score_images(counts_of(GOOD, POOR), NAMES, Resampling())
    assert with_it.images == 3
    assert with_it.image_wise_mean == without.image_wise_mean
    assert with_it.image_wise_sd == without.image_wise_sd
    assert with_it.mean_iou == without.mean_iou


def test_one_image_has_a_score_and_no_spread() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = score_images(counts_of(GOOD), NAMES, Resampling())
    assert score.image_wise_mean == pytest.approx(np.mean(GOOD_IOU))
    assert np.isnan(score.image_wise_sd)
    document = score.record().model_dump(mode="json")
    assert document["image_wise"] == {"mean": pytest.approx(np.mean(GOOD_IOU)), "sd": None}
    assert document["intervals"]["image_wise"] == [None, None]


def test_images_without_any_counted_pixel_are_refused() -> None:
    with pytest.raises(DataError, match="no labelled pixel"):
        score_images(counts_of([[0, 0], [0, 0]]), NAMES, Resampling())
    one_pixel = score_images(counts_of([[0, 0], [0, 1]]), NAMES, Resampling())
    assert (one_pixel.mean_iou, one_pixel.absent) == (1, ("background",))


def test_the_document_has_the_documented_keys_and_plain_numbers() -> None:
    score = score_images(counts_of(GOOD, POOR), NAMES, Resampling())
    document = json.loads(json.dumps(score.record().model_dump()))
    assert document == {
        "mean_iou": pytest.approx((140 / 185 + 15 / 60) / 2),
        "mean_iou_foreground": pytest.approx(0.25),
        "iou": {"background": pytest.approx(140 / 185), "nucleus": pytest.approx(0.25)},
        "dice": {"background": pytest.approx(280 / 325), "nucleus": pytest.approx(0.4)},
        "pixel_accuracy": pytest.approx(0.775),
        "image_wise": {"mean": pytest.approx(score.image_wise_mean), "sd": pytest.approx(score.image_wise_sd)},
        "intervals": {
            "mean_iou": pytest.approx([np.mean(POOR_IOU), np.mean(GOOD_IOU)]),
            "mean_iou_foreground": pytest.approx([0.125, 0.5]),
            "pixel_accuracy": pytest.approx([0.65, 0.9]),
            "image_wise": pytest.approx([np.mean(POOR_IOU), np.mean(GOOD_IOU)]),
            "iou": {"background": pytest.approx([60 / 95, 80 / 90]), "nucleus": pytest.approx([0.125, 0.5])},
        },
        "images": 2,
        "confusion": [[140, 24], [21, 15]],
    }


@pytest.mark.parametrize(
    "changed",
    [{"classes": ("background",)}, {"iou": np.ones(3)}, {"dice": np.ones(3)}, {"iou_intervals": ((0.0, 1.0),)}],
)
def test_every_class_has_every_number_or_there_is_no_document(changed: dict[str, object]) -> None:
    score = score_images(counts_of(GOOD, POOR), NAMES, Resampling())
    with pytest.raises(ValueError, match="zip"):
        replace(score, **changed).record()


def test_a_difference_is_paired_image_by_image() -> None:
    # The run is better on one image and as good on the other: so its gain lies between nothing and the first's.
    run, control = counts_of(GOOD, POOR), counts_of(POOR, POOR)
    gain = difference(run, control, Resampling())
    assert gain.mean_iou == pytest.approx((140 / 185 + 15 / 60) / 2 - np.mean(POOR_IOU))
    assert gain.limits == pytest.approx((0, np.mean(GOOD_IOU) - np.mean(POOR_IOU)))
    assert gain.record().model_dump() == {"difference": gain.mean_iou, "interval": gain.limits}
    back = difference(control, run, Resampling())
    assert (back.mean_iou, *back.limits) == pytest.approx((-gain.mean_iou, -gain.limits[1], -gain.limits[0]))


def test_a_difference_is_drawn_like_a_score() -> None:
    run, control = counts_of(GOOD, GOOD, POOR, POOR, groups="aabb"), counts_of(*[POOR] * 4, groups="aabb")
    whole = difference(run, control, Resampling(by_group=True))
    assert whole.limits == pytest.approx((0, np.mean(GOOD_IOU) - np.mean(POOR_IOU)))
    once = [difference(run, control, Resampling(draws=1, seed=seed)).limits for seed in range(12)]
    assert all(low == high for low, high in once)
    assert len(set(once)) > 2
    one_group = [ImageCounts(images.names, ("a",) * 4, images.counts) for images in (run, control)]
    assert np.isnan(difference(*one_group, Resampling(by_group=True)).limits).all()
    assert not np.isnan(difference(*one_group, Resampling()).limits).any()


def test_limits_without_a_value_are_null() -> None:
    assert known_limits((float("nan"), 0.5)) == (None, 0.5)
