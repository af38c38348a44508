"""Which names belong together: of masks and images, and of predicted and true masks."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from bioseg_cli.io.names import on_any_disk, stem_of
from bioseg_cli.masks.pairing import Doubt, is_mask_name, pair
from bioseg_cli.printable import printable

DECOMPOSED = unicodedata.normalize("NFD", "zelle_ü")


def paired(masks: list[str], others: list[str], *, images: bool = True) -> dict[str, str]:
    """Masks with what they are paired with; nothing may be doubtful."""
    found = pair({name: name for name in masks}, {name: name for name in others}, images=images)
    assert not found.doubts
    return found.found


TOGETHER = [
    ("a", "a"),
    ("a_mask", "a"),
    ("a-Mask", "a"),
    ("a.labels", "a"),
    ("mask_a", "a"),
    ("a_cp_masks", "a"),
    ("a_seg", "a"),
    ("a_Simple Segmentation", "a"),
    ("a_mask", "a_img"),
    ("a_img_mask", "a_img"),
    ("a_img_mask", "a"),
    ("000_masks", "000_img"),
    ("exp1_000_mask", "exp1_000"),
    ("mask_exp2_000", "exp2_000"),
    ("cell7_mask", "cell7"),
    ("001mask", "001"),
    ("labels00000007", "07"),
    ("mask_1", "img_1"),
    ("mask-70", "image_70"),
    ("man_seg007", "t007"),
    ("mask007", "t007"),
    ("mask_12", "frame_012"),
    ("Exp1_000_mask", "exp1-000"),
    ("FOO_MASK", "foo"),
    ("well A 7_mask", "well_A_07"),
    ("a.ome", "a"),
    ("a_mask", "a.ome"),
    ("zelle_ü_mask", DECOMPOSED),
    (DECOMPOSED, "zelle_ü"),
    ("IXMtest_A02_s1_w1051DAA7C-7042-435F-99F0-1E847D9B42CB", "IXMtest_A02_s1_w1051DAA7C-7042-435F-99F0-1E847D9B42CB"),
    ("gt_1_mask", "gt_1"),
    ("label-free_1_mask", "label-free_1"),
    ("mask", "image"),
    ("cell\udcff_mask", "cell\udcff"),
    ("z\udcc3\udca4h_mask", "zäh"),
]


@pytest.mark.parametrize(("mask", "image"), TOGETHER)
def test_names_that_belong_together(mask: str, image: str):
    assert paired([mask, "other_mask"], [image, "another"]) == {mask: image}


@pytest.mark.parametrize(("mask", "image"), TOGETHER)
def test_what_is_paired_with_an_image_is_paired_with_the_prediction_of_it(mask: str, image: str):
    assert paired([mask, "other_mask"], [image, "another"], images=False) == {mask: image}
    assert paired([image, "another"], [mask, "other_mask"], images=False) == {image: mask}


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("mask_exp2_000", "exp1_000"),
        ("mask_C_9", "B_9"),
        ("mask_9", "B_9"),
        ("B_9", "9"),
        ("a12_mask", "a1_2"),
        ("z-5_mask", "z5"),
        ("dose0.05_mask", "dose0.5"),
        ("dose0p05_mask", "dose0p5"),
        ("1_23_mask", "12_3"),
        ("a10_mask", "a1"),
        ("unmask", "un"),
        ("exp1_000_ch1_mask", "exp1_000_ch0"),
        ("man_track007", "t007"),
    ],
)
def test_names_of_different_things(mask: str, image: str):
    assert paired([mask], [image]) == {}
    assert paired([mask], [image], images=False) == {}


def test_a_word_for_a_mask_in_the_name_of_an_image_is_a_part_of_it():
    assert paired(["mask_1"], ["gt_1"]) == {}
    assert paired(["mask_1"], ["gt_1"], images=False) == {"mask_1": "gt_1"}


def test_the_closest_names_are_paired_first():
    assert paired(["a1", "a01_mask"], ["a1", "a01"]) == {"a1": "a1", "a01_mask": "a01"}
    assert paired(["Foo_mask", "foo_mask"], ["foo", "Foo"]) == {"Foo_mask": "Foo", "foo_mask": "foo"}
    assert paired(["raw_1_mask", "1_mask"], ["1", "raw_1"]) == {"raw_1_mask": "raw_1", "1_mask": "1"}
    assert paired(["t1", "1"], ["1", "t1"]) == {"t1": "t1", "1": "1"}
    # The image of a01 is missing: the one of a1 is taken.
    assert paired(["a1_mask", "a01_mask"], ["a1"]) == {"a1_mask": "a1"}


@pytest.mark.parametrize(
    ("masks", "images", "doubt"),
    [
        (["a", "a_mask"], ["a"], Doubt(("a", "a_mask"), ("a",))),
        (["a_mask", "a_seg"], ["a"], Doubt(("a_mask", "a_seg"), ("a",))),
        (["a"], ["a", "a_img"], Doubt(("a",), ("a", "a_img"))),
        (["a_mask"], ["a_img", "a_raw"], Doubt(("a_mask",), ("a_img", "a_raw"))),
        (["A-1"], ["a_1", "a 1"], Doubt(("A-1",), ("a_1", "a 1"))),
        (["mask_7", "labels_7"], ["t7"], Doubt(("mask_7", "labels_7"), ("t7",))),
        (["ü"], ["ü", unicodedata.normalize("NFD", "ü")], Doubt(("ü",), ("ü", unicodedata.normalize("NFD", "ü")))),
    ],
)
def test_names_that_could_go_together_in_several_ways(masks, images, doubt):
    found = pair({name: name for name in masks}, {name: name for name in images}, images=True)
    assert found.doubts == [doubt]


def test_pairs_of_names_that_are_not_alike_are_said():
    found = pair({"labels0007": "labels0007", "b_mask": "b_mask"}, {"07": "07", "b": "b"}, images=True)
    assert found.remarks(str, str) == (
        "1 of 2 names were paired though case, separators or leading zeros differ, such as labels0007 with 07.",
    )
    assert pair({"b_mask": "b_mask"}, {"b": "b"}, images=True).remarks(str, str) == ()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.tif", "a"),
        ("a.ome.tif", "a"),
        ("a.OME.TIF", "a"),
        ("a.nii.gz", "a"),
        ("a.b.png", "a.b"),
        ("%s #1.tif", "%s #1"),
    ],
)
def test_stems(name: str, stem: str):
    assert stem_of(Path(name)) == stem


@pytest.mark.parametrize("name", ["a_mask.png", "mask_a.png", "man_seg001.tif", "a cp_masks.tif", "labels7.png"])
def test_names_of_masks(name: str):
    assert is_mask_name(Path(name))


@pytest.mark.parametrize("name", ["a.png", "unmask.png", "segment.png", "t001.tif", "labelling_1.png"])
def test_names_of_no_masks(name: str):
    assert not is_mask_name(Path(name))


def test_names_that_are_one_file_on_some_disk():
    assert on_any_disk("Ü.tif") == on_any_disk(unicodedata.normalize("NFD", "ü.TIF"))
    assert on_any_disk("u.tif") != on_any_disk("ü.tif")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ü [red] µm 細胞", "ü [red] µm 細胞"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\udcff", "a\\udcff"),
        ("gpj\u202exe", "gpj\\u202exe"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str):
    assert printable(text) == shown
