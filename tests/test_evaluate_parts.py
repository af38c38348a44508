"""The parts of an evaluation: scores, baselines, the table, the figure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bioseg_cli.config import ClassInfo
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.baselines import all_background, assumed_otsu, brightness_bands, fit_otsu
from bioseg_cli.evaluation.figures import ADDED, CONFUSED, IGNORED, MISSED, RIGHT, difference_map
from bioseg_cli.evaluation.report import Evaluation, LabelBudget, Report, table_csv
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, difference, score_images
from bioseg_cli.evaluation.table import render

NAMES = ("background", "nucleus")


def counts_of(*matrices, groups=None) -> ImageCounts:
    names = tuple(f"image{i}" for i in range(len(matrices)))
    return ImageCounts(names, groups or names, np.array(matrices, dtype=np.int64))


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
    document = score.to_json()
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
    from skimage.filters import threshold_otsu

    random = np.random.default_rng(0)
    image = random.normal(0.3, 0.05, (1, 20, 30)).astype(np.float32)
    image[0, 5:10, 5:15] += 0.4
    image[:, :, 25:] = 0  # padding, darker than anything
    bands = brightness_bands(Pictures(image[None], np.zeros((1, 20, 30)), padding=5), 0, 2)
    shown = image[0, :, :25]
    np.testing.assert_array_equal(bands[:, :25], shown > threshold_otsu(shown))
    assert not bands[:, 25:].any()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_images_of_few_grey_levels_have_few_bands(levels):
    image = np.linspace(0, 1, levels, dtype=np.float32)[np.arange(60) % levels].reshape(1, 6, 10)
    bands = brightness_bands(Pictures(image[None], np.zeros((1, 6, 10)), classes=3), 0, 3)
    assert sorted(np.unique(bands)) == list(range(levels))
    assert (np.diff(bands[0, :levels]) == 1).all()


def test_dark_cells_are_recognised_on_training_images(disc_dataset, tmp_path):
    from conftest import write_discs

    from bioseg_cli.dataset.reader import Dataset

    with Dataset(disc_dataset) as bright:
        np.testing.assert_array_equal(fit_otsu(bright).mapping, [0, 1])
    everywhere = tuple(range(13))
    with Dataset(write_discs(tmp_path / "dark.h5", wrong=everywhere)) as dark:
        otsu = fit_otsu(dark)
        np.testing.assert_array_equal(otsu.mapping, [1, 0])
        assert otsu.fitted_on == 8
    with Dataset(write_discs(tmp_path / "none.h5", unlabelled=everywhere)) as unlabelled:
        assert fit_otsu(unlabelled) is None


def test_too_many_classes_for_a_threshold():
    assert assumed_otsu(5) is not None
    assert assumed_otsu(6) is None


def test_all_background_is_what_predicting_zero_everywhere_gives():
    images = all_background(FAIR)
    np.testing.assert_array_equal(images.counts[0], [[85, 0], [15, 0]])
    assert score_images(images, NAMES, Resampling()).mean_iou_foreground == 0


# What is shown --------------------------------------------------------------------------------------------------------


def report(names=("runs/nuclei-uda-kl-5labels-seed0",), classes=NAMES, states=("best-supervised",), **extra) -> Report:
    size = len(classes)
    random = np.random.default_rng(0)
    images = counts_of(*random.integers(1, 100, (4, size, size)))
    score = score_images(images, classes, Resampling(draws=100))
    rows = tuple(
        Evaluation(name, images, score, state, LabelBudget(5, 100), difference(images, images, Resampling(draws=100)))
        for name in names
        for state in states
    )
    baselines = (Evaluation("otsu", images, score), Evaluation("all-background", images, score))
    return Report("data/nuclei.h5", "val", rows, baselines, **extra)


def shown(what: Report, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(render(what))
    return stream.getvalue()


MANY = tuple(f"class {i}" for i in range(9))


@pytest.mark.parametrize(
    "what",
    [
        report(),
        report(states=("best-supervised", "best-final", "best-miou", "last")),
        report(names=("runs/a-rather-long-name-of-a-data-set-uda-iid-100labels-seed12/copied/again", "b")),
        report(classes=("background", "cortical grey", "white", "layer 1")),
        report(classes=MANY),
    ],
    ids=["one", "states", "long names", "four classes", "nine classes"],
)
def test_the_table_fits_80_columns_and_cuts_nothing(what):
    text = shown(what)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for row in what.rows:
        assert f"{row.score.mean_iou:.4f}" in text
        assert all(f"{value:.4f}" in text for value in (*row.score.iou, *row.score.dice))
    wide = shown(what, 200)
    assert all(Path(row.name).name in wide for row in what.rows)
    assert all(name in wide for name in what.classes)


def test_runs_of_one_name_are_told_apart():
    text = shown(report(names=("first/run", "second/run", "third/other")))
    assert "first/run" in text
    assert "second/run" in text
    assert "third/other" not in text


def test_square_brackets_in_names_are_no_markup():
    what = report(names=("[red]data[b]",), classes=("[bold]", "b"))
    assert "[red]data[b]" in shown(what)
    assert "[bold]" in shown(what)


def test_the_control_has_a_row_and_a_table_of_differences():
    control = report(names=("runs/control",)).evaluations[0]
    text = shown(report(control=control))
    assert "control (control)" in text
    assert "mIoU minus that of the control" in text
    assert "+0.0000 .. +0.0000" in text


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
