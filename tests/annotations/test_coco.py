"""COCO's JSON: polygons and runs of pixels, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.drawn import SIDE, compressed, labels, mask, only, prepared, rle, shapes, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st

from bioseg_cli.annotations.coco import _uncompressed
from bioseg_cli.annotations.formats import read_annotations
from bioseg_cli.errors import DataError


def document(segmentation: object, **changed: object) -> dict:
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 4, "width": 3}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": 5, "image_id": 7, "category_id": 1, "segmentation": segmentation, "iscrowd": 0}],
        **changed,
    }


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_runs_go_down_the_columns(tmp_path) -> None:
    expected = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1]], dtype=bool)
    for counts in ([2, 4, 5, 1], "245M", compressed([2, 4, 5, 1])):
        (shape,) = only(written(tmp_path, document({"size": [4, 3], "counts": counts}))).shapes
        np.testing.assert_array_equal(mask(shape, 4, 3), expected)
    assert shape.class_name == "cell"


def test_the_text_of_compressed_runs_is_that_of_the_format() -> None:
    # A run of 100 is 3 * 32 + 4: the character of 4 and "more", and that of 3. The fourth run counts from the second.
    assert _uncompressed("T30T3O") == [100, 0, 100, -1]
    assert _uncompressed("T3") == [100]
    assert _uncompressed("512O") == [5, 1, 2, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=12))
def test_compressed_runs_come_back(runs) -> None:
    assert _uncompressed(compressed(runs)) == runs


def test_several_polygons_are_one_area_and_overlap_once(tmp_path) -> None:
    polygons = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 4, 1, 4]]
    (shape,) = only(written(tmp_path, document(polygons))).shapes
    expected = [[1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 1, 1]]
    np.testing.assert_array_equal(mask(shape, 4, 3), np.array(expected, dtype=bool))


def test_images_without_shapes_are_unlabelled(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    files = sorted(path.name for path in blank_images.iterdir())
    write_coco(drawn / "some.json", {name: shapes() if name != files[2] else () for name in files[:5]})
    dataset, output = prepared(bioseg, blank_images, drawn)
    named = {Path(dataset.name(i)).stem for i in np.flatnonzero(dataset.labelled).tolist()}
    assert named == {"a0", "a1", "a3", "a4"}
    assert "1 images have no shape in some.json: they are unlabelled (a2)" in output
    assert (labels(dataset, "a1") > 0).sum() == sum(shape.pixels.sum() for shape in shapes())


def test_an_image_that_is_not_there_or_of_another_size_is_refused(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    write_coco(drawn / "some.json", {"b.tif": shapes()[1:], "a1.tif": shapes()[1:]})
    arguments = ("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    result = bioseg(*arguments)
    assert result.exit_code == 3
    assert f"The annotation has no image in {drawn / 'some.json' / 'b'} " in " ".join(result.output.split())
    assert "Add the image, or leave it out of the file" in result.output
    text = (drawn / "some.json").read_text().replace("b.tif", "a0.tif")
    (drawn / "some.json").write_text(text.replace(f'"height": {SIDE}', '"height": 65'))
    result = bioseg(*arguments)
    assert result.exit_code == 3
    assert "The shapes were drawn on 65 x 64 pixels (height x width)" in " ".join(result.output.split())


BOX = [0, 0, 2, 0, 2, 2, 0, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (document([]), "Annotation 5 of a has no segmentation"),
        (document([[1, 1, 2, 2, 3]]), "Annotation 5 of a has a polygon that is no list of x and y in turn"),
        (document([[1, 1, 2, 2]]), "Annotation 5 of a encloses no area"),
        (document([[float("nan"), 1, 2, 2, 3, 1]]), "Annotation 5 of a has coordinates that are not finite"),
        (document([[1e300, 1, 2, 2, 3, 1]]), "Annotation 5 of a has coordinates beyond 10000000 pixels"),
        (document({"size": [4, 3], "counts": [2, 4, 5]}), "Annotation 5 of a has runs that do not make 4 x 3 pixels"),
        (document({"size": [4, 3], "counts": [2, -4, 14]}), "has runs that do not make 4 x 3 pixels"),
        (document({"size": [4, 3], "counts": [12]}), "Annotation 5 of a holds no pixel"),
        (document({"size": [4, 4], "counts": [2, 4]}), "a mask of 4 x 4 pixels, and its image has 4 x 3"),
        (document({"size": [4, 3], "counts": "2 4"}), "Annotation 5 of a has compressed runs that are damaged"),
        (document({"size": [4, 3], "counts": "o" * 99}), "Annotation 5 of a has compressed runs that are damaged"),
        (document({"size": [4, 3], "counts": "245T"}), "Annotation 5 of a has compressed runs that break off"),
        (document({"size": [4, 3], "counts": None}), "The values of annotation 5 of a cannot be read"),
        (
            document({"size": [10**6, 10**6], "counts": [10**12]}, images=[{"id": 7, "file_name": "a.png"}]),
            "Annotation 5 of a is a mask of 1000000 x 1000000 pixels",
        ),
        (document([BOX], categories=[]), "Annotation 5 of a is of the category 1, which the file does not list"),
        (document([BOX], images=[]), "Annotation 1 is of the image 7, which the file does not list"),
        (
            document([BOX], images=[{"id": 7, "file_name": "x/a.png"}, {"id": 8, "file_name": "y/a.png"}]),
            "has two images of one id or of one name",
        ),
        (document([BOX], annotations=[3]), "The values of annotation 1 cannot be read"),
        (document([BOX], images=None), "The values of the list of images or categories cannot be read"),
        ("[" * 100_000, "The JSON file cannot be read"),
        ("", "The JSON file cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, content, said) -> None:
    with pytest.raises(DataError) as caught:
        only(written(tmp_path, content))
    assert said in str(caught.value)


def test_other_documents_are_none(tmp_path) -> None:
    for content in ({"images": []}, [], 5, None, {"annotations": []}):
        assert read_annotations(written(tmp_path, content), ()) is None


def test_a_test_mask_has_the_runs_that_its_pixels_show() -> None:
    assert rle(np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1]], dtype=bool)) == [2, 4, 5, 1]
