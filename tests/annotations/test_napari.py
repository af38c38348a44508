"""Shapes layers of napari: their pixels, classes and frames, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.drawn import NAPARI_HEADER, labelled_frames, labels, make_stacks, mask, napari_rows, only, prepared, square

from bioseg_cli.annotations.formats import read_annotations
from bioseg_cli.errors import DataError

ROWS, COLUMNS = np.mgrid[:64, :64] + 0.5


def test_pixels_of_each_type_of_shape(tmp_path) -> None:
    slanted = np.array([[10, 20], [34, 38], [28, 46], [4, 28]])  # a rectangle of 30 x 10 around (19, 33)
    path = tmp_path / "a.csv"
    path.write_text(
        NAPARI_HEADER
        + napari_rows(0, "polygon", np.array([[20, 10], [30, 20], [20, 30], [10, 20]]) + np.array([0.25, 0.125]))
        + napari_rows(1, "rectangle", square(3, 4, 20, 12))
        + napari_rows(2, "rectangle", slanted)
        + napari_rows(3, "ellipse", slanted)
        + napari_rows(4, "line", np.array([[4.5, 9.5], [30.5, 9.5]]))
        + napari_rows(5, "path", np.array([[5.5, 5.5], [15.5, 5.5], [15.5, 12.5]]))
    )
    shapes = only(path).shapes
    along = (COLUMNS - 19) * 0.8 + (ROWS - 33) * 0.6
    across = (ROWS - 33) * 0.8 - (COLUMNS - 19) * 0.6
    diamond = np.abs(COLUMNS - 20.25) + np.abs(ROWS - 20.125) < 10
    lines = [np.zeros((64, 64), bool) for _ in range(2)]
    lines[0][9, 4:31] = True
    lines[1][5, 5:16] = lines[1][5:13, 15] = True
    upright = (ROWS > 4) & (ROWS < 12) & (COLUMNS > 3) & (COLUMNS < 20)
    rectangle, ellipse = (np.abs(along) < 15) & (np.abs(across) < 5), (along / 15) ** 2 + (across / 5) ** 2 <= 1
    for shape, expected in zip(shapes, [diamond, upright, rectangle, ellipse, *lines], strict=True):
        np.testing.assert_array_equal(mask(shape), expected, err_msg=shape.name)
    assert [shape.thin for shape in shapes] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("name", "image", "class_name"),
    [
        ("a.csv", "a", None),
        ("a.nucleus.csv", "a", "nucleus"),
        ("a.tif.csv", "a", None),
        ("exp.1.csv", "exp.1", None),
        ("exp.1.nucleus.csv", "exp.1", "nucleus"),
    ],
)
def test_the_class_is_the_last_part_of_the_name(tmp_path, name, image, class_name) -> None:
    path = tmp_path / name
    path.write_text(NAPARI_HEADER + napari_rows(0, "polygon", square(3, 4, 20, 12)))
    (annotation,) = read_annotations(path, {"a", "exp.1"}).annotations
    assert (annotation.image, annotation.shapes[0].class_name) == (image, class_name)


def test_the_first_of_three_axes_is_the_frame(bioseg, blank_images) -> None:
    make_stacks(blank_images)
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        rows = napari_rows(0, "rectangle", square(3, 4, 20, 12)).splitlines()
        placed = [",".join([*row.split(",")[:3], f"{number % 3}.0", *row.split(",")[3:]]) for row in rows]
        header = NAPARI_HEADER.strip() + ",axis-2"
        (drawn / f"a{number}.csv").write_text("\n".join([header, *placed]) + "\n")
    dataset, _ = prepared(bioseg, blank_images, drawn)
    assert labelled_frames(dataset) == {f"a{number}": [(number % 3, 136)] for number in range(6)}


def test_the_layers_of_an_image_belong_together(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        for name, ring in (("cell", square(3, 4, 20, 30)), ("nucleus", square(5, 5, 10, 10))):
            (drawn / f"a{number}.{name}.csv").write_text(NAPARI_HEADER + napari_rows(0, "polygon", ring))
    (drawn / "a0.nucleus.csv").write_text(NAPARI_HEADER + napari_rows(7, "line", np.array([[-5, 6.5], [9, 6.5]])))
    dataset, output = prepared(bioseg, blank_images, drawn)
    assert np.bincount(labels(dataset, "a1").ravel()).tolist() == [64 * 64 - 17 * 26, 17 * 26 - 25, 25]
    assert "1 shapes reach beyond their image and are cut off there (drawn, shape 7 of a0.nucleus.csv)" in output
    assert "1 shapes are lines or points: what lies around them is the background" in output


@pytest.mark.parametrize("names", [["b.cell.csv"], ["b.cell.csv", "b.nucleus.csv"]])
def test_layers_without_an_image_are_refused(bioseg, blank_images, names) -> None:
    for name in names:
        (blank_images.parent / "drawn" / name).write_text(
            NAPARI_HEADER + napari_rows(0, "polygon", square(3, 4, 20, 12))
        )
    drawn = blank_images.parent / "drawn"
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    shown = "b" if len(names) > 1 else names[0]
    assert f"The annotation has no image in {drawn / shown} " in " ".join(result.output.split())
    assert "Name the annotation like its image (image.tif, image.csv)" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NAPARI_HEADER + napari_rows(3, "polygon", square(1, 1, 9, 9) * np.nan), "Shape 3 has coordinates"),
        (NAPARI_HEADER + napari_rows(3, "ellipse", square(1, 1, 9, 9)[:3]), "Shape 3 is an ellipse with 3 corners"),
        (NAPARI_HEADER + "0,sphere,0,1,1\n", "Shape 0 is of the type sphere"),
        (NAPARI_HEADER + "0,polygon,0,here,1\n", "Shape 0 has a coordinate that is no number"),
        (NAPARI_HEADER + "0,polygon,0,1,1\n0,polygon,1,1\n", "Shape 0 has a row of 4 values"),
        (NAPARI_HEADER.replace("axis-1", "axis-2"), "The table has the columns"),
        (
            NAPARI_HEADER.strip() + ",axis-2\n0,polygon,0,1,1,1\n0,polygon,1,2,1,1\n0,polygon,2,1,9,1\n",
            "Shape 0 lies on several frames",
        ),
        (NAPARI_HEADER.strip() + ",axis-2,axis-3,axis-4\n0,line,0,1,1,1,1,1\n", "Shape 0 has 5 axes"),
        (NAPARI_HEADER + "0,polygon,0,1,1\n" + "9" * 200_000, "The CSV file cannot be read (field larger"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, text, said) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        only(path)
    assert said in str(caught.value)


def test_other_tables_are_none(tmp_path) -> None:
    path = tmp_path / "a.csv"
    for data in (b"", b"name,area\na,5\n", b"\xff\xfe\x00n\x00"):
        path.write_bytes(data)
        assert read_annotations(path, ()) is None
