"""Masks that are drawn in part: which values nobody drew, what is recognised, what is asked about, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from click.testing import Result

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

Cli = Callable[..., Result]
SIDE = 60


def strokes(*values: int, dtype: type = np.uint8, around: int = 0) -> np.ndarray:
    """A stroke of 3 x 30 pixels for each value, and another value around them."""
    mask = np.full((SIDE, SIDE), around, dtype=dtype)
    for place, value in enumerate(values):
        mask[6 * place + 2 : 6 * place + 5, 10:40] = value
    return mask


def squares(*values: int, side: int = 6) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for place, value in enumerate(values):
        row, column = divmod(place, 6)
        mask[10 * row : 10 * row + side, 10 * column : 10 * column + side] = value
    return mask


def read(*masks: np.ndarray, kind=None, names=(), undrawn=None, clear=True):
    survey = MaskSurvey()
    for mask in masks:
        survey.add(mask)
    return survey.reading(kind, names, undrawn, clear=clear)


def test_scribbles_of_two_classes_and_what_nobody_drew() -> None:
    mask = strokes(1, 2, 2)
    reading = read(mask, undrawn=0)
    np.testing.assert_array_equal(reading.labels(mask), np.array([255, 0, 1])[mask])
    assert reading.sentence == "1 is 'background', 2 is 'foreground', 0 is not drawn"
    assert [info.name for info in reading.classes] == ["background", "foreground"]


@pytest.mark.parametrize(
    ("values", "undrawn", "kind", "codes"),
    [
        ((0, 1), 255, None, {0: 0, 1: 1, 255: 255}),
        ((0, 1), 255, "classes", {0: 0, 1: 1, 255: 255}),
        ((0, 128), 255, "binary", {0: 0, 128: 1, 255: 255}),
        ((0, 255), 128, None, {0: 0, 255: 1, 128: 255}),
        ((128, 255), 0, None, {128: 0, 255: 1, 0: 255}),
        ((1, 2), 255, None, {1: 0, 2: 1, 255: 255}),
        ((1, 2), 7, None, {1: 0, 2: 1, 7: 255}),
        ((1, 2, 4), 0, "classes", {1: 0, 2: 1, 4: 2, 0: 255}),
        ((0, 3, 9), 200, "instances", {0: 0, 3: 1, 9: 1, 200: 255}),
    ],
)
def test_every_combination_of_values_is_right(values, undrawn, kind, codes) -> None:
    mask = strokes(*values, *values, around=undrawn)
    reading = read(mask, undrawn=undrawn, kind=kind)
    table = np.zeros(256, dtype=np.uint8)
    for value, code in codes.items():
        table[value] = code
    np.testing.assert_array_equal(reading.labels(mask), table[mask])
    assert f"{undrawn} is not drawn" in reading.sentence


def test_the_largest_value_of_16_bits_may_be_what_nobody_drew() -> None:
    mask = strokes(1, 2, 2, dtype=np.uint16, around=65535)
    np.testing.assert_array_equal(read(mask, undrawn=65535).labels(mask), np.where(mask == 65535, 255, mask - 1))


def test_colours_on_black_and_on_white() -> None:
    codes = strokes(1, 2, 2)
    for around, undrawn in (((0, 0, 0), 0), ((255, 255, 255), 255)):
        picture = np.array([around, (0, 0, 200), (200, 0, 0)], dtype=np.uint8)[codes]
        reading = read(picture, undrawn=undrawn)
        np.testing.assert_array_equal(reading.labels(picture), np.array([255, 0, 1])[codes])
        assert reading.sentence.startswith("#0000c8 is 'background', #c80000 is ")


def test_a_class_that_no_mask_shows_keeps_its_place_among_the_names() -> None:
    mask = strokes(1, 3, 3)
    reading = read(mask, undrawn=0, kind="classes", names=("glass", "cell", "rim"))
    np.testing.assert_array_equal(reading.labels(mask), np.array([255, 0, 255, 2])[mask])


def test_a_mask_without_any_drawn_pixel_does_not_decide() -> None:
    reading = read(np.zeros((SIDE, SIDE), np.uint8), strokes(1, 2), undrawn=0)
    assert reading.labels(np.zeros((4, 4), np.uint8)).tolist() == [[255] * 4] * 4


@pytest.mark.parametrize(
    ("mask", "options", "said"),
    [
        (strokes(1, 2), {"undrawn": 7}, "No mask holds the value 7 of --unlabelled-value: they hold values 0, 1, 2"),
        (strokes(), {"undrawn": 0}, "Nothing is drawn in any mask: all pixels have the value 0"),
        (strokes(1, 1), {"undrawn": 0}, r"Beside what nobody drew \(0\), the masks hold value 1 alone"),
        (strokes(255), {"undrawn": 0}, r"Beside what nobody drew \(0\), the masks hold value 255 alone"),
        (strokes(255), {"undrawn": 255}, r"Beside what nobody drew \(255\), the masks hold value 0 alone"),
        (strokes(1, 255, 1), {"undrawn": 0}, r"Beside what nobody drew \(0\), the masks hold value 1 alone"),
        (strokes(1, 2), {"undrawn": 0, "kind": "binary"}, "--masks-are binary takes 0 as the background"),
        (strokes(1, 2), {"undrawn": 0, "kind": "instances"}, "--masks-are instances takes 0 as the background"),
        (strokes(1, 2, 3), {"undrawn": 0}, "classes, or numbered objects without a background"),
        (strokes(*range(1, 10)), {"undrawn": 0}, "classes, or numbered objects without a background"),
    ],
)
def test_what_cannot_be_is_refused(mask, options, said) -> None:
    with pytest.raises(BiosegError, match=said):
        read(mask, **options)


def test_smoothed_scribbles_are_refused() -> None:
    sharp = strokes(120, 240, 240).astype(float)
    smooth = (sharp + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1) + np.roll(sharp, -1, 1)) / 4
    for kind in (None, "binary"):
        undrawn = 0 if kind is None else 255
        mask = smooth.astype(np.uint8) if kind is None else (255 - smooth).astype(np.uint8)
        with pytest.raises(DataError, match="smoothing or scaling left") as caught:
            read(mask, undrawn=undrawn, kind=kind)
        assert "--masks-are" not in str(caught.value)
        assert "Export the masks again" in str(caught.value)


def test_thin_smoothed_scribbles_are_refused_and_thin_sharp_ones_are_not() -> None:
    sharp = np.zeros((SIDE, SIDE))
    sharp[10, 5:50], sharp[20, 5:50], sharp[40, 5:50] = 200, 100, 100
    smooth = (2 * sharp + np.roll(sharp, 1, 0) + np.roll(sharp, -1, 0)) / 4
    with pytest.raises(DataError, match="smoothing or scaling left the rest"):
        read(smooth.astype(np.uint8), undrawn=0)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[10:30], mask[30, 5:50] = 0, 1
    assert read(mask, undrawn=255).labels(mask)[30, 5] == 1


def boxed() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[5:45, 10:50] = 1
    mask[10:16, 15:21] = mask[20:26, 30:36] = mask[30:36, 15:21] = 2
    return mask


@pytest.mark.parametrize("kind", [None, "classes"])
@pytest.mark.parametrize(
    ("mask", "like"),
    [(strokes(1, 2), "10.00%|5.00% of the pixels are not 0, like scribbles"), (boxed(), "fill boxes: 0 around them")],
)
def test_what_looks_drawn_in_part_is_asked_about(mask, like, kind) -> None:
    with pytest.raises(DataError, match=like) as caught:
        read(mask, kind=kind, clear=False)
    assert "--unlabelled-value 0 if nobody drew there, --unlabelled-value none if 0 is" in str(caught.value)


def test_a_few_samples_are_asked_about_as_classes() -> None:
    with pytest.raises(DataError, match=r"1.00% of the pixels are not 0, like samples"):
        read(squares(1, 2, 1, 2, side=3), kind="classes", clear=False)


@pytest.mark.parametrize("mask", [squares(*[1, 2] * 15), squares(*[3] * 9), strokes(*[1, 2] * 4)])
def test_whole_drawings_are_read_without_a_question(mask) -> None:
    assert read(mask, kind="classes", clear=False).undrawn is None


class Folder:
    """Images, masks, and what `prepare folder` makes of them."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks, self.out = root / "images", root / "masks", root / "set.h5"
        self.images.mkdir()
        self.masks.mkdir()

    def add(self, name: str, mask: np.ndarray | None, *, ending: str = ".png") -> None:
        pixels = np.random.default_rng(len(name) + ord(name[0])).integers(0, 250, (SIDE, SIDE)).astype(np.uint8)
        iio.imwrite(self.images / f"{name}.png", pixels)
        if mask is not None:
            (tifffile.imwrite if ending.endswith("tif") else iio.imwrite)(self.masks / f"{name}{ending}", mask)

    def labkit(self, name: str, mask: np.ndarray, *sets: str | list[str]) -> None:
        """A mask as LabKit saves it, with the names of 1, 2, ... beside it."""
        self.add(name, mask, ending=".tif")
        of_numbers = [[]] + [[labels] if isinstance(labels, str) else labels for labels in sets]
        (self.masks / f"{name}.tif.labels").write_text(json.dumps({"labelSets": of_numbers}))

    def prepare(self, **settings: object) -> dict:
        values = {"images": self.images, "masks": self.masks, "out": self.out, **settings}
        return session.run(build_config(FolderConfig, values), ConsoleOutput(quiet=True), overwrite=True).to_json()

    def labels(self) -> dict[str, np.ndarray | None]:
        with Dataset(self.out) as dataset:
            return {
                dataset.name(index): dataset.labels(index) if dataset.labelled[index] else None
                for index in range(dataset.size)
            }


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_labelled_area_is_counted_and_said(folder: Folder) -> None:
    folder.add("a", strokes(1, 2))
    folder.add("b", strokes(1, 2, 2))
    folder.add("c", None)
    summary = folder.prepare(unlabelled_value=0)
    assert summary["images"]["train"] == {"labelled": 2, "unlabelled": 1}
    assert summary["labelled_area"] == {"train": {"pixels": 450, "share": 450 / 7200}}
    assert summary["class_shares"]["train"] == {"background": 0.4, "foreground": 0.6}
    with Dataset(folder.out) as dataset:
        assert dataset.drawn_in_part
        assert dataset.labelled_area(0) == (180, 3600)


