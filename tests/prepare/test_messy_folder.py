"""A folder of ordinary mess: everything that is wrong with it is said at once, and the rest can be used."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from click.testing import Result

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.images import inspect_image
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.prepare.rejected import FilesRejected
from bioseg_cli.prepare.result import PreparationResult
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SIDE = 32
GOOD = tuple(f"good{number}" for number in range(8))


def pixels(seed: int, shape: tuple[int, ...] = (SIDE, SIDE), dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


def mask(value: int = 255, side: int = SIDE) -> np.ndarray:
    drawn = np.zeros((side, side), np.uint8)
    drawn[4:9, 5:12] = value
    return drawn


class Mess:
    """Folders of images and masks, good ones and others."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks, self.out = root / "images", root / "masks", root / "set.h5"
        self.images.mkdir()
        self.masks.mkdir()

    def add(self, name: str, image: np.ndarray | None = None, drawn: np.ndarray | None = None) -> None:
        image = pixels(sum(name.encode())) if image is None else image
        for folder in (self.images, self.masks):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(self.images / f"{name}.tif", image)
        iio.imwrite(self.masks / f"{name}_mask.png", mask() if drawn is None else drawn)

    def fill(self) -> None:
        for name in GOOD:
            self.add(name)

    def prepare(self, **settings: object) -> PreparationResult:
        values = {"images": self.images, "masks": self.masks, "out": self.out, **settings}
        return session.run(build_config(FolderConfig, values), ConsoleOutput(quiet=True), overwrite=False)

    def rejected(self, **settings: object) -> dict[tuple[str, str], str]:
        """The reason for each file that cannot be used."""
        with pytest.raises(FilesRejected) as caught:
            self.prepare(**settings)
        assert not self.out.exists()
        return {(file.kind, file.name): file.reason for file in caught.value.files}

    def labelled(self) -> dict[str, bool]:
        """Of each stored file, whether it has labels."""
        with Dataset(self.out) as dataset:
            return {dataset.source(i).file: bool(dataset.labelled[i]) for i in range(dataset.size)}

    def settings(self) -> dict[str, object]:
        with Dataset(self.out) as dataset:
            return dict(dataset.info.settings)


@pytest.fixture
def mess(tmp_path: Path) -> Mess:
    return Mess(tmp_path)


