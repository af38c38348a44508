from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.metrics.confusion import confusion_counts, iou_per_class
from bioseg_cli.objects.labelled import connected_objects
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import DemoConfig
from bioseg_cli.prepare.recipes.synthetic import nuclei, phase_cells
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow


def otsu_iou(kind: Callable, count: int = 6) -> float:
    """IoU of the foreground by Otsu's threshold, brighter or darker side, whichever is better."""
    counts = np.zeros((2, 2, 2), dtype=np.int64)
    for number in range(count):
        pixels, numbers = kind(np.random.default_rng([0, number]), 256)
        bright = (pixels > threshold_otsu(pixels)).astype(np.uint8)
        for side, prediction in enumerate((bright, 1 - bright)):
            counts[side] += confusion_counts((numbers > 0).astype(np.uint8), prediction, 2)
    return float(iou_per_class(counts)[:, 1].max())


def test_a_threshold_nearly_solves_nuclei_and_fails_in_phase_contrast() -> None:
    assert 0.75 < otsu_iou(nuclei) < 0.97
    assert otsu_iou(phase_cells) < 0.45


@pytest.mark.parametrize(("kind", "dtype"), [(nuclei, np.uint16), (phase_cells, np.uint8)])
@pytest.mark.parametrize("size", [64, 200])
def test_images_of_any_size(kind, dtype, size) -> None:
    shares = []
    for number in range(12):
        pixels, numbers = kind(np.random.default_rng(number), size)
        assert (pixels.shape, pixels.dtype, numbers.shape) == ((size, size), dtype, (size, size))
        shares.append((numbers > 0).mean())
    assert 0.03 < np.mean(shares) < 0.4


@pytest.mark.parametrize("kind", [nuclei, phase_cells])
def test_objects_that_touch_have_numbers_of_their_own(kind) -> None:
    numbers = kind(np.random.default_rng(0), 512)[1]
    objects = len(np.unique(numbers)) - 1
    assert 0 < connected_objects(numbers > 0, 2).classes.size < objects <= numbers.max()
    pieces = sum(connected_objects(numbers == number, 2).classes.size for number in np.unique(numbers)[1:])
    assert objects <= pieces <= 1.3 * objects  # few objects are cut in two by those that lie on them


def test_a_data_set_holds_the_numbers(tmp_path) -> None:
    session.run(DemoConfig(out=tmp_path / "d.h5", images=5, size=128), ConsoleOutput(quiet=True), overwrite=False)
    with Dataset(tmp_path / "d.h5") as dataset:
        for index in range(dataset.size):
            np.testing.assert_array_equal(dataset.objects(index) > 0, dataset.labels(index) == 1)
            assert dataset.objects(index).max() > 1


def test_the_same_seed_the_same_data(tmp_path) -> None:
    hashes = [
        session.run(
            DemoConfig(out=tmp_path / f"{name}.h5", images=5, size=64, seed=seed),
            ConsoleOutput(quiet=True),
            overwrite=False,
        ).content_hash
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_image_depends_on_its_number_alone(tmp_path) -> None:
    """More images leave the first ones as they were."""
    images = []
    for count in (5, 8):
        path = tmp_path / f"{count}.h5"
        session.run(DemoConfig(out=path, images=count, size=64), ConsoleOutput(quiet=True), overwrite=False)
        with Dataset(path) as dataset:
            images.append(dataset.image(4))
    np.testing.assert_array_equal(*images)


def test_the_command(bioseg, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("prepare", "demo", "--images", 10, "--size", 64, "--kind", "phase", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["path"] == "data/demo.h5"
    assert summary["images"]["train"] == {"labelled": 6, "unlabelled": 0}
    with Dataset(Path("data/demo.h5")) as dataset:
        assert dataset.image_dtype == np.uint8
        assert [info.name for info in dataset.classes] == ["background", "cell"]
    again = bioseg("prepare", "demo", "--images", 10, "--size", 64)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_the_table(bioseg, tmp_path) -> None:
    result = bioseg("prepare", "demo", "--images", 10, "--size", 64, "--out", tmp_path / "set.h5")
    assert result.exit_code == 0, result.output
    for text in ("train", "background", "nucleus", "64 x 64 pixels, 1 channel of uint16", "percentiles"):
        assert text in result.stdout