def test_an_image_in_whose_mask_nothing_is_drawn_is_unlabelled(folder: Folder) -> None:
    folder.add("a", strokes(1, 2))
    folder.add("b", strokes())
    summary = folder.prepare(unlabelled_value=0)
    assert summary["images"]["train"] == {"labelled": 1, "unlabelled": 1}
    assert "nothing is drawn in 1 of 2 masks (b.png): their images are unlabelled" in summary["notes"]
    assert folder.labels()["b"] is None


def test_empty_masks_do_not_count_where_few_labels_are_not_split(folder: Folder) -> None:
    for name in "abcd":
        folder.add(name, strokes(1, 2))
    folder.add("e", strokes())
    summary = folder.prepare(unlabelled_value=0)
    assert summary["images"]["train"] == {"labelled": 4, "unlabelled": 1}
    assert any(note.startswith("4 labelled images: with so few, none is held back") for note in summary["notes"])


def test_a_frame_of_a_stack_in_which_nothing_is_drawn_is_unlabelled(folder: Folder) -> None:
    for place, pages in ((folder.images, [strokes(90), strokes(80)]), (folder.masks, [strokes(), strokes(1, 2)])):
        tifffile.imwrite(place / "a.tif", np.stack(pages), photometric="minisblack", metadata={"axes": "TYX"})
    assert folder.prepare(unlabelled_value=0)["images"]["train"] == {"labelled": 1, "unlabelled": 1}
    labels = folder.labels()
    assert labels["a_f000"] is None
    np.testing.assert_array_equal(labels["a_f001"], np.array([255, 0, 1])[strokes(1, 2)])


