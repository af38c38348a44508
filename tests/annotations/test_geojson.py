"""Shapes of QuPath as masks: equal data and weights to a PNG of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.drawn import SIDE, labelled_frames, labels, make_stacks, prepared
from PIL import Image
from safetensors.numpy import load_file
from skimage.draw import polygon2mask


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


@pytest.mark.slow
def test_shapes_and_a_png_of_them_give_equal_data_and_equal_weights(bioseg, blank_images) -> None:
    drawn, pngs = blank_images.parent / "drawn", blank_images.parent / "pngs"
    pngs.mkdir()
    for number in range(6):
        shapes = [circle(17.3 + number, 20.7, 9.2), circle(44.1, 43.9, 11.4)]
        write(drawn / f"a{number}.tif.geojson", *(feature(points) for points in shapes), as_list=number % 2 == 1)
        # The reference tests whole coordinates, which are half a pixel from the centres here.
        mask = sum(polygon2mask((SIDE, SIDE), points[:, ::-1] - 0.5) for points in shapes)
        Image.fromarray((mask * 255).astype(np.uint8)).save(pngs / f"a{number}.png")
    hashes, weights = [], []
    for masks in (drawn, pngs):
        dataset, _ = prepared(bioseg, blank_images, masks, "--classes", "background,cell")
        hashes.append(dataset.content_hash)
        run = blank_images.parent / f"run-{masks.name}"
        options = ("--steps", 20, "--width", 8, "--batch-size", 2, "--quiet")
        result = bioseg("train-uda", blank_images.parent / f"{masks.name}.h5", "--run", run, *options)
        assert result.exit_code == 0, result.output
        weights.append(load_file(run / "checkpoints" / "last.safetensors"))
    assert hashes[0] == hashes[1]
    first, second = weights
    assert first.keys() == second.keys() and len(first) > 0
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_holes_overlaps_ignored_and_unclassified_shapes(bioseg, blank_images) -> None:
    square = np.array([[10, 10], [40, 10], [40, 40], [10, 40]], dtype=float)
    drawn = blank_images.parent / "drawn"
    for number in range(5):
        nucleus = feature((square - 25) / 3 + 25, "nucleus")
        write(drawn / f"a{number}.json", nucleus, feature(square, "cell"))
    write(drawn / "a0.json", feature(square, "cell", holes=((square - 25) / 3 + 25,)), feature(square + 18, "Ignore*"))
    write(drawn / "a1.json")
    write(drawn / "a5.json", feature(square, None))
    dataset, output = prepared(bioseg, blank_images, drawn)
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


def test_a_border_that_crosses_itself_and_a_border_on_centres(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    loop = np.array([[0, 0], [20, 0], [20, 20], [8, 20], [8, 8], [16, 8], [16, 24], [0, 24]], dtype=float)
    left = np.array([[2.5, 2.5], [10.5, 2.5], [10.5, 30.5], [2.5, 30.5]])
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(left, "left"), feature(left + np.array((8, 0)), "right"))
    write(drawn / "a0.geojson", feature(loop, "left"), feature(left + np.array((30, 0)), "right"))
    dataset, output = prepared(bioseg, blank_images, drawn)
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
        (lambda path: path.write_text('{"some": "thing"}'), "The file is of no format of annotations"),
        (lambda path: path.rename(path.with_name("b.geojson")), "The annotation has no image"),
        (lambda path: path.with_name("a1.png").touch(), "The folder holds masks (a1.png) and annotations"),
    ],
)
def test_what_is_refused_names_the_file_and_says_what_to_do(bioseg, blank_images, spoil, said) -> None:
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(circle(30, 30, 9)))
    spoil(drawn / "a0.geojson")
    out = blank_images.parent / "x.h5"
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", out)
    assert result.exit_code == 3, result.output
    assert said in " ".join(result.output.split())
    assert not out.exists()


def test_options_that_do_not_fit_are_refused(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        write(drawn / f"a{number}.geojson", feature(circle(30, 30, 9)))
    for options, said in (
        (("--masks-are", "binary"), "are for masks that are images, not for GeoJSON"),
        (("--classes", "background,nucleus"), "--classes does not name 'cell'"),
    ):
        result = bioseg(
            "prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5", *options
        )
        assert result.exit_code == 2
        assert said in " ".join(result.output.split())


def on_plane(drawn: dict, **plane: int) -> dict:
    """The feature on a plane, as QuPath writes it: channel, plane and time point."""
    return {**drawn, "geometry": {**drawn["geometry"], "plane": {"c": -1, "z": 0, "t": 0, **plane}}}


def test_shapes_of_a_stack_are_drawn_on_their_frames(bioseg, blank_images) -> None:
    make_stacks(blank_images)
    drawn = blank_images.parent / "drawn"
    ring = np.array([[5, 6], [20, 6], [20, 16], [5, 16]], dtype=float)
    for number in range(6):
        write(drawn / f"a{number}.geojson", on_plane(feature(ring), t=number % 3))
    # A shape on the first plane has none in QuPath's files.
    write(drawn / "a3.geojson", feature(ring), on_plane(feature(ring[:3]), t=2), on_plane(feature(ring + 20), t=2))
    dataset, _ = prepared(bioseg, blank_images, drawn)
    expected = {f"a{number}": [(number % 3, 150)] for number in range(6)}
    assert labelled_frames(dataset) == {**expected, "a3": [(0, 150), (2, 150 + int(labels_within(ring[:3])))]}


def labels_within(ring: np.ndarray) -> int:
    return int(polygon2mask((SIDE, SIDE), ring[:, ::-1] - 0.5).sum())


@pytest.mark.parametrize(
    ("plane", "said"),
    [
        ({"t": 3}, "Feature 1 was drawn on frame 4, and a0.tif has 3 frames"),
        ({"t": 1, "z": 1}, "Feature 1 lies on time point 1 of plane 1, and an image here has one of the two axes"),
    ],
)
def test_frames_that_the_image_lacks_are_refused(bioseg, blank_images, plane, said) -> None:
    make_stacks(blank_images)
    drawn = blank_images.parent / "drawn"
    write(drawn / "a0.geojson", on_plane(feature(circle(30, 30, 9)), **plane))
    result = bioseg("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    assert result.exit_code == 3
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(("plane", "refused"), [({"t": 1}, True), ({"z": 1}, True), ({}, False)])
def test_a_later_frame_of_time_points_and_planes_is_refused(bioseg, blank_images, plane, refused) -> None:
    """A file names one of the two axes, and what it leaves out may be the first one or all."""
    for path in blank_images.iterdir():
        volume = np.stack([tifffile.imread(path)] * 6).reshape(2, 3, SIDE, SIDE)
        tifffile.imwrite(path, volume, photometric="minisblack", metadata={"axes": "TZYX"})
    drawn = blank_images.parent / "drawn"
    for number in range(2):
        write(drawn / f"a{number}.geojson", on_plane(feature(circle(30, 30, 9)), **plane))
    given = ("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", drawn / "x.h5", "--planes")
    result = bioseg(*given)
    assert result.exit_code == (3 if refused else 0)
    assert ("has 2 time points of 3 planes" in " ".join(result.output.split())) == refused


def test_what_overlaps_is_told_whether_or_not_a_shape_says_its_frame(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    plain, nucleus = feature(circle(30, 30, 9)), feature(circle(30, 30, 5))
    nucleus["properties"] = {"classification": {"name": "nucleus"}}
    write(drawn / "a0.geojson", plain, nucleus)
    _, output = prepared(bioseg, blank_images, drawn)
    assert "1 images have shapes of different classes over each other" in output


def test_a_stack_in_which_nothing_is_drawn_is_unlabelled(bioseg, blank_images) -> None:
    make_stacks(blank_images)
    drawn = blank_images.parent / "drawn"
    write(drawn / "a0.geojson", on_plane(feature(circle(30, 30, 9)), t=1))
    write(drawn / "a1.geojson")
    dataset, output = prepared(bioseg, blank_images, drawn)
    assert "1 annotations of stacks are empty: all frames are unlabelled (a1.geojson)" in output
    assert "background alone" not in output and int(dataset.labelled.sum()) == 1


def test_a_frame_of_another_program_is_asked_for_and_that_of_a_single_image_is_told(bioseg, blank_images) -> None:
    drawn = blank_images.parent / "drawn"
    for number in range(6):
        write(drawn / f"a{number}.geojson", on_plane(feature(circle(30, 30, 9)), z=4))
    _, output = prepared(bioseg, blank_images, drawn)
    assert "6 shapes were drawn on a later frame, and belong to an image that has one frame (a0.geojson" in output
    write(drawn / "a0.geojson", feature(circle(30, 30, 9)), on_plane(feature(circle(30, 30, 9)), z=4))
    arguments = ("prepare", "folder", "--images", blank_images, "--masks", drawn, "--out", blank_images / "x.h5")
    result = bioseg(*arguments)
    assert result.exit_code == 3
    assert "Shapes were drawn on 2 frames, and a0.tif has one" in " ".join(result.output.split())
    make_stacks(blank_images)
    plain = feature(circle(30, 30, 9))
    plain["properties"] = {}
    write(drawn / "a0.geojson", plain)
    result = bioseg(*arguments)
    assert result.exit_code == 3
    assert "Feature 1 was drawn on no frame in particular, and a0.tif has 3 frames" in " ".join(result.output.split())
