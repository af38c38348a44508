"""Annotations that cannot be used: all of them are named at once, and `--skip-bad` goes on with the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import Result
from helpers.drawn import SIDE, Drawn, labels, pixels_of, square, write_coco, write_geojson, write_labelme
from PIL import Image

from bioseg_cli.dataset.reader import Dataset

Bioseg = Callable[..., Result]

CELL = Drawn("cell", square(4, 4, 24, 24), pixels_of(slice(4, 24), slice(4, 24)))
BEYOND = Drawn("cell", square(90, 4, 99, 24), CELL.pixels)


def spoilt(drawn: Path) -> dict[str, str]:
    """Annotations of the images a0 to a5, two of which can be used; what has to be said of each other file."""
    write_geojson(drawn / "a0.geojson", [CELL])
    write_geojson(drawn / "a5.geojson", [CELL])
    (drawn / "a1.json").write_text("{")
    write_geojson(drawn / "a2.geojson", [BEYOND])
    (drawn / "a3.roi").touch()
    write_geojson(drawn / "nobody.geojson", [CELL])
    (drawn / "via.json").write_text('{"_via_settings": 1}')
    for name in ("a4.geojson", "a4_mask.geojson"):
        write_geojson(drawn / name, [CELL])
    return {
        "a1.json": "The JSON file cannot be read",
        "a2.geojson": "lies outside of a2.tif",
        "a3.roi": "Selection a3 cannot be read",
        "a4.geojson": "a4.geojson and a4_mask.geojson are both named like a4.tif",
        "a4_mask.geojson": "a4.geojson and a4_mask.geojson are both named like a4.tif",
        "nobody.geojson": "The annotation has no image",
        "via.json": "The file is of no format of annotations",
    }


def test_all_faults_are_named_at_once(bioseg: Bioseg, blank_images: Path) -> None:
    drawn = blank_images.parent / "drawn"
    expected = spoilt(drawn)
    out = blank_images.parent / "x.h5"
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", out, "--json")
    assert result.exit_code == 3 and not out.exists()
    assert "7 of 15 files cannot be used" in result.stderr and "--skip-bad" in result.stderr
    document = json.loads(result.stdout)
    said = {file["file"]: file["reason"] for file in document["rejected"]}
    assert said.keys() == expected.keys() and document["files"] == 15
    assert all(reason in said[name] for name, reason in expected.items())
    assert {file["kind"] for file in document["rejected"]} == {"mask"}
    assert all(file["remedy"] for file in document["rejected"])


def test_the_others_can_be_used(bioseg: Bioseg, blank_images: Path) -> None:
    drawn = blank_images.parent / "drawn"
    expected = spoilt(drawn)
    out = blank_images.parent / "x.h5"
    given = ("--images", blank_images, "--masks", drawn, "--out", out, "--skip-bad", "--json")
    result = bioseg("prepare", "folder", *given)
    assert result.exit_code == 0, result.output
    assert {file["file"] for file in json.loads(result.stdout)["left_out"]} == set(expected)
    with Dataset(out) as dataset:
        found = {Path(dataset.name(i)).stem: bool(dataset.labelled[i]) for i in range(dataset.size)}
        # An image whose annotation cannot be used has no label, as one without an annotation.
        assert found == {f"a{number}": number in (0, 5) for number in range(6)}
        np.testing.assert_array_equal(labels(dataset, "a0"), CELL.pixels)


def test_each_annotation_that_was_drawn_on_another_size_is_named(bioseg: Bioseg, blank_images: Path) -> None:
    drawn = blank_images.parent / "drawn"
    for number in range(4):
        write_labelme(drawn / f"a{number}.json", [CELL])
    for name in ("a1.json", "a2.json"):
        document = json.loads((drawn / name).read_text())
        (drawn / name).write_text(json.dumps({**document, "imageHeight": 2 * SIDE}))
    out = blank_images.parent / "x.h5"
    given = ("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", out, "--json")
    said = {file["file"]: file["reason"] for file in json.loads(bioseg(*given).stdout)["rejected"]}
    assert said.keys() == {"a1.json", "a2.json"}
    assert all(f"were drawn on {2 * SIDE} x {SIDE} pixels" in reason for reason in said.values())
    assert bioseg(*given, "--skip-bad").exit_code == 0
    with Dataset(out) as dataset:
        assert int(dataset.labelled.sum()) == 2


def test_without_a_usable_annotation_there_is_nothing_to_go_on_with(bioseg: Bioseg, blank_images: Path) -> None:
    drawn = blank_images.parent / "drawn"
    (drawn / "a1.json").write_text("{")
    write_geojson(drawn / "a2.geojson", [BEYOND])
    for option in ((), ("--skip-bad",)):
        given = ("--images", blank_images, "--masks", drawn, "--out", drawn / "x.h5", *option, "--json")
        result = bioseg("prepare", "folder", *given)
        assert result.exit_code == 3 and len(json.loads(result.stdout)["rejected"]) == 2
        assert ("No mask is left" in result.stderr) == bool(option)


def test_images_that_a_file_lists_and_that_are_not_there_are_named(bioseg: Bioseg, blank_images: Path) -> None:
    drawn = blank_images.parent / "drawn"
    write_coco(drawn / "all.json", {"a0.png": [CELL], "b1.png": [CELL], "b2.png": [CELL], "a2.png": [BEYOND]})
    out = blank_images.parent / "x.h5"
    given = ("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", out, "--json")
    result = bioseg(*given)
    assert result.exit_code == 3
    said = {file["file"]: file["reason"] for file in json.loads(result.stdout)["rejected"]}
    assert said.keys() == {"all.json/b1", "all.json/b2", "all.json/a2"}
    assert said["all.json/b1"] == "The annotation has no image" and "outside of a2.tif" in said["all.json/a2"]
    assert bioseg(*given, "--skip-bad").exit_code == 0
    with Dataset(out) as dataset:
        assert int(dataset.labelled.sum()) == 1


def test_every_mask_of_an_object_that_cannot_be_used_is_named(bioseg: Bioseg, blank_images: Path) -> None:
    root = blank_images.parent / "objects"
    for number, image in enumerate(sorted(blank_images.iterdir())):
        (root / image.stem / "images").mkdir(parents=True)
        (root / image.stem / "masks").mkdir()
        image.rename(root / image.stem / "images" / image.name)
        Image.fromarray(CELL.pixels).save(root / image.stem / "masks" / "0.png")
        if number < 2:
            Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(root / image.stem / "masks" / "1.png")
            (root / image.stem / "masks" / "2.png").write_bytes(b"no picture")
    (root / "results").mkdir()
    out = blank_images.parent / "x.h5"
    given = ("prepare", "folder", "--images", root, "--masks", root, "--out", out, "--json")
    result = bioseg(*given)
    assert result.exit_code == 3
    said = {file["file"]: file["reason"] for file in json.loads(result.stdout)["rejected"]}
    assert said.keys() == {"results", *(f"a{image}/masks/{mask}.png" for image in (0, 1) for mask in (1, 2))}
    assert said["a0/masks/1.png"] == "Mask 1.png holds no pixel" and "no images/ in it" in said["results"]
    assert bioseg(*given, "--skip-bad").exit_code == 0
    with Dataset(out) as dataset:
        # Where an object cannot be read is no background.
        assert int(dataset.labelled.sum()) == 4