def test_tiles_in_which_nobody_drew_are_unlabelled(folder: Folder) -> None:
    folder.add("a", strokes(1, 2))
    folder.add("b", None)
    summary = folder.prepare(unlabelled_value=0, crop=30, tile=True)
    assert summary["images"]["train"] == {"labelled": 2, "unlabelled": 6}


def test_a_crop_that_leaves_no_label_is_refused(folder: Folder) -> None:
    folder.add("a", strokes(1, 2))
    folder.add("b", None)
    with pytest.raises(DataError, match="Where the images of the train split were drawn, the crops do not reach"):
        folder.prepare(unlabelled_value=0, crop=16)
    assert not folder.out.exists()


def test_a_data_set_that_is_wholly_drawn_is_the_same_whether_that_was_said(folder: Folder) -> None:
    for name in "abcde":
        folder.add(name, squares(*[200] * 20))
    first = folder.prepare()
    assert first["labelled_area"]["train"]["share"] == 1
    assert folder.prepare(unlabelled_value="none")["content_hash"] == first["content_hash"]
    with Dataset(folder.out) as dataset:
        assert not dataset.drawn_in_part
        assert "unlabelled_value" not in dataset.info.settings


def test_names_of_ilastik_are_asked_about(folder: Folder) -> None:
    folder.add("a", squares(*[1, 2] * 15), ending="_Labels.tif")
    folder.add("b", squares(*[2, 1] * 15), ending="_Labels.tif")
    with pytest.raises(DataError, match=r"a_Labels.tif is named as ilastik names labels, in which 0 is not drawn"):
        folder.prepare()
    assert not folder.out.exists()
    assert "0 is not drawn" in folder.prepare(unlabelled_value=0)["masks"]
    assert "0 is 'background'" in folder.prepare(unlabelled_value="none")["masks"]


