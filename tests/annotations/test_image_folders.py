"""A folder for each image, with one mask file per object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.drawn import SIDE, labels
from PIL import Image

from bioseg_cli.dataset.reader import Dataset


@pytest.fixture
def objects(blank_images: Path) -> Path:
    """The images, each in a folder of its own with the masks of two objects that touch."""
    root = blank_images.parent / "stage1_train"
    for image in blank_images.iterdir():
        (root / image.stem / "images").mkdir(parents=True)
        (root / image.stem / "masks").mkdir()
        image.rename(root / image.stem / "images" / image.name)
        for number, columns in enumerate((slice(3, 10), slice(10, 20))):
            write(root / image.stem / "masks" / f"{number}.png", columns)
    return root


def write(path: Path, *objects: slice, values: tuple[int, ...] = (255, 128), side: int = SIDE) -> None:
    pixels = np.zeros((side, side), dtype=np.uint8)
    for columns, value in zip(objects, values, strict=False):
        pixels[5:15, columns] = value
    Image.fromarray(pixels).save(path)


def run(bioseg, root: Path, *options: object):
    return bioseg("prepare", "folder", "--images", root, "--out", root.parent / "x.h5", *options)


def test_the_objects_of_a_folder_are_the_labels_of_its_image(bioseg, objects) -> None:
    for mask in (objects / "a5" / "masks").iterdir():
        mask.unlink()
    (objects / "a5" / "masks").rmdir()
    result = run(bioseg, objects, "--masks", objects)
    assert result.exit_code == 0, result.output
    dataset = Dataset(objects.parent / "x.h5")
    assert dataset.labelled.sum() == 5
    expected = np.zeros((SIDE, SIDE), dtype=np.uint8)
    expected[5:15, 3:20] = 1
    np.testing.assert_array_equal(labels(dataset, "a1"), expected)
    assert "10 'object'; where nothing is drawn is 'background'" in " ".join(result.output.split())


def test_without_masks_the_images_are_unlabelled(bioseg, objects) -> None:
    result = run(bioseg, objects)
    assert result.exit_code == 0, result.output
    assert not Dataset(objects.parent / "x.h5").labelled.any()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: write(root / "a0" / "masks" / "2.png"), "Mask 2.png holds no pixel"),
        (lambda root: write(root / "a0" / "masks" / "2.png", slice(1, 3), slice(30, 40)), "more than one object"),
        (lambda root: write(root / "a0" / "masks" / "2.png", slice(1, 3), side=65), "others of its image differ"),
        (
            lambda root: [write(path, slice(1, 3), side=65) for path in (root / "a0" / "masks").iterdir()],
            "The shapes were drawn on 65 x 65 pixels (height x width), and a0.tif has 64 x 64",
        ),
        (lambda root: write(root / "a0" / "images" / "2.png"), "The folder holds 2 images: 2.png, a0.tif in"),
        (lambda root: (root / "a0" / "images" / "a0.tif").unlink(), "The folder holds no images"),
        (lambda root: (root / "results").mkdir(), "The folder has no images/ in it"),
        (
            lambda root: (root / "a0" / "images" / "a0.tif").rename(root / "a0" / "images" / "a1.tif"),
            "2 images are called a1.tif",
        ),
    ],
)
def test_what_is_refused_names_the_file(bioseg, objects, spoil, said) -> None:
    spoil(objects)
    result = run(bioseg, objects, "--masks", objects)
    assert result.exit_code == 3, result.output
    assert said in " ".join(result.output.split())
