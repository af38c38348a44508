"""The macro for Fiji measures what `predict --objects` measures; it is run by ImageJ itself, where that is there."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.documented import ROOT
from helpers.models import save_random_model, write_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "BIOSEG_IMAGEJ" not in os.environ or shutil.which("java") is None or shutil.which("xvfb-run") is None,
        reason="BIOSEG_IMAGEJ names no ij.jar, or java or xvfb-run is not there",
    ),
]

Bioseg = Callable[..., Result]


def measured(images: Path, predicted: Path) -> list[dict[str, str]]:
    """The rows of the table that the macro writes."""
    table = predicted.with_suffix(".csv")
    macro = [ROOT / "examples" / "fiji" / "measure_objects.ijm", f"{images}|{predicted}|{table}"]
    imagej = ["xvfb-run", "-a", "java", "-cp", os.environ["BIOSEG_IMAGEJ"], "ij.ImageJ", "-batch"]
    subprocess.run([*imagej, *map(str, macro)], check=True, capture_output=True, timeout=300)
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A file with a space in its name, one with two suffixes, and time points."""
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "cell one.tif", discs(0, 96)[0][0])
    write_image(tmp_path / "images" / "b.ome.tif", discs(1, 96)[0][0])
    movie = np.stack([discs(number, 96)[0][0] for number in range(5, 8)])
    write_image(tmp_path / "images" / "movie.tif", movie, "TYX")
    return tmp_path / "images"


def test_objects_are_those_of_the_table_of_bioseg(bioseg: Bioseg, images: Path, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors")
    predicted = tmp_path / "predicted"
    assert bioseg("predict", model, images, "--objects", "--lut", "--out", predicted).exit_code == 0
    with (predicted / "objects.csv").open(newline="") as file:
        ours = {(row["image"], int(row["object"])): row for row in csv.DictReader(file)}
    theirs = {(row["Image"].partition(".")[0], int(row["Object"])): row for row in measured(images, predicted)}
    assert set(theirs) == set(ours) and len({name for name, _ in ours}) == 3
    for place, row in ours.items():
        found = theirs[place]
        assert found["Class"] == row["class"]
        for name, column in (("Area", "area_um2"), ("Mean", "intensity_mean_c1"), ("Max", "intensity_max_c1")):
            assert float(found[name]) == pytest.approx(float(row[column]))


def test_objects_of_several_channels_are_on_their_time_points(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors", channels=2)
    (tmp_path / "images").mkdir()
    movie = np.stack([np.stack([discs(number + channel, 96)[0][0] for channel in (0, 9)]) for number in range(3)])
    write_image(tmp_path / "images" / "a.tif", movie, "TCYX")
    predicted = tmp_path / "predicted"
    assert bioseg("predict", model, tmp_path / "images", "--objects", "--out", predicted).exit_code == 0
    with (predicted / "objects.csv").open(newline="") as file:
        ours = [(row["object"], float(row["intensity_mean_c1"])) for row in csv.DictReader(file)]
    theirs = [(str(int(row["Object"])), float(row["Mean"])) for row in measured(tmp_path / "images", predicted)]
    assert dict(theirs) == pytest.approx(dict(ours))


def test_without_objects_each_class_is_measured(bioseg: Bioseg, images: Path, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors")
    (images / "movie.tif").unlink()
    assert bioseg("predict", model, images, "--out", tmp_path / "predicted").exit_code == 0
    rows = {(row["Image"].partition(".")[0], row["Class"]): row for row in measured(images, tmp_path / "predicted")}
    for name in ("cell one", "b"):
        mask = tifffile.imread(tmp_path / "predicted" / f"{name}.tif")
        for value, label in ((1, "cell"), (2, "rim")):
            assert float(rows[name, label]["Area"]) == pytest.approx(0.25 * np.count_nonzero(mask == value))