def test_labels_in_hdf5_are_not_passed_over(folder: Folder) -> None:
    folder.add("a", strokes(1, 2))
    (folder.masks / "b_Labels.h5").write_bytes(b"")
    with pytest.raises(DataError, match=r"The file is HDF5, and masks are images\n.*b_Labels\.h5"):
        folder.prepare(unlabelled_value=0)


def test_labels_of_labkit_are_known_by_their_names_in_whatever_order(folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2), "background", "axon")
    folder.labkit("b", strokes(2, 1), "axon", "background")
    folder.labkit("c", strokes(1), "axon")
    summary = folder.prepare()
    assert summary["masks"] == "1 is 'background', 2 is 'axon', 0 is not drawn"
    assert summary["classes"] == ["background", "axon"]
    labels = folder.labels()
    expected = np.array([255, 0, 1])[strokes(1, 2)]
    np.testing.assert_array_equal(labels["a"], expected)
    np.testing.assert_array_equal(labels["b"], expected)
    np.testing.assert_array_equal(labels["c"], np.array([255, 1])[strokes(1)])


def test_labkit_without_a_background_is_asked_about(folder: Folder) -> None:
    folder.labkit("a", squares(*range(1, 13)), *map(str, range(1, 13)))
    with pytest.raises(DataError, match=r"No label of LabKit is called background \(1, 2, 3, 4, 5 and 7 more\)"):
        folder.prepare()
    assert "every numbered object is 'foreground'" in folder.prepare(unlabelled_value="none")["masks"]


def test_labels_of_labkit_name_the_classes_where_all_was_drawn(folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2), "axon", "myelin")
    folder.labkit("b", strokes(2, 1), "myelin", "axon")
    summary = folder.prepare(unlabelled_value="none", masks_are="classes")
    assert summary["classes"] == ["background", "axon", "myelin"]
    np.testing.assert_array_equal(folder.labels()["b"], strokes(1, 2))
    named = folder.prepare(unlabelled_value="none", masks_are="classes", classes=("a", "b", "c"))
    assert named["classes"] == ["a", "b", "c"]


def test_a_single_label_of_labkit_names_the_foreground(folder: Folder) -> None:
    for name in "ab":
        folder.labkit(name, squares(1), "axon")
    assert folder.prepare(unlabelled_value="none")["classes"] == ["background", "axon"]


