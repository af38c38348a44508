"""The same shapes in every format make equal data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roifile
from helpers.drawn import (
    composite,
    polygon_roi,
    prepared,
    shapes,
    write_coco,
    write_geojson,
    write_labelme,
    write_napari,
    write_png,
)
from PIL import Image

CLASSES = ("cell", "nucleus")


def write_roi_set(path: Path) -> None:
    rois = [
        polygon_roi(shape.ring, name=shape.name)
        if shape.hole is None
        else roifile.ImagejRoi.frombytes(composite([shape.ring, shape.hole], name=shape.name))
        for shape in shapes()
    ]
    roifile.roiwrite(path, rois, name=[f"{roi.name}-{number}" for number, roi in enumerate(rois)])


def write_all(folder: Path, blank_images: list[Path], kind: str) -> None:
    if kind.startswith("coco"):
        write_coco(
            folder / "instances.json", {image.name: shapes() for image in blank_images}, packed=kind == "coco-packed"
        )
        return
    for image in blank_images:
        if kind == "png":
            write_png(folder / f"{image.stem}.png", shapes(), CLASSES)
        elif kind == "geojson":
            write_geojson(folder / f"{image.stem}.geojson", shapes())
        elif kind == "roi":
            write_roi_set(folder / f"{image.stem}_RoiSet.zip")
        elif kind == "labelme":
            write_labelme(folder / f"{image.stem}.json", shapes())
        elif kind == "napari":
            write_napari(folder, image.stem, shapes())


def test_equal_shapes_make_equal_data_sets_in_all_formats(bioseg, blank_images) -> None:
    files = sorted(blank_images.iterdir())
    hashes = {}
    for kind in ("png", "geojson", "roi", "coco", "coco-packed", "labelme", "napari"):
        folder = blank_images.parent / kind
        folder.mkdir()
        write_all(folder, files, kind)
        dataset, output = prepared(bioseg, blank_images, folder, "--classes", "background,cell,nucleus")
        hashes[kind] = dataset.content_hash
        assert dataset.numbers_objects == (kind != "png")  # a mask of classes does not tell which shape a pixel is of
        if dataset.numbers_objects:
            numbers = [np.unique(dataset.objects(0)[shape.pixels]).tolist() for shape in shapes()]
            assert len({number for (number,) in numbers} - {0}) == len(shapes())
        assert "over each other" not in output or kind == "napari"  # a hole of napari is a shape on a shape
        drawn = np.sum([shape.pixels for shape in shapes()])
        assert [np.count_nonzero(dataset.labels(i)) for i in range(6)] == [drawn] * 6
    assert set(hashes.values()) == {hashes["png"]}, hashes


def test_a_folder_for_each_image_makes_the_data_set_of_its_shapes(bioseg, blank_images) -> None:
    objects = blank_images.parent / "objects"
    geojson = blank_images.parent / "geojson"
    geojson.mkdir()
    for image in sorted(blank_images.iterdir()):
        folder = objects / image.stem
        (folder / "images").mkdir(parents=True)
        (folder / "images" / image.name).write_bytes(image.read_bytes())
        write_geojson(geojson / f"{image.stem}.geojson", shapes())
        (folder / "masks").mkdir()
        for number, shape in enumerate(shapes()):
            Image.fromarray(shape.pixels.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    for shape_file in geojson.iterdir():
        shape_file.write_text(shape_file.read_text().replace('"nucleus"', '"cell"'))
    expected, _ = prepared(bioseg, blank_images, geojson, "--classes", "background,cell")
    out = blank_images.parent / "objects.h5"
    arguments = ("--images", objects, "--masks", objects, "--out", out, "--classes", "background,cell")
    result = bioseg("prepare", "folder", *arguments)
    assert result.exit_code == 0, result.output
    assert "shapes of one mask file per object: 36 'cell'" in " ".join(result.output.split())
    assert type(expected)(out).content_hash == expected.content_hash


@pytest.mark.parametrize("kind", ["roi", "labelme"])
def test_annotations_may_lie_beside_the_images(bioseg, blank_images, kind) -> None:
    write_all(blank_images, sorted(blank_images.iterdir())[:4], kind)
    dataset, _ = prepared(bioseg, blank_images, blank_images)
    assert sorted(dataset.labelled.tolist()) == [False, False, True, True, True, True]
