"""The picture of a data set: it shows images of every split, class colours, outlines, and what is ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.prepare.picture import GAP, LINE, STRIPE_COLOUR, write_picture

BLUE, PINK = (0, 60, 200), (250, 0, 120)
CLASSES = tuple(
    ClassInfo(name=name, colour=colour) for name, colour in [("ground", (9, 9, 9)), ("µ", BLUE), ("x" * 300, PINK)]
)


def draw(
    folder: Path, splits: tuple[str, ...], *, labels: np.ndarray | None, channels: int = 1, shape: tuple[int, int]
) -> np.ndarray:
    """The picture (H, W, 3) of a data set whose images rise from left to right, all with the same labels."""
    image = np.broadcast_to(np.linspace(0, 200, shape[1]).astype(np.uint8), (channels, *shape))
    with DatasetWriter(folder / "d.h5", count=len(splits), image_shape=image.shape, image_dtype="uint8") as writer:
        for index, split in enumerate(splits):
            writer.add(Item(image, labels, split, "g", ItemSource(f"{index}.tif", "", 0, (0, 0), shape)))
        writer.finish(DatasetInfo("r", {}, CLASSES, Normalisation("minmax", (0.0,) * channels, (200.0,) * channels)))
    with Dataset(folder / "d.h5") as dataset:
        write_picture(folder / "d.png", dataset)
    return np.asarray(Image.open(folder / "d.png"))


def panel(picture: np.ndarray, row: int, column: int, shape: tuple[int, int] = (300, 300)) -> np.ndarray:
    top = GAP + 2 * LINE + row * (shape[0] + GAP)
    left = GAP + column * (shape[1] + GAP)
    return picture[top : top + shape[0], left : left + shape[1]].astype(int)


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_column_shows_the_image_its_labels_and_the_outlines(tmp_path: Path, channels: int) -> None:
    labels = np.zeros((600, 600), np.uint8)
    labels[100:300, 100:300], labels[400:, 400:], labels[:100, 500:] = 1, 2, 255
    picture = draw(tmp_path, ("train", "val"), labels=labels, channels=channels, shape=(600, 600))
    image, colours, outlined = (panel(picture, row, 0) for row in range(3))
    assert image[0, 0, 0] == 0
    assert image[150, 299, 0] == 255
    assert np.ptp(image, axis=-1).max() == 0
    assert (is_colour(colours, BLUE) == (labels[1::2, 1::2] == 1)).all()
    assert is_colour(colours, PINK)[200:, 200:].all()
    ignored = labels[1::2, 1::2] == 255
    for striped in (colours, outlined):
        assert 0.2 < is_colour(striped, STRIPE_COLOUR)[ignored].mean() < 0.4
        assert not is_colour(striped, STRIPE_COLOUR)[~ignored][: 300 * 100].all()
    outline = is_colour(outlined, BLUE)
    assert outline[49:51, 60:140].all()
    assert not outline[60:140, 60:140].any()
    np.testing.assert_array_equal(outlined[60:140, 60:140], image[60:140, 60:140])


def test_small_images_are_enlarged_without_smoothing(tmp_path: Path) -> None:
    labels = np.arange(40 * 40).reshape(40, 40) % 2
    image = panel(draw(tmp_path, ("train",), labels=labels, shape=(40, 40)), 0, 0, (280, 280))
    np.testing.assert_array_equal(image, np.repeat(np.repeat(image[::7, ::7], 7, axis=0), 7, axis=1))
    assert len(np.unique(image)) == 40


@pytest.mark.parametrize(
    ("splits", "columns"),
    [
        (("train",) * 20 + ("val",) * 9 + ("test",) * 2, 6),
        (("train",) * 20 + ("val",), 4),
        (("train",) * 20, 6),
        (("train", "test"), 2),
    ],
)
def test_every_split_has_its_columns(tmp_path: Path, splits: tuple[str, ...], columns: int) -> None:
    picture = draw(tmp_path, splits, labels=np.ones((30, 100), np.uint8), shape=(30, 100))
    assert picture.shape[1] == GAP + columns * (300 + GAP)


def test_images_without_a_mask_stand_alone(tmp_path: Path) -> None:
    picture = draw(tmp_path, ("train",) * 3, labels=None, shape=(300, 300))
    assert panel(picture, 0, 2)[0, 299, 0] == 255
    assert len(picture) < GAP + 2 * LINE + 2 * 300


def test_prepare_draws_it_beside_the_data_set(tmp_path: Path, bioseg: Callable[..., Result]) -> None:
    arguments = ("prepare", "demo", "--images", 6, "--size", 64, "--quiet", "--out", tmp_path / "d.h5")
    plain = bioseg(*arguments)
    assert plain.exit_code == 0, plain.output
    assert not (tmp_path / "d.png").exists()
    with Dataset(tmp_path / "d.h5") as dataset:
        content_hash = dataset.content_hash
    drawn = bioseg(*arguments, "--picture", "--overwrite")
    assert drawn.exit_code == 0, drawn.output
    assert str(tmp_path / "d.png") in drawn.output
    with Dataset(tmp_path / "d.h5") as dataset:
        assert dataset.content_hash == content_hash
    (tmp_path / "d.h5").unlink()
    (tmp_path / "d.yaml").unlink()
    refused = bioseg(*arguments, "--picture")
    assert refused.exit_code == 2
    assert "d.png" in refused.output
