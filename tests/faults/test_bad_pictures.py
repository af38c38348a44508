"""Hostile and damaged pictures among good ones: they are listed by name, and the good ones are done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers import declared
from helpers.models import record_of, save_random_model

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.io.limits import LARGEST

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

Bioseg = Callable[..., Result]
BOMBS = {
    "b0.png": lambda path: declared.png(path, 10**6, 10**6),
    "b1.jpg": lambda path: declared.jpeg(path, 65_500),
    "b2.bmp": lambda path: declared.bmp(path, 10**6),
    "b3.tif": lambda path: declared.tiff(path, 64, 4_000_000_000),
    "b4.tif": lambda path: declared.tiff(path, 10**6, 10**6, tile=65_536),
    "b5.tif": lambda path: tifffile.imwrite(path, np.ones((48, 48), np.complex64)),
}
GOOD = 6


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Good images among those that declare much, and one whose numbers are complex."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for number in range(GOOD):
        image, mask = discs(number)
        tifffile.imwrite(images / f"a{number}.tif", image[0])
        tifffile.imwrite(masks / f"a{number}.tif", mask)
    for name, write in BOMBS.items():
        write(images / name)
    return images


def test_a_prediction_leaves_them_out_by_name(bioseg: Bioseg, pictures: Path, tmp_path: Path):
    model = save_random_model(tmp_path / "model.safetensors")
    result = bioseg("predict", model, pictures, "--out", tmp_path / "out", "--overlay")
    assert result.exit_code == 1 and f"{len(BOMBS)} of {GOOD + len(BOMBS)} images failed" in result.stderr
    record = record_of(tmp_path / "out")
    assert [entry["name"] for entry in record["files"]] == [f"a{number}" for number in range(GOOD)]
    failures = {Path(entry["input"]).name: entry["error"] for entry in record["failures"]}
    assert failures.keys() == BOMBS.keys()
    assert all(LARGEST in failures[name] for name in BOMBS if name != "b5.tif")
    assert "complex64" in failures["b5.tif"]


def test_a_preparation_lists_them_and_goes_on_without_them(bioseg: Bioseg, pictures: Path, tmp_path: Path):
    given = ("prepare", "folder", "--images", pictures, "--masks", tmp_path / "masks", "--out", tmp_path / "x.h5")
    result = bioseg(*given, "--json")
    assert result.exit_code == 3
    listed = {file["file"] for file in json.loads(result.stdout)["rejected"]}
    assert {Path(name).name for name in listed} == BOMBS.keys()
    assert bioseg(*given, "--skip-bad").exit_code == 0
    with Dataset(tmp_path / "x.h5") as dataset:
        assert dataset.size == GOOD


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_pipe_among_images_is_no_image(bioseg: Bioseg, pictures: Path, tmp_path: Path):
    for name in BOMBS:
        (pictures / name).unlink()
    os.mkfifo(pictures / "pipe.tif")
    model = save_random_model(tmp_path / "model.safetensors")
    out = tmp_path / "out"
    assert bioseg("predict", model, pictures, "--out", out).exit_code == 0
    result = bioseg("predict", model, pictures / "pipe.tif", "--out", tmp_path / "other")
    assert result.exit_code == 3 and "no ordinary file" in result.stderr
    (out / "predictions.yaml").unlink()
    os.mkfifo(out / "predictions.yaml")
    assert bioseg("predict", model, pictures, "--out", out).exit_code == 2
