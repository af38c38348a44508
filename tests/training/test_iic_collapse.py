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


SOUND = {
    "mi_share": 0.5,
    "marginal_entropy": 0.5,
    "pixel_entropy": 0.5,
    "constant_images": 0.5,
    "image_dependence": 0.5,
}
HALVES = {"bright_area": 0.5, "otsu_area": 0.2, "otsu_inside": 0.9}


@pytest.mark.parametrize(
    ("measures", "kind"),
    [
        ({}, None),
        ({"pixel_entropy": 0.95}, None),
        ({"pixel_entropy": 0.951}, "uniform"),
        ({"marginal_entropy": 0.1}, None),
        ({"marginal_entropy": 0.099}, "one cluster"),
        ({"constant_images": 0.9}, None),
        ({"constant_images": 0.91}, "one cluster"),
        ({"image_dependence": 0.1}, None),
        ({"image_dependence": 0.099}, "one map"),
        ({"mi_share": 0.025}, None),
        ({"mi_share": 0.0249}, "no information"),
        (HALVES, "half and half"),
        ({**HALVES, "bright_area": 0.4}, "half and half"),
        ({**HALVES, "bright_area": 0.399}, None),
        ({**HALVES, "bright_area": 0.6}, "half and half"),
        ({**HALVES, "bright_area": 0.601}, None),
        ({**HALVES, "otsu_inside": 0.8}, "half and half"),
        ({**HALVES, "otsu_inside": 0.799}, None),
        ({**HALVES, "bright_area": 0.5625, "otsu_area": 0.375}, "half and half"),
        ({**HALVES, "bright_area": 0.5625, "otsu_area": 0.376}, None),
        # The first that holds is named.
        ({"pixel_entropy": 1.0, "marginal_entropy": 0.0, "image_dependence": 0.0, "mi_share": 0.0}, "uniform"),
        ({"marginal_entropy": 0.0, "image_dependence": 0.0, "mi_share": 0.0}, "one cluster"),
        ({"image_dependence": 0.0, "mi_share": 0.0}, "one map"),
        ({"mi_share": 0.0, **HALVES}, "no information"),
    ],
    ids=str,
)
def test_a_collapse_begins_just_beyond_its_threshold(measures: dict[str, float], kind: str | None):
    assert diagnose({**SOUND, **measures}) == kind


def test_the_measures_of_two_small_images_are_those_of_a_calculation_by_hand():
    # Of 2 x 100 pixels: cluster 0 has 1, cluster 1 has 2, cluster 2 the rest; the second view of image 1 is all 2.
    codes = torch.full((2, 1, 100), 2)
    codes[0, 0, 0], codes[0, 0, 1:3] = 0, 1
    maps, second = one_hot(codes, 3), one_hot(torch.full((2, 1, 100), 2), 3)
    second[0] = maps[0]
    everywhere = torch.ones(2, 1, 1, 100)
    valid = everywhere.clone()
    valid[0, :, :, 50:] = 0
    bright = np.zeros((2, 1, 100), dtype=bool)
    bright[0, 0, 1:5] = True
    watch = HeadWatch(3)
    watch.add(maps, second, valid, everywhere, bright)
    measures = watch.measures()

    def entropy(*shares: float) -> float:
        return -sum(share * math.log(share) for share in shares)

    bound = math.log(3)
    assert measures["mi"] == pytest.approx(entropy(1 / 150, 2 / 150, 147 / 150))
    assert measures["mi_share"] == pytest.approx(measures["mi"] / bound)
    assert measures["marginal_entropy"] == pytest.approx(entropy(1 / 200, 2 / 200, 197 / 200) / bound)
    # One cluster alone has more than a hundredth of the area; the second has just a hundredth.
    assert measures["live_clusters"] == 1
    assert measures["constant_images"] == 0.5
    # At three of a hundred positions there are two clusters in the two images.
    spread = entropy(1 / 200, 2 / 200, 197 / 200)
    assert measures["image_dependence"] == pytest.approx(0.03 * math.log(2) / spread)
    # Of the four bright pixels two are in cluster 1 and two in cluster 2: the first of equals is looked at.
    assert measures["bright_area"] == pytest.approx(2 / 200)
    assert measures["otsu_area"] == pytest.approx(4 / 200)
    assert measures["otsu_inside"] == 0.5


def test_the_entropy_of_a_pixel_is_the_mean_over_what_is_shown():
    maps = torch.tensor([[0.5, 0.9, 0.7], [0.5, 0.1, 0.3]])[None, :, None]
    shown = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    watch = HeadWatch(2)
    watch.add(maps, maps, shown, shown)
    of_the_second = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    measures = watch.measures()
    assert measures["pixel_entropy"] == pytest.approx((math.log(2) + of_the_second) / 2 / math.log(2))
    marginal = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert measures["marginal_entropy"] == pytest.approx(marginal / math.log(2))
    assert measures["image_dependence"] == 1
    with pytest.raises(ValueError, match="nothing was added"):
        HeadWatch(2).measures()


def test_otsu_takes_the_mean_of_channels_and_sees_nothing_of_the_padding():
    mask = discs(0, 6.0)
    image = np.stack([0.2 + 0.6 * mask, np.full(mask.shape, 0.5)]).astype(np.float32)
    shown = np.ones(mask.shape, dtype=bool)
    shown[:, 20:] = False
    image[:, ~shown] = 50.0
    np.testing.assert_array_equal(otsu_bright(image, shown), mask & shown)


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
    for inputs in (maps, padded):
        watch = HeadWatch(2)
        watch.add(inputs, inputs, shown, shown, mask)
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
