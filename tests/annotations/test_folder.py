"""What is said of a folder of masks or annotations that cannot be used."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.drawn import NAPARI_HEADER, bounded, labelme, napari_rows, square, write_labelme
from PIL import Image
from roifile import ROI_TYPE


def roi_set(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0001-0002.roi", bounded(ROI_TYPE.RECT, 1, 1, 9, 9).tobytes())


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("words.txt", "words")


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("RoiSet.zip", roi_set, "Name the annotation like its image (image.tif, image.zip)"),
        ("via.json", lambda path: path.write_text('{"_via_settings": 1}'), "The file is of no format of annotations"),
        ("a0.zip", other_archive, "The file is of no format of annotations"),
        ("a0.csv", lambda path: path.write_text("a,b\n"), "The file is of no format of annotations"),
        ("a0.xml", lambda path: path.write_text("<xml/>"), "holds neither masks nor annotations, but a0.xml"),
        ("a0.roi", lambda path: path.touch(), "Selection a0 cannot be read"),
    ],
)
def test_prepare_names_what_is_there_and_what_would_work(bioseg, blank_images, name, write, said) -> None:
    drawn = blank_images.parent / "drawn"
    write(drawn / name)
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    output = " ".join(result.output.split())
    assert said in output and name in output
    assert "holds no images" not in output
    if "no format" in said or "neither" in said:
        assert "IMAGE.zip of the ROI Manager" in output
        assert "COCO and LabelMe (JSON)" in output


def test_evaluate_names_what_is_there_and_that_masks_are_images(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    roi_set(drawn / "RoiSet.zip")
    write_labelme(drawn / "a0.json", [])
    result = bioseg("evaluate", "--predictions", blank_images, "--truth", drawn)
    assert result.exit_code == 3
    output = " ".join(result.output.split())
    assert "The folder holds no masks, but RoiSet.zip, a0.json" in output
    assert "Only `bioseg prepare folder` reads the shapes of annotation programs" in output


def test_a_folder_of_other_files_given_as_images_says_which_it_holds(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    roi_set(drawn / "RoiSet.zip")
    result = bioseg("prepare", "folder", "--images", drawn, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    assert "The folder holds no images, but RoiSet.zip" in " ".join(result.output.split())


def test_other_files_beside_masks_or_images_are_left_alone(bioseg, blank_images) -> None:
    pngs = blank_images.parent / "pngs"
    pngs.mkdir()
    for number in range(6):
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[5:20, 5:20] = 255
        Image.fromarray(mask).save(pngs / f"a{number}.png")
    other_archive(pngs / "backup.zip")
    (pngs / "areas.csv").write_text("name,area\na0,225\n")
    (pngs / "settings.json").write_text("{}")
    result = bioseg(
        "prepare", "folder", "--images", blank_images, "--masks", pngs, "--out", blank_images.parent / "x.h5"
    )
    assert result.exit_code == 0, result.output


def test_annotations_of_two_formats_go_together_and_two_of_one_image_do_not(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    roi_set(drawn / "a0.zip")
    (drawn / "a1.csv").write_text(NAPARI_HEADER + napari_rows(0, "polygon", square(1, 1, 9, 9)))
    arguments = ("prepare", "folder", "--images", blank_images, "--masks", drawn)
    result = bioseg(*arguments, "--out", blank_images.parent / "x.h5")
    assert result.exit_code == 0, result.output
    assert "shapes of ImageJ and napari: 2 'object'" in " ".join(result.output.split())
    shape = {"label": "cell", "points": square(1, 1, 9, 9).tolist(), "shape_type": "polygon"}
    (drawn / "a0.json").write_text(labelme(shape))
    result = bioseg(*arguments, "--out", blank_images.parent / "y.h5")
    assert result.exit_code == 3
    assert "a0.json and a0.zip are both named like a0.tif" in " ".join(result.output.split())