def spoil(mess: Mess) -> dict[tuple[str, str], str]:
    """Put everything that goes wrong into the folders; returns what has to be said of which file."""
    mess.fill()
    for name in ("corrupt", "cut", "small_mask", "empty", "twice", "value", "no_mask_file"):
        mess.add(name)
    corrupt = mess.images / "corrupt.tif"
    corrupt.write_bytes(corrupt.read_bytes()[: -SIDE * SIDE])
    (mess.images / "cut.tif").unlink()
    iio.imwrite(mess.images / "cut.png", pixels(99))
    content = (mess.images / "cut.png").read_bytes()
    (mess.images / "cut.png").write_bytes(content[: len(content) // 2])
    iio.imwrite(mess.masks / "small_mask_mask.png", mask(side=SIDE - 4))
    iio.imwrite(mess.masks / "nobody_mask.png", mask())
    mess.add("unlabelled")
    (mess.masks / "unlabelled_mask.png").unlink()
    mess.add("colour", pixels(5, (SIDE, SIDE, 3), np.uint8))
    mess.add("eight_bits", pixels(6, dtype=np.uint8))
    (mess.images / "plate.oir").write_bytes(b"OLYMPUSRAWFORMAT")
    (mess.images / "scan.n5").mkdir()
    (mess.images / "scan.n5" / "0.png").write_bytes(b"")
    (mess.images / "empty.tif").write_bytes(b"")
    iio.imwrite(mess.images / "twice.png", pixels(7))
    iio.imwrite(mess.masks / "value_mask.png", np.where(np.eye(SIDE) > 0, 7, mask()).astype(np.uint8))
    (mess.masks / "no_mask_file_mask.png").write_bytes(b"no picture")
    for silent in ("notes.txt", "table.csv", ".DS_Store", "Thumbs.db", ".hidden.tif"):
        (mess.images / silent).write_bytes(b"\0")
        (mess.masks / silent).write_bytes(b"\0")
    return {
        ("image", "colour.tif"): "has 3 channels of uint8, 14 of 16 images have 1 channel of uint16",
        ("image", "corrupt.tif"): "",
        ("image", "cut.png"): "could not be read",
        ("image", "eight_bits.tif"): "has 1 channel of uint8",
        ("image", "empty.tif"): "The file is empty",
        ("image", "plate.oir"): "an Olympus file, which is not read",
        ("image", "scan.n5"): "N5",
        ("image", "twice.png"): "twice.png and twice.tif are both named like twice_mask.png",
        ("image", "twice.tif"): "twice.png and twice.tif are both named like twice_mask.png",
        ("mask", "no_mask_file_mask.png"): "could not be read",
        ("mask", "nobody_mask.png"): "The mask has no image",
        ("mask", "small_mask_mask.png"): "The mask is 28 x 28 pixels, its image small_mask.tif 32 x 32 pixels",
        ("mask", "value_mask.png"): "The mask holds the value 7; the other masks hold 0, 255 alone",
    }


def test_every_file_that_does_not_fit_is_named_at_once_and_no_other(mess: Mess) -> None:
    said = spoil(mess)
    found = mess.rejected()
    assert set(found) == set(said)
    for file, reason in found.items():
        assert said[file] in reason


def test_the_rest_can_be_used_and_the_data_set_says_what_is_missing(mess: Mess) -> None:
    said = spoil(mess)
    result = mess.prepare(skip_bad=True)
    assert {(file.kind, file.name) for file in result.left_out} == set(said)
    # An image whose mask cannot be used has no label, as one without a mask.
    without = {"unlabelled.tif": False, "small_mask.tif": False, "value.tif": False, "no_mask_file.tif": False}
    assert mess.labelled() == {**{f"{name}.tif": True for name in GOOD}, **without}
    assert result.classes == ("background", "foreground")
    recorded = mess.settings()["left_out"]
    assert isinstance(recorded, list) and {(entry["kind"], entry["file"]) for entry in recorded} == set(said)
    assert all(set(entry) == {"file", "kind", "reason"} for entry in recorded)
    assert str(mess.images.parent) not in json.dumps(mess.settings())
    assert any(f"{len(said)} of " in note and "are left out" in note for note in result.notes)


@pytest.mark.parametrize("columns", ["60", "200"])
def test_the_command_shows_a_table_and_what_else_can_be_done(
    mess: Mess, bioseg: Callable[..., Result], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    said = spoil(mess)
    command = ("prepare", "folder", "--images", mess.images, "--masks", mess.masks, "--out", mess.out)
    result = bioseg(*command)
    assert result.exit_code == 3
    assert all(f"{kind}s/{name}" in result.stdout for kind, name in said)
    assert "Fiji" in result.stdout and "good1" not in result.stdout
    assert f"{len(said)} of " in result.stderr and "--skip-bad leaves such files out" in result.stderr
    document = json.loads(bioseg(*command, "--json").stdout)
    assert {(entry["kind"], entry["file"]) for entry in document["rejected"]} == set(said)
    assert all(Path(entry["path"]).exists() and entry["reason"] and entry["remedy"] for entry in document["rejected"])
    done = bioseg(*command, "--skip-bad", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["left_out"] == document["rejected"]


def test_one_bad_file_is_an_error_with_its_remedy(mess: Mess, bioseg: Callable[..., Result]) -> None:
    mess.fill()
    (mess.images / "good3.tif").write_bytes(b"")
    result = bioseg("prepare", "folder", "--images", mess.images, "--masks", mess.masks, "--out", mess.out)
    assert result.exit_code == 3 and not result.stdout
    assert "The file is empty" in result.stderr and str(mess.images / "good3.tif") in result.stderr
    assert "--skip-bad" in result.stderr


def test_numbers_that_are_none_are_found_before_anything_is_written(mess: Mess) -> None:
    for number in range(6):
        image = pixels(number).astype(np.float32)
        image[3, 4] = np.nan if number in (1, 4) else image[3, 4]
        mess.add(f"c{number}", image)
    found = mess.rejected()
    assert set(found) == {("image", "c1.tif"), ("image", "c4.tif")}
    assert all("not finite" in reason for reason in found.values())


def test_without_a_good_image_or_mask_it_is_an_error(mess: Mess) -> None:
    for name in ("a", "b"):
        mess.add(name)
        (mess.masks / f"{name}_mask.png").write_bytes(b"")
    with pytest.raises(FilesRejected, match="No mask is left"):
        mess.prepare(skip_bad=True)
    for name in ("a", "b"):
        (mess.images / f"{name}.tif").write_bytes(b"")
    with pytest.raises(FilesRejected, match="No image is left"):
        mess.prepare(skip_bad=True)
    assert not mess.out.exists()


def test_a_folder_of_files_that_are_not_read_alone(mess: Mess) -> None:
    for name in ("a.oir", "b.VSI"):
        (mess.images / name).write_bytes(b"1")
    assert set(mess.rejected(masks=None)) == {("image", "a.oir"), ("image", "b.VSI")}


def test_no_kind_of_image_is_odd_where_none_is_the_most_common(mess: Mess) -> None:
    for number in range(4):
        mess.add(f"c{number}", pixels(number, dtype=np.uint8 if number % 2 else np.uint16))
    for skip_bad in (False, True):
        with pytest.raises(DataError, match=r"c0\.tif, c2\.tif have 1 channel of uint16, c1\.tif, c3\.tif have"):
            mess.prepare(skip_bad=skip_bad)


def test_a_question_about_all_masks_stands_beside_the_files(mess: Mess) -> None:
    for number in range(6):
        drawn = mask(1)
        drawn[20:26, 20:26] = 2
        mess.add(f"c{number}", drawn=drawn)
    (mess.images / "c0.tif").write_bytes(b"")
    found = mess.rejected()
    assert set(found) == {("image", "c0.tif"), ("mask", ".")}
    assert "numbered objects, or classes" in found["mask", "."]
    with pytest.raises(DataError, match="numbered objects, or classes"):
        mess.prepare(skip_bad=True)
    assert mess.prepare(skip_bad=True, masks_are="classes").classes == ("background", "class 1", "class 2")


def test_a_mask_with_a_value_beyond_the_named_classes_is_the_odd_one(mess: Mess) -> None:
    for number in range(8):
        drawn = mask(1)
        drawn[20:26, 20:26] = 2
        drawn[28:30, 28:30] = 9 if number == 5 else 0
        mess.add(f"c{number}", drawn=drawn)
    options = {"classes": "outside,cell,nucleus", "masks_are": "classes"}
    assert mess.rejected(**options) == {
        ("mask", "c5_mask.png"): "The mask holds the value 9; the other masks hold 0, 1, 2 alone"
    }
    with pytest.raises(UsageError, match="--classes gives 3 names"):
        for number in range(1, 5):
            mess.add(f"c{number}", drawn=iio.imread(mess.masks / "c5_mask.png"))
        mess.prepare(**options)


def test_a_class_that_a_single_mask_shows_is_remarked_and_kept(mess: Mess) -> None:
    for number in range(8):
        drawn = mask(1)
        drawn[20:26, 20:26] = 3 if number == 5 else 1
        mess.add(f"c{number}", drawn=drawn)
    result = mess.prepare(masks_are="classes")
    assert "a single mask of 8 holds the value 3 (c5_mask.png)" in result.notes and len(result.classes) == 3


def test_a_file_that_is_not_read_beside_a_readable_one_is_remarked(mess: Mess) -> None:
    mess.fill()
    (mess.images / "good1.czi").write_bytes(b"1")
    (mess.images / "good2_seg.npy").write_bytes(b"1")
    said = "good1.czi, good2_seg.npy are not read: readable files of the same names lie beside them"
    assert said in mess.prepare().notes


@pytest.mark.parametrize("name", ["good1.geojson", "good1.json", "shapes.zip", "good1.roi", "good1.xml"])
def test_annotations_beside_the_images_are_noticed(mess: Mess, name: str) -> None:
    mess.fill()
    (mess.images / name).write_bytes(b"{}")
    notes = mess.prepare(masks=None).notes
    assert any(name in note and "--masks" in note for note in notes)


def test_one_large_image_that_pads_all_others_is_named(mess: Mess) -> None:
    mess.fill()
    mess.add("large", pixels(1, (4 * SIDE, 2 * SIDE)), np.pad(mask(), ((0, 3 * SIDE), (0, SIDE))))
    assert "all images are padded to 128 x 64 pixels, the size of large.tif" in mess.prepare().notes


def test_subfolders_and_their_masks(mess: Mess) -> None:
    for name in ("a/t1", "a/t2", "b/t1", "b/deep/t1", "t1"):
        mess.add(name)
    (mess.images / "b" / "x.oir").write_bytes(b"1")
    (mess.masks / "b" / "t9_mask.png").write_bytes((mess.masks / "t1_mask.png").read_bytes())
    assert set(mess.rejected(recursive=True)) == {("image", "b/x.oir"), ("mask", "b/t9_mask.png")}
    mess.prepare(recursive=True, skip_bad=True)
    assert mess.labelled() == {f"{name}.tif": True for name in ("a/t1", "a/t2", "b/t1", "b/deep/t1", "t1")}
    with Dataset(mess.out) as dataset:
        assert set(dataset.group) == {"a/t1", "a/t2", "b/t1", "b/deep/t1", "t1"}
        for i in range(dataset.size):
            path = mess.images / dataset.source(i).file
            np.testing.assert_array_equal(dataset.image(i)[0], tifffile.imread(path))


def test_groups_of_subfolders(mess: Mess) -> None:
    for name in ("a/t1", "a/t2", "b/t1", "b/t2"):
        mess.add(name)
    mess.prepare(recursive=True, group_by="^(.)/")
    with Dataset(mess.out) as dataset:
        assert sorted(dataset.group) == ["a", "a", "b", "b"]


def test_masks_in_a_subfolder_are_no_images(mess: Mess) -> None:
    mess.masks = mess.images / "masks"
    mess.fill()
    assert set(mess.rejected(recursive=True, masks=None)) == {("image", f"masks/{name}_mask.png") for name in GOOD}
    mess.masks.rename(mess.images.parent / "elsewhere")
    mess.masks = mess.images.parent / "elsewhere"
    mess.prepare(recursive=True)
    assert set(mess.labelled()) == {f"{name}.tif" for name in GOOD}


def test_only_the_masks_folder_within_the_images_is_left_out(mess: Mess) -> None:
    mess.masks = mess.images / "masks"
    mess.fill()
    mess.prepare(recursive=True)
    assert mess.labelled() == {f"{name}.tif": True for name in GOOD}


def test_shapes_in_subfolders(mess: Mess) -> None:
    square = {"type": "Polygon", "coordinates": [[[3, 3], [9, 3], [9, 9], [3, 9], [3, 3]]]}
    shapes = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": square, "properties": {}}]}
    for name in ("a/t1", "b/t1", "b/t2"):
        mess.add(name)
        (mess.masks / f"{name}_mask.png").unlink()
        (mess.masks / f"{name}.geojson").write_text(json.dumps(shapes))
    (mess.masks / "b" / "t2.geojson").unlink()
    mess.prepare(recursive=True)
    assert mess.labelled() == {"a/t1.tif": True, "b/t1.tif": True, "b/t2.tif": False}


def test_subfolders_are_pointed_at(mess: Mess) -> None:
    mess.add("a/t1")
    with pytest.raises(DataError, match="--recursive"):
        mess.prepare()


def stained(mess: Mess, name: str, channels: tuple[str, ...]) -> np.ndarray:
    image = pixels(sum(name.encode()), (len(channels), SIDE, SIDE))
    mess.add(name)
    named = {"Channel": {"Name": list(channels)}}
    tifffile.imwrite(
        mess.images / f"{name}.tif", image, ome=True, photometric="minisblack", metadata={"axes": "CYX", **named}
    )
    return image


@pytest.mark.parametrize(
    ("channel", "numbers"), [("2", [1]), ("gfp", [1]), ("3,1", [2, 0]), (("Actin", "DAPI"), [2, 0]), ("488", [3])]
)
def test_channels_are_chosen_by_number_or_name(mess: Mess, channel: object, numbers: list[int]) -> None:
    images = {f"c{n}.tif": stained(mess, f"c{n}", ("DAPI", "GFP", "Actin", "488")) for n in range(5)}
    result = mess.prepare(channel=channel)
    assert result.image_shape == (len(numbers), SIDE, SIDE)
    with Dataset(mess.out) as dataset:
        for i in range(dataset.size):
            np.testing.assert_array_equal(dataset.image(i), images[dataset.source(i).file][numbers])
        assert dataset.info.settings["channel"] == (channel.split(",") if isinstance(channel, str) else list(channel))


def test_a_colour_and_labels_of_imagej_are_names(mess: Mess) -> None:
    for number in range(5):
        mess.add(f"c{number}", pixels(number, (SIDE, SIDE, 3), np.uint8))
    assert mess.prepare(channel="green").image_shape == (1, SIDE, SIDE)
    with Dataset(mess.out) as dataset:
        file = dataset.source(0).file
        np.testing.assert_array_equal(dataset.image(0)[0], tifffile.imread(mess.images / file)[..., 1])
    mess.out.unlink()
    mess.out.with_suffix(".yaml").unlink()
    for number in range(5):
        stack = pixels(number, (2, SIDE, SIDE))
        labels = {"axes": "CYX", "Labels": ["nuclei", "membrane"]}
        tifffile.imwrite(mess.images / f"c{number}.tif", stack, imagej=True, metadata=labels)
    mess.prepare(channel="membrane")
    with Dataset(mess.out) as dataset:
        path = mess.images / dataset.source(0).file
        np.testing.assert_array_equal(dataset.image(0)[0], tifffile.imread(path)[1])


def test_labels_that_only_count_and_those_of_time_points_are_no_names(mess: Mess) -> None:
    for name in ("c0", "c1", "c2"):
        mess.add(name)
        # As Bio-Formats writes them, with the name of the file that was opened.
        labels = {"axes": "CYX", "Labels": [f"c:1/2 - {name}.czi", f"c:2/2 - {name}.czi"]}
        tifffile.imwrite(mess.images / f"{name}.tif", pixels(1, (2, SIDE, SIDE)), imagej=True, metadata=labels)
        assert inspect_image(mess.images / f"{name}.tif").channel_names == ()
    stack, labels = mess.images.parent / "stack.tif", {"axes": "TYXS", "Labels": ["0 s", "10 s", "20 s"]}
    tifffile.imwrite(stack, pixels(2, (3, SIDE, SIDE, 3), np.uint8), imagej=True, metadata=labels)
    assert inspect_image(stack).channel_names == ("red", "green", "blue")


def test_images_in_which_the_channel_may_be_another_are_rejected(mess: Mess) -> None:
    for number in range(6):
        stained(mess, f"c{number}", ("DAPI", "GFP"))
    stained(mess, "swapped", ("GFP", "DAPI"))
    stained(mess, "more", ("DAPI", "GFP", "Actin"))
    mess.add("plain")
    by_number = mess.rejected(channel="1")
    assert set(by_number) == {("image", "swapped.tif"), ("image", "more.tif"), ("image", "plain.tif")}
    assert "the name GFP for the chosen channel, 6 of 7 images have the name DAPI" in by_number["image", "swapped.tif"]
    assert "has 3 channels of uint16, 7 of 9 images have 2" in by_number["image", "more.tif"]
    by_name = mess.rejected(channel="DAPI")
    assert by_name == {("image", "plain.tif"): "The image has no channel DAPI: it has 1 channel without a name"}


def test_a_channel_that_no_image_has(mess: Mess) -> None:
    mess.fill()
    for channel in ("2", "DAPI", "0"):
        with pytest.raises(UsageError, match=f"No image has a channel of --channel {channel}"):
            mess.prepare(channel=channel)
    with pytest.raises(UsageError, match="each channel is named once"):
        mess.prepare(channel="1,1")


def bitmap(path: Path, values: np.ndarray) -> None:
    """An 8-bit BMP, byte for byte the same whatever library is installed."""
    height, width = values.shape
    wide = (width + 3) // 4 * 4
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    body = b"".join(row.tobytes() + b"\0" * (wide - width) for row in values[::-1])
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, len(body), 0, 0, 256, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body)


@pytest.mark.parametrize(
    ("settings", "content_hash"),
    [
        ({}, "bcb48a35713c5402fcf6a65e995a21674c9339e9762ae974d7c38bf1e7d57cd7"),
        ({"skip_bad": True, "recursive": True}, "bcb48a35713c5402fcf6a65e995a21674c9339e9762ae974d7c38bf1e7d57cd7"),
        ({"masks": None}, "3bef6580fdcb3ed385edaa6a5c9ddeb1db0ca6845ead6aa5737e8d6deb4ac628"),
        ({"group_by": r"c(\d)"}, "4c702112aa7e6e50d7be0ffbb7beef3d324c298410200fb1397e37f903ff69c3"),
        ({"crop": 16, "tile": True}, "c7a111737617f31a1d5367ecaed9f8c903c9c912ebbdfe1d6653fadb6a470fab"),
    ],
)
def test_data_sets_of_good_folders_keep_their_hashes(
    mess: Mess, settings: dict[str, object], content_hash: str
) -> None:
    for number in range(7):
        y, x = np.mgrid[:24, : 36 if number == 6 else 32]
        bitmap(mess.images / f"c{number}.bmp", ((7 * y + 5 * x + 31 * number) % 251).astype(np.uint8))
        disc = np.where((y - 12) ** 2 + (x - 10 - number) ** 2 < 40, 255, 0).astype(np.uint8)
        if number < 5:
            bitmap(mess.masks / f"c{number}_mask.bmp", disc)
    assert mess.prepare(**settings).content_hash == content_hash
