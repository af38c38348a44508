from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import yaml

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SIDE = 32


class Folder:
    """Two folders of images and masks, and what `prepare folder` makes of them."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks, self.out = root / "images", root / "masks", root / "set.h5"
        self.images.mkdir()
        self.masks.mkdir()

    def image(self, name: str, *, shape=(SIDE, SIDE), dtype=np.uint8) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        pixels = rng.integers(0, 200, shape).astype(dtype)
        iio.imwrite(self.images / name, pixels)
        return pixels

    def mask(self, name: str, *, shape=(SIDE, SIDE), value: int = 255) -> np.ndarray:
        mask = np.zeros(shape, dtype=np.uint8)
        mask[4:9, 5:12] = value
        iio.imwrite(self.masks / name, mask)
        return mask

    def fill(self, count: int = 6) -> None:
        for number in range(count):
            self.image(f"cell{number}.png")
            self.mask(f"cell{number}.png")

    def prepare(self, **settings: object) -> dict:
        values = {"images": self.images, "masks": self.masks, "out": self.out, **settings}
        return session.run(build_config(FolderConfig, values), ConsoleOutput(quiet=True), overwrite=False).to_json()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def write_pages(path: Path, pages: np.ndarray) -> None:
    tifffile.imwrite(path, pages, photometric="minisblack", metadata={"axes": "TYX"})


def by_file(path: Path, read: Callable[[Dataset, int], object]) -> dict[str, object]:
    with Dataset(path) as dataset:
        return {dataset.source(i).file: read(dataset, i) for i in range(dataset.size)}


def test_pixels_and_masks_arrive_unchanged(folder) -> None:
    folder.fill(5)
    pixels, mask = folder.image("late.png"), folder.mask("late.png")
    summary = folder.prepare()
    stored = by_file(folder.out, lambda dataset, i: (dataset.image(i), dataset.labels(i)))
    np.testing.assert_array_equal(stored["late.png"][0], pixels[None])
    np.testing.assert_array_equal(stored["late.png"][1], mask // 255)
    assert summary["images"] == {
        "train": {"labelled": 5, "unlabelled": 0},
        "val": {"labelled": 1, "unlabelled": 0},
        "test": {"labelled": 0, "unlabelled": 0},
    }
    assert summary["class_shares"]["train"]["foreground"] == pytest.approx(35 / SIDE**2)


def test_images_without_a_mask_are_unlabelled_and_empty_masks_are_not(folder) -> None:
    folder.fill()
    folder.image("nobody_drew.png")
    folder.image("nothing_there.png")
    iio.imwrite(folder.masks / "nothing_there.png", np.zeros((SIDE, SIDE), np.uint8))
    folder.prepare()
    labelled = by_file(folder.out, lambda dataset, i: bool(dataset.labelled[i]))
    assert labelled["nobody_drew.png"] is False
    assert labelled["nothing_there.png"] is True
    labels = by_file(folder.out, lambda dataset, i: set(np.unique(dataset.labels(i)).tolist()))
    assert labels["nobody_drew.png"] == {255}
    assert labels["nothing_there.png"] == {0}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.tif", "a.png"),
        ("a.png", "a_mask.png"),
        ("a.png", "a-Mask.tif"),
        ("a.png", "a_cp_masks.png"),
        ("a.png", "a_seg.png"),
        ("a.png", "a_labels.tif"),
        ("a_img.png", "a_mask.png"),
        ("t007.tif", "man_seg007.tif"),
        ("a.png", "mask_a.png"),
        ("07.tif", "labels00000007.png"),
        ("image_70.tif", "mask-70.png"),
    ],
)
def test_names_that_belong_together(folder, image, mask) -> None:
    folder.fill()
    folder.image(image)
    folder.mask(mask)
    summary = folder.prepare()
    assert sum(split["labelled"] for split in summary["images"].values()) == 7


@pytest.mark.parametrize(("image", "mask"), [("exp1_000.png", "mask_exp2_000.png"), ("B_9.png", "mask_C_9.png")])
def test_a_number_alone_pairs_no_names_that_differ(folder, image, mask) -> None:
    folder.fill()
    folder.image(image)
    folder.mask(mask)
    with pytest.raises(DataError, match=f"The mask has no image\nin .*{mask}"):
        folder.prepare()


def test_names_that_are_not_alike_are_paired_and_said(folder) -> None:
    folder.fill()
    folder.image("07.png")
    folder.mask("labels0007.png")
    (note,) = (note for note in folder.prepare()["notes"] if "names" in note)
    assert "1 of 7 names were paired though case, separators or leading zeros differ" in note
    assert note.endswith("such as labels0007.png with 07.png.")


def test_hidden_files_are_neither_images_nor_masks(folder) -> None:
    folder.fill()
    for name in ("._cell0.png", ".DS_Store", "Thumbs.db"):
        (folder.images / name).write_bytes(b"\0\5\x16\7")
        (folder.masks / name).write_bytes(b"\0\5\x16\7")
    assert folder.prepare()["images"]["train"] == {"labelled": 5, "unlabelled": 0}


def test_images_and_masks_in_one_folder(folder) -> None:
    for number in range(5):
        folder.image(f"c{number}.png")
        folder.masks = folder.images
        folder.mask(f"c{number}_mask.png")
    assert folder.prepare()["images"]["train"] == {"labelled": 4, "unlabelled": 0}


def test_masks_among_the_images_are_noticed(folder) -> None:
    folder.image("a.png")
    folder.image("a_mask.png")
    with pytest.raises(DataError, match=r"looks like a mask among the images\nin .*a_mask\.png"):
        folder.prepare(masks=None)


@pytest.mark.parametrize(("image", "mask"), [("a.png", "a_mask.png"), ("img_1.png", "mask_1.png")])
def test_masks_among_the_images_are_noticed_beside_a_folder_of_masks_too(folder, image, mask) -> None:
    folder.fill()
    folder.image(image)
    folder.image(mask)
    with pytest.raises(DataError, match=f"looks like a mask among the images\nin .*{mask}"):
        folder.prepare()
    with pytest.raises(DataError, match=f"looks like a mask among the images\nin .*{mask}"):
        folder.prepare(masks=None)


def test_images_that_are_called_like_masks_may_have_masks(folder) -> None:
    # A fluorescent label, and a genotype.
    for name in ("cell1_label", "gt_1"):
        folder.image(f"{name}.png")
        folder.mask(f"{name}_mask.png")
    folder.fill()
    counts = folder.prepare()["images"].values()
    assert sum(split["labelled"] for split in counts) == 8 and not any(split["unlabelled"] for split in counts)


def test_no_masks_at_all(folder) -> None:
    for number in range(5):
        folder.image(f"c{number}.png")
    summary = folder.prepare(masks=None)
    assert summary["images"]["train"] == {"labelled": 0, "unlabelled": 4}
    assert summary["images"]["val"] == {"labelled": 0, "unlabelled": 1}
    assert any("train-iic" in note for note in summary["notes"])


def test_masks_without_an_image_are_listed(folder) -> None:
    folder.fill()
    for name in ("x1.png", "x2.png"):
        folder.mask(name)
    with pytest.raises(DataError, match=r"2 of 14 files cannot be used: x1\.png, x2\.png \(The mask has no image\)"):
        folder.prepare()


def test_a_number_that_two_images_bear_pairs_nothing(folder) -> None:
    folder.fill()
    folder.image("x_50.png")
    folder.image("y_50.png")
    folder.mask("mask_50.png")
    with pytest.raises(DataError, match=r"The mask has no image\nin .*mask_50\.png"):
        folder.prepare()


def test_two_masks_of_one_image(folder) -> None:
    folder.fill()
    folder.mask("cell0_mask.png")
    with pytest.raises(DataError, match=r"cell0\.png and cell0_mask\.png are both named like cell0\.png"):
        folder.prepare()


def test_two_images_of_one_name(folder) -> None:
    folder.fill()
    folder.image("cell0.tif")
    with pytest.raises(DataError, match=r"cell0\.png and cell0\.tif are both named like cell0\.png"):
        folder.prepare()


def test_a_mask_of_another_shape(folder) -> None:
    folder.fill()
    folder.image("odd.png")
    folder.mask("odd.png", shape=(SIDE, SIDE + 2))
    with pytest.raises(DataError, match=r"The mask is 32 x 34 pixels, its image odd\.png 32 x 32 pixels"):
        folder.prepare()


@pytest.mark.parametrize(
    ("options", "found"),
    [({"dtype": np.uint16}, "1 channel of uint16"), ({"shape": (SIDE, SIDE, 3)}, "3 channels of uint8")],
)
def test_images_of_two_kinds(folder, options, found) -> None:
    folder.fill()
    folder.image("other.png", **options)
    with pytest.raises(DataError, match=f"has {found}, 6 of 7 images have 1 channel of uint8"):
        folder.prepare()


def test_images_of_several_sizes_are_padded_with_ignored_pixels(folder) -> None:
    folder.fill()
    folder.image("small.png", shape=(20, 24))
    folder.mask("small.png", shape=(20, 24))
    summary = folder.prepare()
    assert summary["image_shape"] == [1, SIDE, SIDE]
    assert any("padding" in note for note in summary["notes"])
    with Dataset(folder.out) as dataset:
        i = next(i for i in range(dataset.size) if dataset.source(i).file == "small.png")
        assert dataset.extent(i) == (slice(6, 26), slice(4, 28))
        labels = dataset.labels(i)
        assert (labels == 255).sum() == SIDE * SIDE - 20 * 24
        assert (labels[dataset.extent(i)] != 255).all()


def test_padding_does_not_enter_the_normalisation(folder) -> None:
    for number in range(5):
        iio.imwrite(folder.images / f"c{number}.png", np.full((SIDE - 4 * number, SIDE), 100 + number, np.uint8))
        folder.mask(f"c{number}.png", shape=(SIDE - 4 * number, SIDE))
    assert folder.prepare(normalize="minmax")["normalisation"]["low"][0] >= 100


def test_tiles(folder) -> None:
    folder.fill()
    summary = folder.prepare(crop=20, tile=True)
    assert sum(split["labelled"] for split in summary["images"].values()) == 6 * 4
    assert {area["share"] for area in summary["labelled_area"].values()} == {1}
    with Dataset(folder.out) as dataset:
        tiles = [i for i in range(dataset.size) if dataset.source(i).file == "cell0.png"]
        assert {dataset.split[i] for i in tiles} == {dataset.split[tiles[0]]}
        assert sum(int((dataset.labels(i) != 255).sum()) for i in tiles) == SIDE * SIDE
        # The tiles overlap, and a pixel is labelled in one of them; nothing is left without a label for that.
        assert [dataset.labelled_area(i) for i in tiles] == [(400, 400), (240, 240), (240, 240), (144, 144)]
        assert len({dataset.name(i) for i in tiles}) == 4


def test_tiles_of_images_smaller_than_a_tile_are_padded(folder) -> None:
    folder.fill()
    summary = folder.prepare(crop=SIDE + 8, tile=True)
    assert {area["share"] for area in summary["labelled_area"].values()} == {1}
    with Dataset(folder.out) as dataset:
        assert dataset.labelled_area(0) == (SIDE * SIDE, SIDE * SIDE)


def test_pages_are_frames_of_one_group(folder) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        masks = np.zeros((4, SIDE, SIDE), np.uint8)
        masks[:, 3:9, 3:9] = 1
        write_pages(folder.images / f"{name}.tif", rng.integers(0, 99, (4, SIDE, SIDE)).astype(np.uint8))
        write_pages(folder.masks / f"{name}.tif", masks)
    folder.prepare()
    with Dataset(folder.out) as dataset:
        assert dataset.size == 12
        for name in ("a", "b", "c"):
            assert len(set(dataset.split[dataset.group == name])) == 1
        assert [dataset.source(i).frame for i in range(4)] == [0, 1, 2, 3]


def test_a_mask_with_fewer_pages(folder) -> None:
    write_pages(folder.images / "a.tif", np.random.default_rng(0).integers(0, 9, (3, SIDE, SIDE), np.uint8))
    folder.mask("a.tif", value=1)
    with pytest.raises(DataError, match="3 frames of 32 x 32"):
        folder.prepare()


def test_a_mask_of_other_time_points_and_planes(folder) -> None:
    for place, shape in ((folder.images, (2, 3, SIDE, SIDE)), (folder.masks, (3, 2, SIDE, SIDE))):
        pages = np.random.default_rng(0).integers(0, 2, shape, np.uint8)
        tifffile.imwrite(place / "a.tif", pages, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match=r"The mask has 3 time points of 2 planes, its image a\.tif 2 time points of 3"):
        folder.prepare(planes=True, split_by="random")


def test_groups_by_name_stay_together(folder) -> None:
    for number in range(12):
        folder.image(f"mouse{number // 3}_{number}.png")
        folder.mask(f"mouse{number // 3}_{number}.png")
    folder.prepare(group_by=r"(mouse\d+)_")
    with Dataset(folder.out) as dataset:
        assert set(dataset.group) == {"mouse0", "mouse1", "mouse2", "mouse3"}
        for group in set(dataset.group):
            assert len(set(dataset.split[dataset.group == group])) == 1


def test_a_name_in_which_the_first_group_takes_no_part_is_of_the_whole_match(folder) -> None:
    for name in ("plate1_a", "plate1_b", "plate2_a", "control_a", "control_b"):
        folder.image(f"{name}.png")
        folder.mask(f"{name}.png")
    folder.prepare(group_by=r"plate(\d+)|control")
    with Dataset(folder.out) as dataset:
        assert list(dataset.group) == ["control", "control", "1", "1", "2"]


def test_a_random_split_across_groups_warns_even_when_quiet(folder, capsys) -> None:
    folder.fill()
    folder.prepare(group_by="cell", split_by="random")
    assert "Warning: images of one group train and are scored (cell)" in capsys.readouterr().err


def test_group_expression_that_misses_a_name(folder) -> None:
    folder.fill()
    with pytest.raises(DataError, match="does not match the name"):
        folder.prepare(group_by="mouse")


def test_classes_with_names(folder) -> None:
    for number in range(5):
        folder.image(f"c{number}.png")
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[::4] = 1
        mask[2::4] = 2
        iio.imwrite(folder.masks / f"c{number}.png", mask)
    summary = folder.prepare(classes="outside,cell,nucleus")
    assert summary["classes"] == ["outside", "cell", "nucleus"]
    with Dataset(folder.out) as dataset:
        np.testing.assert_array_equal(dataset.labels(0), mask)


def test_rgb_masks_with_equal_channels_are_grey(folder) -> None:
    for number in range(5):
        folder.image(f"c{number}.png")
        mask = np.zeros((SIDE, SIDE, 3), np.uint8)
        mask[3:9, 3:9] = 255
        iio.imwrite(folder.masks / f"c{number}.png", mask)
    assert "recognised as binary" in folder.prepare()["masks"]


def test_numbered_objects_become_foreground(folder) -> None:
    for number in range(5):
        folder.image(f"c{number}.png")
        mask = np.kron(np.arange(16).reshape(4, 4), np.pad(np.ones((6, 6)), 1)).astype(np.uint16)
        iio.imwrite(folder.masks / f"c{number}.png", mask)
    summary = folder.prepare()
    assert "every numbered object is 'foreground'" in summary["masks"]
    with Dataset(folder.out) as dataset:
        np.testing.assert_array_equal(dataset.labels(0), mask > 0)
        np.testing.assert_array_equal(dataset.objects(0), mask)


def test_tiles_keep_the_numbers_of_objects_and_class_masks_have_none(folder) -> None:
    for number in range(6):
        folder.image(f"c{number}.png")
        mask = np.kron(np.arange(16).reshape(4, 4), np.ones((8, 8))).astype(np.uint16)
        iio.imwrite(folder.masks / f"c{number}.png", mask)
    folder.prepare(masks_are="instances", crop=20, split_by="group")
    with Dataset(folder.out) as dataset:
        for index in range(dataset.size):
            row, column = dataset.source(index).origin
            np.testing.assert_array_equal(dataset.objects(index), mask[row : row + 20, column : column + 20])
    folder.out = folder.out.with_name("classes.h5")
    folder.prepare(masks_are="binary")
    with Dataset(folder.out) as dataset:
        assert not dataset.numbers_objects


def test_pixel_size_is_kept_where_all_agree(folder) -> None:
    folder.fill(4)
    for path in folder.images.iterdir():
        pixels = iio.imread(path)
        path.unlink()
        tifffile.imwrite(
            path.with_suffix(".tif"), pixels, imagej=True, resolution=(1 / 0.5, 1 / 0.25), metadata={"unit": "um"}
        )
    summary = folder.prepare()
    assert (summary["pixel_size"]["y"], summary["pixel_size"]["x"]) == (0.25, 0.5)


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_no_such_folder(folder, missing) -> None:
    folder.fill()
    with pytest.raises(DataError, match="no such folder"):
        folder.prepare(**{missing: folder.out.parent / "nowhere"})


def test_empty_folders(folder) -> None:
    with pytest.raises(DataError, match="holds no images"):
        folder.prepare()
    folder.image("a.png")
    with pytest.raises(DataError, match="holds no images"):
        folder.prepare()


@pytest.mark.parametrize(
    ("labelled", "counts", "said"),
    [
        (1, (1, 0, 0), "1 labelled image: with so few, none is held back for validation and for a test"),
        (4, (4, 0, 0), "4 labelled images: with so few, none is held back for validation and for a test"),
        (5, (4, 1, 0), "5 labelled images: with so few, none is held back for a test"),
        (9, (7, 2, 0), "9 labelled images: with so few, none is held back for a test"),
        (10, (6, 2, 2), None),
    ],
)
def test_few_labelled_images_are_not_spent_on_splits(folder, labelled, counts, said) -> None:
    folder.fill(labelled)
    folder.image("unlabelled.png")
    summary = folder.prepare()
    assert tuple(summary["images"][split]["labelled"] for split in ("train", "val", "test")) == counts
    assert summary["images"]["train"]["unlabelled"] == 1
    notes = [note for note in summary["notes"] if "held back" in note]
    assert [note.split(", all")[0] for note in notes] == ([] if said is None else [said])


def test_shares_that_are_asked_for_are_taken(folder) -> None:
    folder.fill(4)
    summary = folder.prepare(val_share=0.25, test_share=0.25)
    assert [summary["images"][split]["labelled"] for split in ("train", "val", "test")] == [2, 1, 1]


def test_a_data_set_of_few_labels_is_made_again_from_its_record(folder) -> None:
    folder.fill(3)
    first = folder.prepare()["content_hash"]
    record = yaml.safe_load(folder.out.with_suffix(".yaml").read_text())
    assert (record["config"]["val_share"], record["config"]["test_share"]) == (0, 0)
    again = FolderConfig.model_validate({**record["config"], "out": folder.out.with_name("again.h5")})
    assert session.run(again, ConsoleOutput(quiet=True), overwrite=False).content_hash == first


def test_all_training_masks_empty(folder) -> None:
    for number in range(8):
        folder.image(f"c{number}.png")
        iio.imwrite(folder.masks / f"c{number}.png", np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match="All masks are empty"):
        folder.prepare()


def test_masks_of_deliberate_errors(folder) -> None:
    folder.fill()
    wrong = folder.masks.parent / "01_ERR_SEG"
    folder.masks.rename(wrong)
    with pytest.raises(DataError, match="deliberately wrong"):
        folder.prepare(masks=wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("one",)}, "at least two"),
        ({"classes": "a,a"}, "a name of its own"),
        ({"group_by": "("}, "not a regular expression"),
        ({"masks": None, "masks_are": "binary"}, "need --masks"),
        ({"tile": True}, "give --crop"),
        ({"val_share": 0.6, "test_share": 0.5}, "leave nothing to train on"),
        ({"out": "set.hdf"}, r"ends in \.h5"),
        ({"unlabelled_value": "9" * 30}, "--unlabelled-value"),
    ],
)
def test_settings_that_contradict(folder, settings, message) -> None:
    with pytest.raises(UsageError, match=message):
        folder.prepare(**settings)
