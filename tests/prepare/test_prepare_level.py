"""`bioseg prepare folder --level`: images of a level, masks of its size, and shapes that were drawn on level 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import discs
from helpers.models import write_image
from helpers.pyramids import write_ome_pyramid

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.pixel_size import PixelSize

Bioseg = Callable[..., Result]


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Six slides of 128 x 128 pixels, each pixel of level 1 four of level 0."""
    (tmp_path / "images").mkdir()
    for number in range(6):
        pixels = np.kron(discs(number, 64)[0][0], np.ones((2, 2), np.uint16))
        write_ome_pyramid(tmp_path / "images" / f"s{number}.ome.tif", pixels, size=0.25)
    return tmp_path / "images"


def prepare(bioseg: Bioseg, slides: Path, masks: Path, *options: object) -> Path:
    out = slides.parent / "d.h5"
    result = bioseg("prepare", "folder", "--images", slides, "--masks", masks, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return out


def labels_by_name(path: Path) -> dict[str, np.ndarray]:
    with Dataset(path) as dataset:
        return {dataset.name(index): dataset.labels(index) for index in range(dataset.size)}


def test_masks_have_the_size_of_the_level(bioseg: Bioseg, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(6):
        write_image(tmp_path / "masks" / f"s{number}.tif", discs(number, 64)[1])
    path = prepare(bioseg, slides, tmp_path / "masks", "--level", 1)
    with Dataset(path) as dataset:
        assert dataset.image_shape == (1, 64, 64) and dataset.info.pixel_size == PixelSize(0.5, 0.5)
        assert dataset.info.settings["level"] == 1
        for index in range(dataset.size):
            number = int(dataset.name(index)[1])
            np.testing.assert_array_equal(dataset.image(index), discs(number, 64)[0])
            np.testing.assert_array_equal(dataset.labels(index), discs(number, 64)[1])


def test_a_mask_of_the_full_size_does_not_fit(bioseg: Bioseg, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(6):
        pixels = np.kron(discs(number, 64)[1], np.ones((2, 2), np.uint8))
        write_ome_pyramid(tmp_path / "masks" / f"s{number}.ome.tif", pixels)
    options = ("--images", slides, "--masks", tmp_path / "masks", "--out", tmp_path / "d.h5")
    result = bioseg("prepare", "folder", *options, "--level", 1)
    assert result.exit_code == 3 and "128 x 128 pixels" in " ".join(result.output.split())
    assert bioseg("prepare", "folder", *options).exit_code == 0
    with Dataset(tmp_path / "d.h5") as dataset:
        assert "level" not in dataset.info.settings  # the hash of what was prepared without it stays


def test_shapes_are_drawn_on_the_full_resolution(bioseg: Bioseg, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    ring = [[20, 40], [61, 40], [61, 90], [20, 90], [20, 40]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    feature["properties"] = {"objectType": "annotation", "classification": {"name": "cell"}}
    for number in range(6):
        document = {"type": "FeatureCollection", "features": [feature]}
        (tmp_path / "drawn" / f"s{number}.geojson").write_text(json.dumps(document))
    expected = np.zeros((64, 64), np.uint8)
    expected[20:45, 10:30] = 1  # the centre of column 30 lies on the border, at 61 / 2
    for labels in labels_by_name(prepare(bioseg, slides, tmp_path / "drawn", "--level", 1)).values():
        np.testing.assert_array_equal(labels, expected)
