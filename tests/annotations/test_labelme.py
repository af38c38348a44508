"""LabelMe's JSON: the pixels of each type of shape, and what is refused."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from helpers.drawn import labelme, labels, mask, only, png_text, prepared, square
from PIL import Image

from bioseg_cli.errors import DataError

ROWS, COLUMNS = np.mgrid[:64, :64] + 0.5


def drawn(kind: str, points: object, label: object = "cell", **more: object) -> dict:
    return {"label": label, "points": np.asarray(points, dtype=float).tolist(), "shape_type": kind, **more}


def test_pixels_of_each_type_of_shape(tmp_path) -> None:
    path = tmp_path / "a.json"
    stored = np.array([[1, 0, 1], [0, 1, 1]])
    path.write_text(
        labelme(
            drawn("polygon", [[20.25, 10.125], [30.25, 20.125], [20.25, 30.125], [10.25, 20.125]]),
            drawn("rectangle", [[20, 12], [3, 4]]),
            drawn("circle", [[30, 32], [30, 45]]),
            drawn("line", [[4.5, 9.5], [30.5, 9.5]]),
            drawn("linestrip", [[5.5, 5.5], [15.5, 5.5], [15.5, 12.5]]),
            drawn("point", [[63.9, 0.2]]),
            drawn("mask", [[8.4, 5.6], [10.4, 6.6]], mask=png_text(stored)),
            drawn(None, square(3, 4, 20, 12)),
        )
    )
    shapes = only(path).shapes
    expected = [np.zeros((64, 64), dtype=bool) for _ in range(8)]
    expected[0] = np.abs(COLUMNS - 20.25) + np.abs(ROWS - 20.125) < 10
    expected[1][4:12, 3:20] = expected[7][4:12, 3:20] = True
    expected[2] = (COLUMNS - 30) ** 2 + (ROWS - 32) ** 2 <= 13**2
    expected[3][9, 4:31] = True
    expected[4][5, 5:16] = expected[4][5:13, 15] = True
    expected[5][0, 63] = True
    expected[6][6:8, 8:11] = stored
    for shape, pixels in zip(shapes, expected, strict=True):
        np.testing.assert_array_equal(mask(shape), pixels, err_msg=shape.name)
    assert [shape.thin for shape in shapes] == [False, False, False, True, True, True, False, False]


def test_what_is_drawn_as_background_makes_a_hole(bioseg, blank_images) -> None:
    folder = blank_images.parent / "drawn"
    for number in range(6):
        ring, hole = drawn("polygon", square(3, 4, 30, 40)), drawn("polygon", square(10, 10, 20, 20), "_background_")
        (folder / f"a{number}.json").write_text(
            labelme(hole, ring, drawn("polygon", square(50, 50, 60, 60), "__ignore__"))
        )
    dataset, _ = prepared(bioseg, blank_images, folder)
    expected = np.zeros((64, 64), dtype=np.uint8)
    expected[4:40, 3:30], expected[10:20, 10:20], expected[50:60, 50:60] = 1, 0, 255
    np.testing.assert_array_equal(labels(dataset, "a0"), expected)


def test_the_size_of_the_image_has_to_fit(bioseg, blank_images) -> None:
    folder = blank_images.parent / "drawn"
    (folder / "a0.json").write_text(labelme(drawn("polygon", square(3, 4, 30, 40)), height=65))
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", folder, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    said = "The shapes were drawn on 65 x 64 pixels (height x width), and a0.tif has 64 x 64"
    assert said in " ".join(result.output.split())


def bomb() -> str:
    """A PNG of 60000 x 60000 pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = (60_000).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


def coloured() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (drawn("polygon", square(1, 1, 9, 9) * np.nan), "Shape 1 (cell) has coordinates that are not finite"),
        (drawn("polygon", [[1, 1], [2, 2]]), "Shape 1 (cell) encloses no area"),
        (drawn("polygon", np.random.default_rng(0).random((3000, 2)) * 60), "crosses itself more than 20000 times"),
        (drawn("linestrip", np.random.default_rng(0).random((3000, 2)) * 60), "crosses itself more than 20000 times"),
        (drawn("linestrip", np.zeros((0, 2))), "Shape 1 (cell) has no list of points"),
        (drawn("rectangle", [[1, 1]]), "Shape 1 (cell) has 1 points, and not 2"),
        (drawn("circle", [[5, 5], [5, 5]]), "Shape 1 (cell) encloses no area"),
        (drawn("cuboid", square(1, 1, 9, 9)), "Shape 1 (cell) is of the type cuboid"),
        (drawn("mask", [[1, 1], [3, 2]]), "The values of shape 1 (cell) cannot be read (KeyError('mask'))"),
        (drawn("mask", [[1, 1], [3, 2]], mask="%%"), "Shape 1 (cell)"),
        (drawn("mask", [[1, 1], [3, 2]], mask="AAAA"), "Shape 1 (cell) has a mask that cannot be read"),
        (drawn("mask", [[1, 1], [3, 2]], mask=png_text(np.ones((5, 5)))), "a mask of 5 x 5 pixels for another"),
        (drawn("mask", [[1, 1], [3, 2]], mask=png_text(np.zeros((2, 3)))), "Shape 1 (cell) holds no pixel"),
        (drawn("mask", [[1, 1], [2, 2]], mask=coloured()), "Shape 1 (cell) has a mask with colours"),
        (drawn("mask", [[0, 0], [59_999, 59_999]], mask=bomb()), "Shape 1 (cell) has a mask that cannot be read"),
        ({"label": "cell", "points": [["a", 1], [2, 3]]}, "Shape 1 (cell)"),
        ({"label": "cell"}, "The values of shape 1 (cell) cannot be read (KeyError('points'))"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, shape, said) -> None:
    path = tmp_path / "a.json"
    path.write_text(labelme(shape))
    with pytest.raises(DataError) as caught:
        only(path)
    assert said in str(caught.value)
