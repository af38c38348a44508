"""Annotation files of a few shapes, written by the published descriptions of each format."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roifile
import tifffile
from PIL import Image

from bioseg_cli.annotations.formats import read_annotations
from bioseg_cli.annotations.raster import covered
from bioseg_cli.annotations.shape import Annotation, Shape
from bioseg_cli.dataset.reader import Dataset

SIDE = 64


def prepared(bioseg, images: Path, masks: Path, *options: object) -> tuple[Dataset, str]:
    """The data set of a folder of images and masks, and what the command said."""
    out = images.parent / f"{masks.name}.h5"
    result = bioseg("prepare", "folder", "--images", images, "--masks", masks, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return Dataset(out), " ".join(result.output.split())


def labels(dataset: Dataset, name: str) -> np.ndarray:
    return next(dataset.labels(i) for i in range(len(dataset.labelled)) if Path(dataset.name(i)).stem == name)


def make_stacks(images: Path, frames: int = 3) -> None:
    """Replace each image by a stack of time points."""
    for path in images.iterdir():
        stack = np.stack([tifffile.imread(path) + frame for frame in range(frames)])
        tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "TYX"})


def labelled_frames(dataset: Dataset) -> dict[str, list[tuple[int, int]]]:
    """Frame and number of labelled pixels of each labelled frame, by the name of its file."""
    found: dict[str, list[tuple[int, int]]] = {}
    for index in np.flatnonzero(dataset.labelled).tolist():
        source = dataset.source(index)
        pixels = int(np.count_nonzero(dataset.labels(index)))
        found.setdefault(Path(source.file).stem, []).append((source.frame, pixels))
    return {name: sorted(of_file) for name, of_file in found.items()}


def only(path: Path) -> Annotation:
    """The one annotation of a file."""
    read = read_annotations(path, ())
    assert read is not None
    (annotation,) = read.annotations
    return annotation


def mask(shape: Shape, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """(height, width) which pixels a shape covers."""
    area = covered(shape.area, height, width)
    inside = np.zeros((height, width), dtype=bool)
    inside[area.rows, area.columns] = area.inside
    return inside


@dataclass(frozen=True)
class Drawn:
    """A polygon with the pixels that lie in it, and perhaps a hole."""

    name: str
    ring: np.ndarray
    pixels: np.ndarray
    hole: np.ndarray | None = None


def square(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def pixels_of(rows: slice, columns: slice) -> np.ndarray:
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[rows, columns] = True
    return inside


def shapes() -> list[Drawn]:
    """A shape with a hole, two that touch, one on the border of the image, one pixel, and a slanted one."""
    ring = pixels_of(slice(4, 24), slice(4, 24))
    ring[10:18, 10:18] = False
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    slanted = np.abs(columns - 48) + np.abs(rows - 48) < 9.25
    return [
        Drawn("cell", square(4, 4, 24, 24), ring, hole=square(10, 10, 18, 18)),
        Drawn("cell", square(30, 4, 38, 20), pixels_of(slice(4, 20), slice(30, 38))),
        Drawn("cell", square(38, 4, 50, 20), pixels_of(slice(4, 20), slice(38, 50))),
        Drawn("nucleus", square(0, 40, 10, 64), pixels_of(slice(40, 64), slice(0, 10))),
        Drawn("nucleus", square(20, 50, 21, 51), pixels_of(slice(50, 51), slice(20, 21))),
        Drawn("cell", np.array([[48, 38.75], [57.25, 48], [48, 57.25], [38.75, 48]]), slanted),
    ]


def write_png(path: Path, drawn: Sequence[Drawn], classes: Sequence[str]) -> None:
    labels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for shape in drawn:
        labels[shape.pixels] = 1 + classes.index(shape.name)
    Image.fromarray(labels).save(path)


def write_geojson(path: Path, drawn: Sequence[Drawn]) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [*ring.tolist(), ring[0].tolist()] for ring in (shape.ring, shape.hole) if ring is not None
                ],
            },
            "properties": {"objectType": "annotation", "classification": {"name": shape.name}},
        }
        for shape in drawn
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def polygon_roi(ring: np.ndarray, **fields: object) -> roifile.ImagejRoi:
    fields = {"roitype": roifile.ROI_TYPE.POLYGON, **fields}
    return with_fields(roifile.ImagejRoi.frompoints(ring.astype(np.float32)), **fields)


def with_fields(roi: roifile.ImagejRoi, **fields: object) -> roifile.ImagejRoi:
    for field, value in fields.items():
        setattr(roi, field, value)
    return roi


def bounded(
    kind: roifile.ROI_TYPE, left: int, top: int, right: int, bottom: int, **fields: object
) -> roifile.ImagejRoi:
    return with_fields(roifile.ImagejRoi(), roitype=kind, left=left, top=top, right=right, bottom=bottom, **fields)


def composite(rings: Sequence[np.ndarray], **fields: object) -> bytes:
    """A compound selection: 0 and a point to begin a ring, 1 and a point for an edge, 4 to close the ring."""
    path: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring.tolist()):
            path += [1.0 if number else 0.0, x, y]
        path.append(4.0)
    low, high = np.concatenate(rings).min(axis=0), np.concatenate(rings).max(axis=0)
    roi = bounded(roifile.ROI_TYPE.RECT, int(low[0]), int(low[1]), int(high[0]), int(high[1]), **fields)
    return with_fields(
        roi, multi_coordinates=np.array(path, dtype=np.float32), shape_roi_size=len(path), n_coordinates=0
    ).tobytes()


def roi_with_number(roi: roifile.ImagejRoi, number: float) -> bytes:
    """A slanted ellipse or rectangle: its number stands where others have the style of arrows."""
    data = bytearray(roi.tobytes())
    data[18:34] = struct.pack(">ffff", roi.x1, roi.y1, roi.x2, roi.y2)
    data[52:56] = struct.pack(">f", number)
    return bytes(data)


def rle(pixels: np.ndarray) -> list[int]:
    """Lengths of the runs outside and inside in turn, down each column."""
    flat = np.concatenate([[False], pixels.T.ravel(), [True]])
    edges = np.flatnonzero(np.diff(flat.astype(int)) != 0)
    runs = np.diff([0, *edges, pixels.size]).tolist()
    return runs[:-1] if runs[-1] == 0 else runs


def compressed(runs: Sequence[int]) -> str:
    """What COCO writes for runs: groups of five bits, the lowest first."""
    text = ""
    for number, run in enumerate(runs):
        value = run - (runs[number - 2] if number > 2 else 0)
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + (32 if more else 0))
    return text


def write_coco(path: Path, drawn: dict[str, Sequence[Drawn]], *, packed: bool = False) -> None:
    """A shape with a hole becomes a mask; COCO's polygons have no holes."""
    names = sorted({shape.name for of_image in drawn.values() for shape in of_image})
    annotations = []
    for number, of_image in enumerate(drawn.values()):
        for shape in of_image:
            outline: object = [shape.ring.ravel().tolist()]
            if shape.hole is not None:
                runs = rle(shape.pixels)
                outline = {"size": [SIDE, SIDE], "counts": compressed(runs) if packed else runs}
            category = 1 + names.index(shape.name)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category, "segmentation": outline}
            )
    document = {
        "images": [
            {"id": number, "file_name": f"some/folder/{name}", "height": SIDE, "width": SIDE}
            for number, name in enumerate(drawn)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def png_text(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme(*drawn: dict, height: int = SIDE, width: int = SIDE) -> str:
    document = {"version": "5.5.0", "imagePath": "a.png", "imageHeight": height, "imageWidth": width}
    return json.dumps({**document, "shapes": list(drawn)})


def write_labelme(path: Path, drawn: Sequence[Drawn]) -> None:
    """A shape with a hole becomes a mask."""
    found = []
    for shape in drawn:
        low, high = shape.ring.min(axis=0).astype(int), shape.ring.max(axis=0).astype(int)
        if shape.hole is None:
            found.append({"label": shape.name, "points": shape.ring.tolist(), "shape_type": "polygon"})
        else:
            mask = png_text(shape.pixels[low[1] : high[1], low[0] : high[0]])
            points = [low.tolist(), (high - 1).tolist()]
            found.append({"label": shape.name, "points": points, "shape_type": "mask", "mask": mask})
    path.write_text(labelme(*found), encoding="utf-8")


def napari_rows(index: int, kind: str, points: np.ndarray) -> str:
    """Rows of a shapes layer, from x and y that count from the corner of the image; napari counts from the centre."""
    rows = (np.asarray(points, dtype=float) - 0.5)[:, ::-1].tolist()
    return "".join(f"{index},{kind},{vertex},{','.join(map(str, row))}\n" for vertex, row in enumerate(rows))


NAPARI_HEADER = "index,shape-type,vertex-index,axis-0,axis-1\n"


def write_napari(folder: Path, stem: str, drawn: Sequence[Drawn]) -> None:
    """A file per class; what is within a hole is drawn as background."""
    texts: dict[str, str] = {}
    for index, shape in enumerate(drawn):
        texts[shape.name] = texts.get(shape.name, "") + napari_rows(index, "polygon", shape.ring)
        if shape.hole is not None:
            texts["background"] = texts.get("background", "") + napari_rows(index, "rectangle", shape.hole)
    for name, text in texts.items():
        (folder / f"{stem}.{name}.csv").write_text(NAPARI_HEADER + text, encoding="utf-8")
