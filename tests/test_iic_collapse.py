"""The collapse watch on clusterings whose state is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bioseg_cli.training.collapse import HeadWatch, diagnose, otsu_bright

SIZE = 32


def one_hot(codes: Tensor, clusters: int) -> Tensor:
    return torch.nn.functional.one_hot(codes, clusters).movedim(-1, 1).float()


def discs(image: int, radius: float) -> np.ndarray:
    random = np.random.default_rng(image)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    row, column = random.uniform(8, 24, 2)
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def measured(maps: Tensor, second: Tensor | None = None, bright: np.ndarray | None = None) -> dict[str, float]:
    watch = HeadWatch(maps.shape[1])
    everywhere = torch.ones_like(maps[:, :1])
    # In two batches: what is measured must not depend on how the images were divided.
    for part in (slice(0, 3), slice(3, None)):
        watch.add(
            maps[part],
            (maps if second is None else second)[part],
            everywhere[part],
            everywhere[part],
            None if bright is None else bright[part],
        )
    return watch.measures()


def cells(count: int = 6, radius: float = 5.0) -> np.ndarray:
    return np.stack([discs(image, radius) for image in range(count)])


def test_a_good_clustering_is_none_of_them():
    mask = cells()
    measures = measured(one_hot(torch.from_numpy(mask).long(), 2), bright=mask)
    share = mask.mean()
    bound = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert measures["mi"] == pytest.approx(bound, abs=1e-6)
    assert measures["mi_share"] == pytest.approx(bound / math.log(2), abs=1e-6)
    assert measures["marginal_entropy"] == pytest.approx(bound / math.log(2), abs=1e-6)
    assert measures["pixel_entropy"] == pytest.approx(0, abs=1e-6)
    assert measures["live_clusters"] == 2
    assert measures["constant_images"] == 0
    assert measures["image_dependence"] > 0.5
    assert measures["otsu_inside"] == 1
    assert measures["bright_area"] == pytest.approx(share)
    assert measures["otsu_area"] == pytest.approx(share)
    assert diagnose(measures) is None


def test_a_uniform_prediction_is_named():
    assert diagnose(measured(torch.full((6, 5, SIZE, SIZE), 0.2))) == "uniform"


@pytest.mark.parametrize("sure", [1.0, 0.85])
def test_one_cluster_for_everything_is_named(sure: float):
    maps = torch.full((6, 2, SIZE, SIZE), 1 - sure)
    maps[:, 1] = sure
    measures = measured(maps)
    assert measures["live_clusters"] == 1
    assert measures["constant_images"] == 1
    assert diagnose(measures) == "one cluster"


def test_images_of_one_cluster_each_are_no_segmentation():
    codes = (torch.arange(6) % 2)[:, None, None].expand(6, SIZE, SIZE)
    measures = measured(one_hot(codes, 2))
    assert measures["mi_share"] == pytest.approx(1, abs=1e-6)
    assert diagnose(measures) == "one cluster"


def test_a_map_that_ignores_the_image_is_named():
    codes = torch.from_numpy(discs(0, 9.0)).long().expand(6, SIZE, SIZE)
    measures = measured(one_hot(codes, 2))
    assert measures["image_dependence"] == pytest.approx(0, abs=1e-6)
    assert diagnose(measures) == "one map"


def test_of_a_single_image_it_is_not_said_that_it_is_ignored():
    watch = HeadWatch(2)
    maps, everywhere = one_hot(torch.from_numpy(cells(1)).long(), 2), torch.ones(1, 1, SIZE, SIZE)
    watch.add(maps, maps, everywhere, everywhere)
    assert diagnose(watch.measures()) is None


def test_a_split_into_halves_that_swallows_the_bright_part_is_named():
    bright, halves = cells(radius=5.0), cells(radius=12.0)
    measures = measured(one_hot(torch.from_numpy(halves).long(), 2), bright=bright)
    assert measures["otsu_inside"] == 1
    assert 0.4 < measures["bright_area"] < 0.6
    assert diagnose(measures) == "half and half"


@pytest.mark.parametrize("clusters", [3, 4])
def test_more_clusters_may_halve_the_images_too(clusters: int):
    bright, halves = cells(radius=5.0), cells(radius=12.0)
    columns = torch.arange(SIZE) % (clusters - 1) + 1
    codes = torch.where(torch.from_numpy(halves), 0, columns)
    assert diagnose(measured(one_hot(codes, clusters), bright=bright)) == "half and half"


def test_halves_that_are_what_otsu_finds_are_fine():
    halves = cells(radius=12.0)
    assert diagnose(measured(one_hot(torch.from_numpy(halves).long(), 2), bright=halves)) is None


def test_maps_that_agree_by_chance_carry_no_information():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 3, (6, SIZE, SIZE), generator=generator) for _ in range(2))
    assert diagnose(measured(one_hot(first, 3), one_hot(second, 3))) == "no information"
    # One cluster here and two there: symmetrised, this would look like information.
    constant = torch.zeros_like(first)
    assert measured(one_hot(constant, 3), one_hot(first, 3))["mi"] == pytest.approx(0, abs=1e-9)


def test_padding_counts_nowhere():
    mask = cells()
    maps, shown = one_hot(torch.from_numpy(mask).long(), 2), torch.ones(6, 1, SIZE, SIZE)
    shown[..., 20:] = 0
    padded = maps.clone()
    padded[..., 20:] = 0.5
    watches = []
    for one in (maps, padded):
        watch = HeadWatch(2)
        watch.add(one, one, shown, shown, mask)
        watches.append(watch.measures())
    assert watches[0] == pytest.approx(watches[1])
    assert watches[0]["pixel_entropy"] == pytest.approx(0, abs=1e-6)


def test_information_is_of_both_views():
    maps = one_hot(torch.from_numpy(cells()).long(), 2)
    assert measured(maps, maps.flip(0))["mi_share"] < 0.2 < measured(maps)["mi_share"]


def test_otsu_finds_the_bright_part_and_nothing_in_a_flat_image():
    mask, everywhere = discs(0, 6.0), np.ones((SIZE, SIZE), dtype=bool)
    image = (0.2 + 0.5 * mask)[None].astype(np.float32)
    np.testing.assert_array_equal(otsu_bright(image, everywhere), mask)
    assert not otsu_bright(np.full((1, SIZE, SIZE), 0.4, dtype=np.float32), everywhere).any()
    assert not otsu_bright(image, np.zeros_like(everywhere)).any()
