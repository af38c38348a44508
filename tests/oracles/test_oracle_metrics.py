"""Metrics against numbers from independent implementations: o6 (IoU), o7 (mapping), o10 (statistics)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bioseg_cli.metrics.confusion import (
    confusion_counts,
    dice_per_class,
    iou_per_class,
    mean_iou,
    mean_over_classes,
    pixel_accuracy,
)
from bioseg_cli.metrics.intervals import bootstrap_mean, t_interval
from bioseg_cli.metrics.mapping import contingency, hungarian, many_to_one, mapped_counts
from bioseg_cli.metrics.paired import paired_t, wilcoxon_signed_rank

ORACLES = os.environ.get("BIOSEG_ORACLES")
pytestmark = pytest.mark.skipif(ORACLES is None, reason="BIOSEG_ORACLES is not set")


def cases(name):
    """{case: {key: array}} of one oracle file."""
    grouped: dict[str, dict[str, np.ndarray]] = {}
    if ORACLES is not None:
        with np.load(Path(ORACLES) / name) as file:
            for key in file.files:
                case, _, rest = key.partition("/")
                grouped.setdefault(case, {})[rest] = file[key]
    return grouped


IOU_CASES = cases("o6_miou.npz")
MAPPING_CASES = cases("o7_cluster_mapping.npz")


@pytest.mark.parametrize("case", IOU_CASES.values(), ids=IOU_CASES)
def test_iou(case):
    classes = int(case["num_classes"])
    each = np.stack([confusion_counts(*pair, classes, 255) for pair in zip(case["gt"], case["pred"], strict=True)])
    pooled = each.sum(axis=0)
    per_image = iou_per_class(each)
    image_wise = mean_over_classes(per_image)

    np.testing.assert_array_equal(pooled, case["confusion"])
    exact = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(iou_per_class(pooled), case["iou_per_class_dataset"], **exact)
    np.testing.assert_allclose(dice_per_class(pooled), case["dice_per_class_dataset"], **exact)
    np.testing.assert_allclose(mean_iou(pooled), case["miou_dataset_nanmean"], **exact)
    np.testing.assert_allclose(mean_iou(pooled, background=False), case["miou_dataset_nanmean_fg"], **exact)
    np.testing.assert_allclose(pixel_accuracy(pooled), case["pixel_acc"], **exact)
    np.testing.assert_allclose(per_image, case["iou_per_image_class"], **exact)
    np.testing.assert_allclose(np.nanmean(image_wise), case["miou_imagewise_nanmean"], **exact)
    foreground = mean_over_classes(per_image, background=False)
    np.testing.assert_allclose(np.nanmean(foreground), case["iou_fg_imagewise_nanmean"], **exact)
    # The two other readings of an absent class, and scikit-learn's, follow from the same values.
    np.testing.assert_allclose(np.nan_to_num(per_image, nan=1.0).mean(), case["miou_imagewise_empty1"], **exact)
    np.testing.assert_allclose(np.nan_to_num(per_image, nan=0.0).mean(), case["miou_imagewise_empty0"], **exact)
    sklearn = case["sklearn_jaccard_per_class_zerodiv0"]
    np.testing.assert_allclose(np.nan_to_num(iou_per_class(pooled), nan=0.0), sklearn, **exact)


@pytest.mark.parametrize("case", MAPPING_CASES.values(), ids=MAPPING_CASES)
def test_mapping(case):
    clusters, classes = int(case["n_clusters"]), int(case["n_classes"])
    table = contingency(case["cluster"], case["gt"], clusters, classes)
    np.testing.assert_array_equal(table, case["contingency"])
    compared = 0
    for name, fit in (("many_to_one", many_to_one), ("hungarian", hungarian)):
        if f"{name}/map" not in case:
            assert clusters != classes
            continue
        mapping = fit(table)
        counts = mapped_counts(table, mapping)
        iou = np.nan_to_num(iou_per_class(counts), nan=0.0)
        np.testing.assert_array_equal(mapping, case[f"{name}/map"])
        # Mapping by overlap and mapping by IoU agree in every case, so that the first alone is offered.
        np.testing.assert_array_equal(mapping, case[f"{name}_iou/map"])
        np.testing.assert_allclose(iou, case[f"{name}/iou"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(iou.mean(), case[f"{name}/miou"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(pixel_accuracy(counts), case[f"{name}/acc"], rtol=0, atol=1e-12)
        compared += 1
    if "identity/miou" in case:
        identity = np.nan_to_num(iou_per_class(mapped_counts(table, np.arange(clusters))), nan=0.0)
        np.testing.assert_allclose(identity.mean(), case["identity/miou"], rtol=0, atol=1e-12)
    assert compared >= 1


def test_statistics():
    with np.load(Path(str(ORACLES)) / "o10_stats.npz") as oracle:
        a, b = oracle["a"], oracle["b"]
        for values, key in ((a, "a"), (b, "b"), (b - a, "diff")):
            np.testing.assert_allclose(t_interval(values), oracle[f"{key}/mean_sd_lo_hi"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(paired_t(b, a), oracle["paired_t"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(wilcoxon_signed_rank(b, a), oracle["wilcoxon_exact"], rtol=0, atol=1e-9)
        interval = bootstrap_mean(oracle["per_image_iou"], draws=20000)
        np.testing.assert_allclose(interval, oracle["bootstrap_percentile_20000"], rtol=0, atol=2e-3)
