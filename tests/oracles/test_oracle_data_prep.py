"""Data preparation against numbers from independent implementations (o9)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.masks.reading import map_values
from bioseg_cli.metrics.matching import Count, object_counts, seg
from bioseg_cli.metrics.objects import inside_field, seg_score, seg_scores
from bioseg_cli.objects.labelled import connected_objects, numbered_objects
from bioseg_cli.prepare.recipes.fluohoechst import drawn_nuclei
from bioseg_cli.prepare.statistics import RangeOfChannels


@pytest.fixture(scope="module")
def expected(oracles: Path) -> dict[str, np.ndarray]:
    with np.load(oracles / "o9_data_prep.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("method", "limits", "applied"),
    [
        ("minmax", "norm/minmax_lo_hi", "norm/test_minmax_clip"),
        ("percentile", "norm/pct_0.1_99.9", "norm/test_pct_clip"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
def test_normalisation(expected, method, limits, applied, dtype) -> None:
    train, test = expected["norm/train"].astype(dtype), expected["norm/test"].astype(dtype)
    ranges = RangeOfChannels(method, dtype, channels=1, pixels=train.size)
    for image in train:
        ranges.add(image[None])
    found = ranges.normalisation()
    np.testing.assert_allclose([found.low[0], found.high[0]], expected[limits], rtol=1e-12)
    np.testing.assert_allclose(found.apply(test[:, None])[:, 0], expected[applied], atol=1e-6)


def test_bbbc039_mask_file(expected, oracles: Path) -> None:
    mask = read_mask(oracles / "o9_bbbc_like_mask.png")
    np.testing.assert_array_equal(drawn_nuclei(mask).labels, expected["bbbc/semantic"])
    assert len(numbered_objects(mask[..., 0]).classes) == 6
    assert len(connected_objects(drawn_nuclei(mask).labels, 2).classes) == 5
    # Taking luminance loses red value 1: the masks must tell the two readings apart.
    assert (expected["bbbc/luma_convert_L_is_wrong"] != expected["bbbc/semantic"]).any()


def test_chosen_classes(expected) -> None:
    mapped = map_values(expected["remap/in"], {2: 1, 3: 2, 5: 3}, other=0)
    np.testing.assert_array_equal(mapped, expected["remap/out"])


def test_seg(expected) -> None:
    truth, prediction = expected["seg/gt"], expected["seg/pred"]
    np.testing.assert_allclose(seg_scores(truth, prediction), expected["seg/per_object"], rtol=1e-12)
    assert seg_score(truth, prediction) == pytest.approx(float(expected["seg/SEG"]), rel=1e-12)


def test_seg_is_counted_beside_the_other_scores_of_objects(expected) -> None:
    counts = object_counts(expected["seg/gt"], expected["seg/pred"])
    assert counts[Count.TRUE] == len(expected["seg/per_object"])
    assert float(seg(counts)) == pytest.approx(float(expected["seg/SEG"]), rel=1e-12)
    # SEG matches by more than half of the true object, PQ by more than half of the union.
    assert counts[Count.PANOPTIC] <= np.count_nonzero(expected["seg/per_object"])


def test_seg_field_of_interest(expected) -> None:
    truth, prediction = expected["seg/gt"], expected["seg/pred"]
    np.testing.assert_array_equal(inside_field(truth, 5), expected["seg/foi_E5_gt"])
    np.testing.assert_array_equal(inside_field(prediction, 5), expected["seg/foi_E5_pred"])
    assert seg_score(truth, prediction, border=5) == pytest.approx(float(expected["seg/SEG_foi_E5"]), rel=1e-12)
