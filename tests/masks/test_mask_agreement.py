"""Folders whose masks do not speak one language: 0/1 beside 0/255, palettes of another order, colours beside greys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.masks.mask_file import mask_traits, read_mask
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SIDE = 40
BLACK, RED, GREEN, WHITE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)


def blocks(number: int, classes: int = 1) -> np.ndarray:
    """Blocks of 4 x 4 pixels of classes 1 to `classes`, in places of their own for each number."""
    order = np.random.default_rng(number).permutation(64)
    codes = np.zeros(64, dtype=np.uint8)
    codes[order[:20]] = 1 + np.arange(20) % classes
    return np.kron(codes.reshape(8, 8), np.pad(np.ones((4, 4), np.uint8), ((0, 1), (0, 1))))


def values(mask: np.ndarray, *of: int, dtype=np.uint8) -> np.ndarray:
    """The mask with 0, 1, ... replaced."""
    return np.array((0, *of), dtype=dtype)[mask]


def painted(mask: np.ndarray, *colours: tuple[int, int, int]) -> np.ndarray:
    return np.array((BLACK, *colours), dtype=np.uint8)[mask]


def write_palette(path: Path, indices: np.ndarray, *colours: tuple[int, int, int], **options: object) -> None:
    """A palette file of such colours for index 0, 1, ..."""
    if path.suffix == ".tif":
        table = np.zeros((3, 256), dtype=np.uint16)
        table[:, : len(colours)] = np.array(colours).T * 257
        tifffile.imwrite(path, indices, photometric="palette", colormap=table)
        return
    image = Image.fromarray(indices, "L").copy()
    picture = Image.new("P", image.size)
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.putdata(indices.reshape(-1).tolist())
    picture.save(path, **options)


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir()
        (root / "masks").mkdir()

    def write(self, *writers: Callable[[Path, int], None]) -> None:
        """Six images; mask N is written by writer N, in turn, to a path without suffix."""
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 200, (SIDE, SIDE)).astype(np.uint8)
            Image.fromarray(noise).save(self.root / f"images/m{number}.png")
            writers[number % len(writers)](self.root / f"masks/m{number}", number)

    def prepare(self, **settings: object) -> dict:
        paths = {"images": self.root / "images", "masks": self.root / "masks", "out": self.root / "set.h5"}
        return session.run(
            build_config(FolderConfig, {**paths, **settings}), ConsoleOutput(quiet=True), overwrite=True
        ).to_json()

    def labels(self) -> dict[int, np.ndarray]:
        with Dataset(self.root / "set.h5") as dataset:
            return {int(dataset.source(i).file[1]): dataset.labels(i) for i in range(dataset.size)}

    def refused(self, **settings: object) -> str:
        with pytest.raises(DataError) as caught:
            self.prepare(**settings)
        return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def png(draw: Callable[[int], np.ndarray]) -> Callable[[Path, int], None]:
    return lambda path, number: Image.fromarray(draw(number)).save(path.with_suffix(".png"))


def tif(draw: Callable[[int], np.ndarray]) -> Callable[[Path, int], None]:
    return lambda path, number: tifffile.imwrite(path.with_suffix(".tif"), draw(number), photometric="minisblack")


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "other"), [(1, 255), (1, 128), (128, 255)])
def test_two_codings_of_an_object_are_asked_about(folder, first, other) -> None:
    folder.write(png(lambda number: values(blocks(number), first)), png(lambda number: values(blocks(number), other)))
    message = folder.refused()
    assert "The masks contradict each other" in message
    for part in (f"0, {first} in 3 masks (such as m0.png)", f"0, {other} in 3 masks (such as m1.png)"):
        assert part in message
    assert "--masks-are binary" in message
    folder.prepare(masks_are="binary")
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number))


def test_numbers_beside_greys_of_classes(folder) -> None:
    folder.write(png(lambda number: blocks(number, 2)), png(lambda number: values(blocks(number, 2), 127, 255)))
    message = folder.refused()
    assert "0, 1, 2 in 3 masks (such as m0.png)" in message
    assert "0, 127, 255 in 3 masks (such as m1.png)" in message
    folder.prepare(masks_are="binary")
    np.testing.assert_array_equal(folder.labels()[1], blocks(1, 2) > 0)


def test_the_full_scale_of_each_type_is_the_object(folder) -> None:
    folder.write(
        png(lambda number: values(blocks(number), 255)),
        tif(lambda number: values(blocks(number), 65535, dtype=np.uint16)),
        png(lambda number: blocks(number) > 0),
        tif(lambda number: blocks(number) > 0),
        lambda path, number: Image.fromarray(blocks(number) > 0).save(path.with_suffix(".bmp")),
    )
    assert "values 1, 255, 65535 is 'foreground'" in folder.prepare()["masks"]
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number))


def with_border(mask: np.ndarray, value: int) -> np.ndarray:
    mask = mask.copy()
    mask[:, :3] = mask[:, -3:] = value
    return mask


@pytest.mark.parametrize("classes", [1, 2])
def test_255_beside_numbers_in_a_mask_is_ignored_also_where_it_stands_alone(folder, classes) -> None:
    folder.write(
        png(lambda number: with_border(blocks(number, classes), 255)),
        png(lambda number: blocks(number, classes)),
        png(lambda number: with_border(np.zeros((SIDE, SIDE), np.uint8), 255)),
    )
    assert "255 is ignored" in folder.prepare()["masks"]
    labels = folder.labels()
    np.testing.assert_array_equal(labels[0], with_border(blocks(0, classes), 255))
    np.testing.assert_array_equal(labels[2], with_border(np.zeros((SIDE, SIDE), np.uint8), 255))


def test_one_class_a_file_is_no_contradiction(folder) -> None:
    folder.write(png(blocks), png(lambda number: 2 * blocks(number)))
    assert folder.prepare()["classes"] == ["background", "class 1", "class 2"]


def test_objects_numbered_on_from_file_to_file(folder) -> None:
    def numbered(number: int) -> np.ndarray:
        places = np.kron(np.arange(64).reshape(8, 8), np.pad(np.ones((4, 4), int), ((0, 1), (0, 1))))
        return np.where(blocks(number) > 0, places + 100 * number, 0).astype(np.uint16)

    folder.write(tif(numbered))
    assert "recognised as instances" in folder.prepare()["masks"]


def test_white_beside_blue_is_another_colour(folder) -> None:
    folder.write(
        png(lambda number: painted(blocks(number), (0, 0, 255))), png(lambda number: values(blocks(number), 255))
    )
    assert "are coloured" in folder.refused()


@pytest.mark.parametrize("other", [lambda number: blocks(number, 2), lambda number: values(blocks(number), 255)])
def test_greys_beside_colours(folder, other) -> None:
    folder.write(png(lambda number: painted(blocks(number, 2), RED, GREEN)), png(other))
    message = folder.refused()
    assert "3 masks (such as m0.png) are coloured, 3 masks (such as m1.png) are grey" in message
    assert "--masks-are binary" in message
    folder.prepare(masks_are="binary")
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number) > 0)


# Palettes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palettes_that_agree_give_classes_their_colours(folder, suffix) -> None:
    folder.write(
        lambda path, number: write_palette(path.with_suffix(suffix), blocks(number, 2), BLACK, RED, GREEN),
        # What no pixel uses is no contradiction.
        lambda path, number: write_palette(path.with_suffix(suffix), blocks(number, 2), BLACK, RED, GREEN, WHITE, RED),
    )
    folder.prepare()
    with Dataset(folder.root / "set.h5") as dataset:
        assert [(info.name, info.colour) for info in dataset.info.classes] == [
            ("background", BLACK),
            ("class 1", RED),
            ("class 2", GREEN),
        ]
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number, 2))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palettes_of_another_order_are_read_by_colour(folder, suffix) -> None:
    def turned(path: Path, number: int) -> None:
        write_palette(path.with_suffix(suffix), np.array([1, 0, 2], np.uint8)[blocks(number, 2)], RED, BLACK, GREEN)

    folder.write(
        lambda path, number: write_palette(path.with_suffix(suffix), blocks(number, 2), BLACK, RED, GREEN), turned
    )
    summary = folder.prepare()
    assert "the palettes differ from file to file, so the colours decide and not the indices" in summary["masks"]
    assert summary["classes"] == ["background", "#00ff00", "#ff0000"]
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, np.array([0, 2, 1])[blocks(number, 2)])
    folder.prepare(masks_are="binary")
    np.testing.assert_array_equal(folder.labels()[1], blocks(1, 2) > 0)
    folder.prepare(masks_are="classes")
    np.testing.assert_array_equal(folder.labels()[1], np.array([1, 0, 2])[blocks(1, 2)])


def test_palettes_that_contradict_each_other_are_asked_about(folder) -> None:
    folder.write(
        lambda path, number: write_palette(path.with_suffix(".png"), blocks(number), BLACK, RED),
        lambda path, number: write_palette(path.with_suffix(".png"), blocks(number), BLACK, GREEN),
    )
    message = folder.refused()
    assert "index 1 is #ff0000 in m0.png and #00ff00 in m1.png" in message
    for kind in ("colours", "classes"):
        assert f"--masks-are {kind}" in message
    assert folder.prepare(masks_are="colours")["classes"] == ["background", "#00ff00", "#ff0000"]
    for kind in ("classes", "binary"):
        folder.prepare(masks_are=kind)
        np.testing.assert_array_equal(folder.labels()[1], blocks(1))


def test_colours_of_palettes_that_agree(folder) -> None:
    folder.write(lambda path, number: write_palette(path.with_suffix(".png"), blocks(number, 2), BLACK, RED, GREEN))
    assert folder.prepare(masks_are="colours")["classes"] == ["background", "#00ff00", "#ff0000"]
    np.testing.assert_array_equal(folder.labels()[3], np.array([0, 2, 1])[blocks(3, 2)])


def test_palettes_beside_colours(folder) -> None:
    folder.write(
        lambda path, number: write_palette(path.with_suffix(".png"), blocks(number, 2), BLACK, RED, GREEN),
        png(lambda number: painted(blocks(number, 2), RED, GREEN)),
    )
    summary = folder.prepare()
    assert "palettes are read by colour, since other masks are coloured" in summary["masks"]
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, np.array([0, 2, 1])[blocks(number, 2)])


def test_a_palette_of_greys_is_grey(folder) -> None:
    ramp = [(level, level, level) for level in range(256)]
    folder.write(
        lambda path, number: write_palette(path.with_suffix(".png"), values(blocks(number), 255), *ramp),
        lambda path, number: write_palette(path.with_suffix(".tif"), values(blocks(number), 255), *ramp),
        # Not a ramp, but black and white are all that is used.
        lambda path, number: write_palette(path.with_suffix(".png"), blocks(number), BLACK, WHITE, RED),
        png(lambda number: values(blocks(number), 255)),
    )
    assert "value 255 is 'foreground'" in folder.prepare()["masks"]
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number))


def test_a_short_ramp_of_greys_gives_its_greys(tmp_path) -> None:
    ramp = [(level, level, level) for level in (0, 85, 170, 255)]
    write_palette(tmp_path / "m.png", blocks(0, 3), *ramp)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), values(blocks(0, 3), 85, 170, 255))
    assert mask_traits(tmp_path / "m.png").palette is None


def test_a_palette_from_white_to_black_is_asked_about(folder) -> None:
    folder.write(lambda path, number: write_palette(path.with_suffix(".png"), blocks(number), WHITE, BLACK, RED))
    assert "shows index 1 darker than index 0" in folder.refused()
    folder.prepare(masks_are="binary")
    np.testing.assert_array_equal(folder.labels()[0], blocks(0))
    assert folder.prepare(masks_are="colours")["classes"] == ["background", "#ffffff"]
    np.testing.assert_array_equal(folder.labels()[0], 1 - blocks(0))


def test_what_is_transparent_has_no_colour(folder) -> None:
    folder.write(
        lambda path, number: write_palette(
            path.with_suffix(".png"), blocks(number, 2), WHITE, RED, GREEN, transparency=0
        ),
        lambda path, number: write_palette(
            path.with_suffix(".png"), blocks(number, 2), GREEN, RED, GREEN, transparency=bytes([0, 128, 255])
        ),
    )
    folder.prepare()
    for number, labels in folder.labels().items():
        np.testing.assert_array_equal(labels, blocks(number, 2))
    assert mask_traits(folder.root / "masks/m0.png").palette == mask_traits(folder.root / "masks/m1.png").palette


def test_pages_of_a_palette_tiff(tmp_path) -> None:
    pages = np.stack([blocks(number, 2) for number in range(3)])
    table = np.zeros((3, 256), dtype=np.uint16)
    table[:, 1] = 65535, 0, 0
    tifffile.imwrite(tmp_path / "m.tif", pages, photometric="palette", colormap=table, metadata={"axes": "TYX"})
    for number in range(3):
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", number), pages[number])


# Scores ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def score(bioseg, tmp_path):
    def run(*arguments: object) -> dict:
        result = bioseg("evaluate", "--json", "--predictions", tmp_path / "p", "--truth", tmp_path / "t", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["runs"][0]

    return run


def write_both(root: Path, truth: list[Callable[[Path, int], None]], predicted: list[Callable[[Path, int], None]]):
    for name, writers in (("t", truth), ("p", predicted)):
        (root / name).mkdir()
        for number in range(4):
            writers[number % len(writers)](root / name / f"m{number}", number)


def test_codings_of_an_object_in_truth_and_predictions(tmp_path, bioseg, score) -> None:
    mixed = [png(blocks), png(lambda number: values(blocks(number), 255))]
    write_both(tmp_path, mixed, list(reversed(mixed)))
    refused = bioseg("evaluate", "--predictions", tmp_path / "p", "--truth", tmp_path / "t")
    assert refused.exit_code == 3
    assert "0, 1 in 2 masks (such as m0.png), 0, 255 in 2 masks (such as m1.png)" in refused.stderr
    assert score("--masks-are", "binary")["mean_iou"] == 1


def test_predictions_of_two_codings_of_classes_are_refused(tmp_path, bioseg) -> None:
    classes = png(lambda number: blocks(number, 2))
    write_both(tmp_path, [classes], [classes, png(lambda number: values(blocks(number, 2), 127, 255))])
    refused = bioseg("evaluate", "--predictions", tmp_path / "p", "--truth", tmp_path / "t")
    assert refused.exit_code == 3
    assert "hold 0, 1, 2, 127, 255" in refused.stderr


def straight(path: Path, number: int) -> None:
    write_palette(path.with_suffix(".png"), blocks(number, 2), BLACK, RED, GREEN)


def turned(path: Path, number: int) -> None:
    write_palette(path.with_suffix(".png"), np.array([1, 2, 0], np.uint8)[blocks(number, 2)], GREEN, BLACK, RED)


COLOURED = png(lambda number: painted(blocks(number, 2), RED, GREEN))


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        ([straight], [turned]),
        ([straight], [straight, turned]),
        ([straight, turned], [straight]),
        ([straight, turned], [COLOURED]),
        ([COLOURED], [turned]),
        ([straight], [png(lambda number: blocks(number, 2))]),
    ],
)
def test_palettes_of_truth_and_predictions(tmp_path, score, truth, predicted) -> None:
    write_both(tmp_path, truth, predicted)
    found = score()
    assert found["mean_iou"] == 1
    assert len(found["iou"]) == 3


def test_palettes_of_objects(tmp_path, score) -> None:
    write_both(
        tmp_path,
        [png(blocks)],
        [
            lambda path, number: write_palette(path.with_suffix(".png"), blocks(number), BLACK, RED),
            lambda path, number: write_palette(path.with_suffix(".png"), 1 - blocks(number), RED, BLACK),
        ],
    )
    found = score()
    assert found["mean_iou"] == 1
    assert any("so the colours decide" in note for note in found["notes"])


def test_predicted_palettes_that_contradict_each_other(tmp_path, bioseg) -> None:
    write_both(
        tmp_path,
        [png(lambda number: blocks(number, 2))],
        [straight, lambda path, number: write_palette(path.with_suffix(".png"), blocks(number, 2), BLACK, WHITE, RED)],
    )
    refused = bioseg("evaluate", "--predictions", tmp_path / "p", "--truth", tmp_path / "t")
    assert refused.exit_code == 3
    assert "The palettes of the predicted masks differ" in refused.stderr
