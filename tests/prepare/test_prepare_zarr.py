"""`bioseg prepare folder` with OME-Zarr images among others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import Result
from conftest import discs
from helpers.models import write_image
from helpers.ome_zarr import write_ome_zarr, write_plate

from bioseg_cli.dataset.reader import Dataset

Bioseg = Callable[..., Result]


def test_ome_zarr_images_and_masks_are_those_of_tiffs(bioseg: Bioseg, tmp_path: Path) -> None:
    for number, zarr_format in enumerate((2, 3, None)):
        pixels, mask = discs(number)[0][0], discs(number)[1]
        for folder, content in (("images", pixels), ("masks", mask)):
            path = tmp_path / folder / f"{number}"
            path.parent.mkdir(exist_ok=True)
            if zarr_format is None:
                write_image(path.with_suffix(".tif"), content)
            else:
                write_ome_zarr(path.with_suffix(".zarr"), content, "yx", zarr_format=zarr_format)
    result = bioseg(
        *("prepare", "folder", "--images", tmp_path / "images", "--masks", tmp_path / "masks"),
        *("--out", tmp_path / "a.h5"),
    )
    assert result.exit_code == 0, result.output
    with Dataset(tmp_path / "a.h5") as dataset:
        assert dataset.labelled.sum() == 3
        found = {dataset.name(index): dataset.image(index)[0] for index in range(3)}
    assert any(np.array_equal(image, discs(0)[0][0]) for image in found.values())
    assert any(np.array_equal(image, discs(1)[0][0]) for image in found.values())


def test_a_plate_among_the_images_is_named_with_what_to_do(bioseg: Bioseg, tmp_path: Path) -> None:
    write_plate(tmp_path / "images" / "plate.zarr", {"A/1/0": discs(0)[0][0]})
    result = bioseg("prepare", "folder", "--images", tmp_path / "images", "--out", tmp_path / "a.h5")
    assert result.exit_code == 3 and "is a plate, and not one image" in result.stderr