def test_a_label_called_background_and_a_background_of_0_contradict_each_other(folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2), "background", "axon")
    with pytest.raises(DataError, match="A label of LabKit is called background"):
        folder.prepare(unlabelled_value="none", masks_are="classes")


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["background", ["background", "cell"]], "Labels lie over each other in the mask"),
        (["background"], "The mask holds numbers that its labels, in a.tif.labels, do not name"),
    ],
)
def test_labels_of_labkit_that_do_not_fit(folder: Folder, sets, said) -> None:
    folder.labkit("a", strokes(1, 2), *sets)
    with pytest.raises(DataError, match=said):
        folder.prepare()


def test_negative_numbers_are_no_numbers_of_labkit(folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2).astype(np.int16) - 1, "background", "cell")
    with pytest.raises(DataError, match=r"The mask holds numbers that its labels, in a.tif.labels, do not name"):
        folder.prepare()


def test_damaged_or_missing_labels_of_labkit(folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2), "background", "cell")
    folder.add("b", strokes(1, 2))
    with pytest.raises(DataError, match=r"1 of 2 masks have no labels of LabKit beside them: b.png"):
        folder.prepare()
    (folder.masks / "b.png").unlink()
    for damaged in ('{"labelSets": [["cell"]]}', '{"labelSets": [[], "cell"]}', '{"labelSets":' + "[" * 100_000):
        (folder.masks / "a.tif.labels").write_text(damaged)
        with pytest.raises(DataError, match="The labels of LabKit cannot be read"):
            folder.prepare()


def test_the_option_needs_masks_and_a_value(folder: Folder) -> None:
    folder.add("a", None)
    with pytest.raises(UsageError, match="--unlabelled-value and --classes need --masks"):
        folder.prepare(masks=None, unlabelled_value=0)
    with pytest.raises(UsageError, match="--unlabelled-value"):
        folder.prepare(unlabelled_value="-1")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True masks of strokes, and predictions of several kinds."""
    root = tmp_path_factory.mktemp("scored")
    truth = strokes(1, 2)
    whole = np.zeros_like(truth)
    whole[truth == 2] = 1
    for name, mask in {
        "truth": truth, "codes": whole, "object": 255 * whole, "values": whole + 1, "copy": truth,
        "bad": np.where(truth == 2, 0, whole), "wrong": np.where(truth > 0, 1, 0).astype(np.uint8),
    }.items():  # fmt: skip
        (root / name).mkdir()
        iio.imwrite(root / name / "a.png", mask)
    return root


@pytest.mark.parametrize(
    ("predictions", "accuracy"), [("codes", 1), ("object", 1), ("values", 1), ("bad", 0.5), ("wrong", 0.5)]
)
def test_a_perfect_prediction_of_a_truth_that_is_drawn_in_part(
    bioseg: Cli, scored: Path, predictions, accuracy
) -> None:
    result = bioseg(
        "evaluate",
        "--predictions",
        scored / predictions,
        "--truth",
        scored / "truth",
        "--unlabelled-value",
        0,
        "--json",
    )
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["runs"][0]
    assert row["pixel_accuracy"] == accuracy
    assert any(
        note.startswith("Scored are the 180 pixels that were drawn, 5.0 % of the images.") for note in row["notes"]
    )


def test_a_truth_of_labkit_and_predictions_of_its_classes(bioseg: Cli, folder: Folder) -> None:
    folder.labkit("a", strokes(1, 2), "background", "cell")
    folder.labkit("b", strokes(2, 1), "cell", "background")
    for name in "ab":
        iio.imwrite(folder.images / f"{name}.png", (strokes(1, 2) == 2).astype(np.uint8))
    result = bioseg("evaluate", "--predictions", folder.images, "--truth", folder.masks, "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["runs"][0]
    assert (row["pixel_accuracy"], list(row["iou"])) == (1, ["background", "cell"])


def test_a_prediction_with_the_value_of_what_nobody_drew_is_refused(bioseg: Cli, scored: Path) -> None:
    arguments = ("evaluate", "--predictions", scored / "copy", "--truth", scored / "truth")
    result = bioseg(*arguments, "--unlabelled-value", 0)
    assert result.exit_code == 3
    assert "The predicted masks hold 0, 1, 2; the classes are 0 'background', 1 'foreground'" in result.output
    assert "like scribbles" in bioseg(*arguments).output
