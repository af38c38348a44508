"""The parts of an evaluation: scores, baselines, the CSV table, the figure."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.reports import NAMES, cluster_report, counts_of, report

from bioseg_cli.config import ClassInfo
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.baselines import all_background, brightness_bands, can_divide, fit_baseline, score_baselines
from bioseg_cli.evaluation.clusters import cluster_tables, counts_of_clusters
from bioseg_cli.evaluation.document import ClusterMapping
from bioseg_cli.evaluation.report import table_csv
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, difference, score_images
from bioseg_cli.evaluation.thresholding import block_size, kmeans_bands, local_bands, otsu_bands
from bioseg_cli.figures.difference import ADDED, CONFUSED, IGNORED, MISSED, RIGHT, difference_map
from bioseg_cli.runs.console import ConsoleOutput

FAIR = counts_of([[80, 5], [5, 10]], [[90, 2], [1, 7]], [[70, 10], [4, 16]])


# Scores ---------------------------------------------------------------------------------------------------------------


def test_pooled_and_image_wise_means_are_different_numbers():
    images = counts_of([[90, 0], [0, 10]], [[990, 9], [0, 1]])
    score = score_images(images, NAMES, Resampling())
    assert score.mean_iou == pytest.approx((1080 / 1089 + 11 / 20) / 2)
    each = [1.0, (990 / 999 + 1 / 10) / 2]
    assert score.image_wise_mean == pytest.approx(np.mean(each))
    assert score.image_wise_sd == pytest.approx(np.std(each, ddof=1))


def test_a_class_that_is_nowhere_is_left_out_and_named():
    images = counts_of([[5, 1, 0], [2, 8, 0], [0, 0, 0]], [[6, 0, 0], [0, 9, 0], [0, 0, 0]])
    score = score_images(images, ("a", "b", "c"), Resampling())
    assert score.absent == ("c",)
    assert score.mean_iou == pytest.approx(np.mean([11 / 14, 17 / 20]))
    document = score.record().model_dump(mode="json")
    assert document["iou"]["c"] is None
    assert document["dice"]["c"] is None
    assert document["intervals"]["iou"]["c"] == [None, None]
    assert None not in document["intervals"]["mean_iou"]


def test_nothing_to_score():
    with pytest.raises(DataError, match="no labelled pixel"):
        score_images(counts_of(), NAMES, Resampling())


def test_the_paired_difference_is_surer_than_two_intervals_are():
    random = np.random.default_rng(3)
    first, second = [], []
    for _ in range(30):
        found, missed = random.integers(20, 200), random.integers(5, 60)
        first.append([[900, 10], [missed, found]])
        second.append([[900, 10], [missed + 5, found - 5]])
    a, b = counts_of(*first), counts_of(*second)
    gain = difference(a, b, Resampling())
    apart = [score_images(images, NAMES, Resampling()) for images in (a, b)]
    assert gain.mean_iou == pytest.approx(apart[0].mean_iou - apart[1].mean_iou)
    assert 0 < gain.limits[0] < gain.mean_iou < gain.limits[1]
    # Taken apart, the two intervals overlap.
    assert apart[0].intervals["mean_iou"][0] < apart[1].intervals["mean_iou"][1]


@pytest.mark.parametrize("by_group", [False, True])
def test_every_interval_is_the_bootstrap_of_its_own_number(by_group):
    random = np.random.default_rng(4)
    counts = random.integers(1, 400, (9, 3, 3)) * np.array([9, 3, 1])[:, None]
    images = ImageCounts(tuple("abcdefghi"), tuple("xxxyyyzzw"), counts)
    resampling = Resampling(draws=300, seed=5, by_group=by_group)
    score = score_images(images, ("a", "b", "c"), resampling)
    # The same draws, written out: how often each unit is taken, and the counts of what was taken.
    units = counts if not by_group else np.stack([counts[:3].sum(0), counts[3:6].sum(0), counts[6:8].sum(0), counts[8]])
    taken = np.random.default_rng(5).multinomial(len(units), np.full(len(units), 1 / len(units)), size=300)
    if by_group:
        # Groups are drawn in the order of their names.
        units = units[[3, 0, 1, 2]]
    sums = np.einsum("du,uij->dij", taken, units)
    iou = np.stack(
        [sums[:, i, i] / (sums[:, i].sum(1) + sums[:, :, i].sum(1) - sums[:, i, i]) for i in range(3)], axis=1
    )
    numbers = {
        "mean_iou": iou.mean(axis=1),
        "mean_iou_foreground": iou[:, 1:].mean(axis=1),
        "pixel_accuracy": np.trace(sums, axis1=1, axis2=2) / sums.sum(axis=(1, 2)),
    }
    for name, values in numbers.items():
        assert score.intervals[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975]))), name
    for number in range(3):
        assert score.iou_intervals[number] == pytest.approx(tuple(np.quantile(iou[:, number], [0.025, 0.975])))
    other = ImageCounts(images.names, images.groups, counts[:, ::-1])
    gain = difference(images, other, resampling)
    assert gain.limits != difference(images, other, Resampling(draws=300, seed=6, by_group=by_group)).limits
    assert gain.limits != difference(images, other, Resampling(draws=300, seed=5, by_group=not by_group)).limits


def test_a_difference_needs_the_same_images():
    with pytest.raises(DataError, match="same images"):
        difference(FAIR, counts_of([[80, 5], [5, 10]]), Resampling())


# Baselines ------------------------------------------------------------------------------------------------------------


class Pictures:
    """A truth of given images (N, C, H, W) and labels (N, H, W), the last columns padding."""

    ignore = 255

    def __init__(self, images, labels, classes=2, padding=0):
        self._images, self._labels, self._padding = images, labels, padding
        self.classes = tuple(ClassInfo(name=f"c{i}", colour=(i, i, i)) for i in range(classes))
        self.names = self.groups = tuple(map(str, range(len(images))))

    def labels(self, number):
        return self._labels[number]

    def image(self, number):
        return self._images[number]

    def extent(self, number):
        return slice(None), slice(0, self._labels[number].shape[1] - self._padding)


def test_bands_are_those_of_scikit_image_inside_the_extent_only():
    from skimage.filters import threshold_local, threshold_otsu

    random = np.random.default_rng(0)
    image = random.normal(0.3, 0.05, (1, 20, 30)).astype(np.float32)
    image[0, 5:10, 5:15] += 0.4
    image[:, :, 25:] = 0  # padding, darker than anything
    truth = Pictures(image[None], np.zeros((1, 20, 30)), padding=5)
    shown = image[0, :, :25]
    for name, threshold in (("otsu", threshold_otsu(shown)), ("local", threshold_local(shown, 5))):
        bands = brightness_bands(name, truth, 0, 2)
        np.testing.assert_array_equal(bands[:, :25], shown > threshold)
        assert not bands[:, 25:].any()


@pytest.mark.parametrize("divide", [otsu_bands, kmeans_bands])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_images_of_few_grey_levels_have_few_bands(divide, levels):
    image = np.linspace(0, 1, levels, dtype=np.float32)[np.arange(60) % levels].reshape(1, 6, 10)
    bands = divide(image, 3)
    assert sorted(np.unique(bands)) == list(range(levels))
    assert (np.diff(bands[0, :levels]) == 1).all()


def picture_of_discs(brightness: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """An image (1, 60, 80) of two discs, and where they are."""
    rows, columns = np.mgrid[:60, :80]
    discs = ((rows - 20) ** 2 + (columns - 20) ** 2 < 60) | ((rows - 40) ** 2 + (columns - 60) ** 2 < 60)
    noise = np.random.default_rng(1).normal(0, 0.02, discs.shape)
    return (0.2 + brightness * discs + noise).astype(np.float32)[None], discs


def test_kmeans_of_a_grey_image_is_otsus_division():
    image, discs = picture_of_discs()
    found = kmeans_bands(image, 2)
    np.testing.assert_array_equal(found, kmeans_bands(image, 2))
    np.testing.assert_array_equal(found, discs)
    assert (found == otsu_bands(image, 2)).mean() > 0.999


@pytest.mark.parametrize("bright", ["few", "one"])
def test_kmeans_finds_the_closest_fit_whatever_it_starts_from(bright):
    # Hardly any pixel is bright, or one that is far too bright draws a centre away.
    image = np.random.default_rng(0).normal(0.2, 0.01, (1, 60, 60)).astype(np.float32)
    inside = np.zeros((60, 60), dtype=bool)
    if bright == "few":
        inside[3, 4:7] = True
        image[0, inside] = 0.9
    else:
        inside[10:40, 10:40] = True
        image[0, inside] += 0.3
        image[0, 50, 50] = 1.5
        inside[50, 50] = True
    np.testing.assert_array_equal(kmeans_bands(image, 2), inside)


def test_kmeans_tells_colours_of_one_brightness_apart():
    image = np.full((3, 20, 20), 0.2, dtype=np.float32)
    image[0], image[2, 5:10] = 0.5, 0.7
    image[0, 5:10] = 0
    assert np.ptp(image.mean(axis=0)) < 0.01
    expected = np.zeros((20, 20))
    expected[5:10] = 1
    found = kmeans_bands(image, 2)
    np.testing.assert_array_equal(found, expected if found[5, 0] else 1 - expected)


def test_kmeans_divides_into_any_number_of_classes():
    image = np.repeat(np.arange(7, dtype=np.float32) / 7, 30).reshape(1, 7, 30)
    image += np.random.default_rng(0).normal(0, 0.002, image.shape).astype(np.float32)
    np.testing.assert_array_equal(kmeans_bands(image, 7), np.repeat(np.arange(7), 30).reshape(7, 30))


def test_a_local_threshold_follows_uneven_light():
    # Four rows of bars on a slope: no threshold of the whole image finds them.
    bars = np.tile(np.arange(64) % 16 < 4, (64, 1)).T
    light = np.linspace(0, 2, 64, dtype=np.float32)
    image = (light + 0.3 * bars)[None].astype(np.float32)
    local, otsu = ((divide(image, 2) == bars).mean() for divide in (local_bands, otsu_bands))
    assert local > 0.95 > 0.7 > otsu
    assert not local_bands(np.full((1, 40, 40), 0.3, dtype=np.float32), 2).any()
    with pytest.raises(ValueError, match="not 3"):
        local_bands(image, 3)


def test_blocks_of_a_local_threshold_are_odd():
    assert [block_size(shape) for shape in ((512, 512), (520, 696), (100, 44), (3, 3))] == [129, 131, 11, 3]


@pytest.mark.parametrize("name", ["otsu", "kmeans"])
def test_dark_cells_are_recognised_on_training_images(name, disc_dataset, tmp_path):
    from conftest import write_discs

    from bioseg_cli.dataset.reader import Dataset

    with Dataset(disc_dataset) as bright:
        np.testing.assert_array_equal(fit_baseline(name, bright).mapping, [0, 1])
    everywhere = tuple(range(13))
    with Dataset(write_discs(tmp_path / "dark.h5", wrong=everywhere)) as dark:
        fitted = fit_baseline(name, dark)
        np.testing.assert_array_equal(fitted.mapping, [1, 0])
        assert fitted.fitted_on == 8
        assert "8 labelled training images" in fitted.note
    # Nothing to decide on: the brighter is taken for the higher class, and that is said.
    with Dataset(write_discs(tmp_path / "none.h5", unlabelled=everywhere)) as unlabelled:
        assumed = fit_baseline(name, unlabelled)
        np.testing.assert_array_equal(assumed.mapping, [0, 1])
        assert "is taken for the higher class" in assumed.note


def test_too_many_classes_for_a_threshold():
    assert [can_divide("otsu", classes) for classes in (2, 5, 6)] == [True, True, False]
    assert [can_divide("local", classes) for classes in (2, 3)] == [True, False]
    assert can_divide("kmeans", 20)
    image = np.random.default_rng(0).random((1, 1, 12, 12), dtype=np.float32)
    truth = Pictures(image, np.arange(144).reshape(1, 12, 12) % 6, classes=6)
    images = counts_of(np.eye(6, dtype=int))
    rows, notes = score_baselines(
        ("otsu", "kmeans", "local", "all-background"),
        truth,
        None,
        images,
        Resampling(draws=100),
        ConsoleOutput(quiet=True),
    )
    assert [row.name for row in rows] == ["kmeans", "all-background"]
    assert [note.split(":")[0] for note in notes] == [
        "otsu is left out", "kmeans", "local is left out",
    ]  # fmt: skip


def test_all_background_is_what_predicting_zero_everywhere_gives():
    images = all_background(FAIR)
    np.testing.assert_array_equal(images.counts[0], [[85, 0], [15, 0]])
    assert score_images(images, NAMES, Resampling()).mean_iou_foreground == 0


# Clusters -------------------------------------------------------------------------------------------------------------


def test_the_oracle_is_fitted_on_all_counted_pixels_together():
    # Cluster 1 is class 1 by the pixels of both images, though the second alone says otherwise; the ignored pixels,
    # which would turn it round, do not count, and the third image has no others.
    first = np.repeat([[0, 0, 1, 1, 255]], [50, 2, 1, 9, 80], axis=1)
    second = np.repeat([[0, 0, 1, 1, 255]], [50, 4, 2, 1, 85], axis=1)
    labels = np.stack([first, second, np.full_like(first, 255)])
    clusters = [np.repeat([[0, 1, 0, 1, 0]], parts, axis=1) for parts in ([50, 2, 1, 9, 80], [50, 4, 2, 1, 85])]
    clusters.append(np.ones_like(first))
    truth = Pictures(labels[:, None] / 255, labels)
    tables = [
        cluster_tables(*pair, {"main": 2}, 2, 255) for pair in zip(labels, [{"main": c} for c in clusters], strict=True)
    ]
    counts = counts_of_clusters(truth, tables)
    assert counts.names == ("0", "1")
    np.testing.assert_array_equal(counts.tables["main"], [[[50, 1], [2, 9]], [[50, 2], [4, 1]]])
    oracle = counts.oracle("main", "test")
    assert (oracle.classes, oracle.rule, oracle.images, oracle.split) == ((0, 1), "hungarian", 2, "test")
    images = counts.mapped("main", oracle)
    np.testing.assert_array_equal(images.counts.sum(axis=0), [[100, 6], [3, 10]])
    stored = ClusterMapping(kind="stored", rule="majority", split="train", images=1, classes=(1, 1))
    np.testing.assert_array_equal(counts.mapped("main", stored).counts[0], [[0, 52], [0, 10]])


# What is written ------------------------------------------------------------------------------------------------------


def test_csv_says_how_clusters_were_mapped():
    header, *rows = table_csv([cluster_report()]).splitlines()
    places = [header.split(",").index(name) for name in ("head", "mapping")]
    cells = [[row.split(",")[place] for place in places] for row in rows]
    assert cells == [
        ["", ""], ["main", "stored"], ["main", "oracle"], ["aux", "stored"], ["aux", "oracle"], ["", ""], ["", ""],
    ]  # fmt: skip
    assert "mapping" not in table_csv([report()])


def test_csv_has_a_column_for_every_class_of_every_data_set():
    table = table_csv([report(), report(classes=("a", "b", "c"))]).splitlines()
    header = table[0].split(",")
    assert {"iou background", "iou nucleus", "iou a", "iou c", "dice c"} <= set(header)
    assert all(len(line.split(",")) == len(header) for line in table)
    assert table[1].split(",")[header.index("iou c")] == ""


def test_difference_map():
    labels = np.array([[0, 0, 1, 1, 1, 255]])
    predictions = np.array([[0, 2, 1, 0, 2, 1]])
    expected = [[0, ADDED, RIGHT, MISSED, CONFUSED, IGNORED]]
    np.testing.assert_array_equal(difference_map(labels, predictions, 255), expected)
