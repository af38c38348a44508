"""Shapes of QuPath as masks: equal data and weights to a PNG of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import load_file
from skimage.draw import polygon2mask

from bioseg_cli.dataset.reader import Dataset

SIDE = 64


def circle(x: float, y: float, radius: float, count: int = 24) -> np.ndarray:
    angles = np.arange(count) * 2 * np.pi / count + 0.1
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def feature(points: np.ndarray, name: str | None = "cell", holes: tuple = (), kind: str = "Polygon") -> dict:
    rings = [[*ring.tolist(), ring[0].tolist()] for ring in (points, *holes)]
    classification = {} if name is None else {"classification": {"name": name, "color": [200, 0, 0]}}
    coordinates = points.tolist() if kind == "LineString" else rings
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **classification},
    }


def write(path: Path, *features: dict, as_list: bool = False) -> None:
    document = list(features) if as_list else {"type": "FeatureCollection", "features": list(features)}
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "drawn").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 999, (SIDE, SIDE)).astype(np.uint16)
        tifffile.imwrite(folder / f"a{number}.tif", pixels)
    return folder


def prepared(bioseg, images: Path, masks: Path, *options: object) -> tuple[Dataset, str]:
    out = images.parent / f"{masks.name}.h5"
    result = bioseg("prepare", "folder", "--images", images, "--masks", masks, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return Dataset(out), " ".join(result.output.split())


def labels(dataset: Dataset, name: str) -> np.ndarray:
    return next(dataset.labels(i) for i in range(len(dataset.labelled)) if Path(dataset.name(i)).stem == name)


def test_shapes_and_a_png_of_them_give_equal_data_and_equal_weights(bioseg, images) -> None:
    drawn, pngs = images.parent / "drawn", images.parent / "pngs"
    pngs.mkdir()
    for number in range(6):
        shapes = [circle(17.3 + number, 20.7, 9.2), circle(44.1, 43.9, 11.4)]
        write(drawn / f"a{number}.tif.geojson", *(feature(points) for points in shapes), as_list=number % 2 == 1)
        # The reference tests whole coordinates, which are half a pixel from the centres here.
        mask = sum(polygon2mask((SIDE, SIDE), points[:, ::-1] - 0.5) for points in shapes)
        Image.fromarray((mask * 255).astype(np.uint8)).save(pngs / f"a{number}.png")
    hashes, weights = [], []
    for masks in (drawn, pngs):
        dataset, _ = prepared(bioseg, images, masks, "--classes", "background,cell")
        hashes.append(dataset.content_hash)
        run = images.parent / f"run-{masks.name}"
        options = ("--steps", 20, "--width", 8, "--batch-size", 2, "--quiet")
        result = bioseg("train-uda", images.parent / f"{masks.name}.h5", "--run", run, *options)
        assert result.exit_code == 0, result.output
        weights.append(load_file(run / "checkpoints" / "last.safetensors"))
    assert hashes[0] == hashes[1]
    first, second = weights
    assert first.keys() == second.keys() and len(first) > 0
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_holes_overlaps_ignored_and_unclassified_shapes(bioseg, images) -> None:
    square = np.array([[10, 10], [40, 10], [40, 40], [10, 40]], dtype=float)
    drawn = images.parent / "drawn"
    for number in range(5):
        nucleus = feature((square - 25) / 3 + 25, "nucleus")
        write(drawn / f"a{number}.json", nucleus, feature(square, "cell"))
    write(drawn / "a0.json", feature(square, "cell", holes=((square - 25) / 3 + 25,)), feature(square + 18, "Ignore*"))
    write(drawn / "a1.json")
    write(drawn / "a5.json", feature(square, None))
    dataset, output = prepared(bioseg, images, drawn)
    assert [info.name for info in dataset.classes] == ["background", "cell", "nucleus", "object"]
    assert "1 of 9 shapes have no class: they are 'object'" in output
    assert "1 annotations are empty: their images show background alone (a1.json)" in output
    assert not labels(dataset, "a1").any()
    expected = np.zeros((SIDE, SIDE), dtype=np.uint8)
    expected[10:40, 10:40] = 1
    expected[20:30, 20:30] = 2
    np.testing.assert_array_equal(labels(dataset, "a2"), expected)
    assert (labels(dataset, "a0")[20:28, 20:28] == 0).all()
    assert (labels(dataset, "a0")[40:58, 40:58] == 255).all()
    assert (labels(dataset, "a5") == np.where(expected > 0, 3, 0)).all()


def test_a_border_that_crosses_itself_and_a_border_on_centres(bioseg, images) -> None:
    drawn = images.parent / "drawn"
    loop = np.array([[0, 0], [20, 0], [20, 20], [8, 20], [8, 8], [16, 8], [16, 24], [0, 24]], dtype=float)
    left = np.array([[2.5, 2.5], [10.5, 2.5], [10.5, 30.5], [2.5, 30.5]])
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(left, "left"), feature(left + np.array((8, 0)), "right"))
    write(drawn / "a0.geojson", feature(loop, "left"), feature(left + np.array((30, 0)), "right"))
    dataset, output = prepared(bioseg, images, drawn)
    assert "1 outlines cross themselves: all that they run around is taken (a0.geojson, feature 1)" in output
    assert (labels(dataset, "a0")[:20, :20] == 1).all()
    touching = labels(dataset, "a1")
    assert (touching == 1).sum() == (touching == 2).sum() == 8 * 28
    assert "over each other" not in output


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: write(path, feature(circle(9, 9, 5) + 500)), "Feature 1 lies outside of a0.tif"),
        (lambda path: write(path, feature(circle(9, 9, 5), kind="LineString")), "Feature 1 is of the type LineString"),
        (lambda path: write(path, feature(np.ones((4, 2)))), "Feature 1 encloses no area"),
        (lambda path: path.write_text('{"type": "FeatureCollection", "feat'), "The JSON file cannot be read"),
        (lambda path: path.write_text('{"some": "thing"}'), "a0.geojson is of no format of annotations"),
        (lambda path: path.rename(path.with_name("b.geojson")), "1 of 6 annotations have no image: b.geojson"),
        (lambda path: path.with_name("a1.png").touch(), "The folder holds masks (a1.png) and annotations"),
    ],
)
def test_what_is_refused_names_the_file_and_says_what_to_do(bioseg, images, spoil, said) -> None:
    drawn = images.parent / "drawn"
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(circle(30, 30, 9)))
    spoil(drawn / "a0.geojson")
    out = images.parent / "x.h5"
    result = bioseg("prepare", "folder", "--images", images, "--masks", drawn, "--out", out)
    assert result.exit_code == 3, result.output
    assert said in " ".join(result.output.split())
    assert not out.exists()


def test_options_that_do_not_fit_are_refused(bioseg, images) -> None:
    drawn = images.parent / "drawn"
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(circle(30, 30, 9)))
    for options, said in (
        (("--masks-are", "binary"), "are for masks that are images, not for GeoJSON"),
        (("--classes", "background,nucleus"), "--classes does not name 'cell'"),
    ):
        result = bioseg("prepare", "folder", "--images", images, "--masks", drawn, "--out", images / "x.h5", *options)
        assert result.exit_code == 2
        assert said in " ".join(result.output.split())
