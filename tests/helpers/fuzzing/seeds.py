"""Whole files that fuzzed ones are made of: images, volumes, annotations and archives."""

from __future__ import annotations

import gzip
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import roifile
import tifffile
from helpers import drawn
from helpers.corpus import Sample, noise, saved
from helpers.corpus_rasters import animations, bmps, jpegs, png_orientations, pngs
from helpers.corpus_tiff import TIFFS
from helpers.microscopes import write_czi, write_lif, write_nd2
from helpers.ome_zarr import write_ome_zarr, write_plate
from helpers.pyramids import write_ome_pyramid, write_paged_pyramid
from helpers.volumes import write_minc, write_nifti
from PIL import Image


@dataclass(frozen=True)
class Seed:
    """A file, or a folder of files.

    Attributes:
        name: of the file or of the folder.
        files: their content by their paths within the folder; of a file alone by "".
        kept: the files of a folder that stay as they are.
    """

    name: str
    files: dict[str, bytes]
    kept: frozenset[str] = frozenset()


def file_seed(name: str, content: bytes) -> Seed:
    return Seed(name, {"": content})


def written(name: str, write: Callable[[Path], object], kept: tuple[str, ...] = ()) -> Seed:
    """What a function writes at a path of such a name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return stored(path, kept)


def stored(path: Path, kept: tuple[str, ...] = ()) -> Seed:
    """A file, or a folder with all in it but what begins as one of `kept`, which stays as it is."""
    if path.is_file():
        return file_seed(path.name, path.read_bytes())
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    files = {file.relative_to(path).as_posix(): file.read_bytes() for file in inside}
    return Seed(path.name, files, frozenset(name for name in files if name.startswith(kept)) if kept else frozenset())


def written_to(folder: Path, given: Seed) -> Path:
    """The path of an input that was written into a folder."""
    place = folder / given.name
    for name, content in given.files.items():
        file = place / name if name else place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return place


def _of_corpus(samples: Iterator[Sample]) -> Iterator[Seed]:
    yield from (file_seed(sample.name, sample.content) for sample in samples if sample.refused is None)


def pictures() -> Iterator[Seed]:
    """PNG, JPEG, BMP, and formats that are refused."""
    for samples in (pngs, png_orientations, animations, jpegs, bmps):
        yield from _of_corpus(samples())
    grey = Image.fromarray(noise(13, 22))
    for kind in ("GIF", "WEBP", "JPEG2000", "PPM", "TGA", "ICO"):
        yield file_seed(f"{kind}.png", saved(grey, kind))
    for name, array in (("array.npy", noise(9, 9)), ("complex.npy", np.ones((3, 3), np.complex64))):
        stream = BytesIO()
        np.save(stream, array)
        yield file_seed(name, stream.getvalue())


def tiffs() -> Iterator[Seed]:
    """Stripped and tiled, classic and large, pyramids, and those of ImageJ, OME, MetaMorph and tifffile."""
    for samples in TIFFS:
        yield from _of_corpus(samples())
    pixels, stack = noise(70, 90, high=65535, dtype=np.uint16), noise(2, 3, 40, 50, high=65535, dtype=np.uint16)
    yield written("pyramid.ome.tif", lambda path: write_ome_pyramid(path, pixels))
    yield written("stack.ome.tif", lambda path: write_ome_pyramid(path, stack, "TCYX"))
    yield written("paged.tif", lambda path: write_paged_pyramid(path, pixels))
    imagej: dict[str, Any] = {"axes": "TCYX", "unit": "um", "Labels": ["a", "b", "c"] * 2}
    resolution: dict[str, Any] = {"resolution": (2.0, 2.0)}
    yield written("imagej.tif", lambda path: tifffile.imwrite(path, stack, imagej=True, metadata=imagej, **resolution))
    big: dict[str, Any] = {"bigtiff": True, "tile": (16, 16), "compression": "zlib"}
    yield written("big.tif", lambda path: tifffile.imwrite(path, pixels, **big))
    grey: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": "TCYX"}}
    yield written("shaped.tif", lambda path: tifffile.imwrite(path, stack, **grey))
    yield written("large-endian.tif", lambda path: tifffile.imwrite(path, pixels, byteorder=">", predictor=True,
                                                                    compression="lzw"))  # fmt: skip
    named: dict[str, Any] = {
        "axes": "CYX",
        "Channel": {"Name": ["a", "b", "c"]},
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
    }
    yield written("named.ome.tif", lambda path: tifffile.imwrite(path, stack[0], ome=True, metadata=named))


def masks() -> Iterator[Seed]:
    """Files of labels: with a palette, of one bit, of floats, and of colours."""
    labels = noise(20, 24, high=3)
    coloured = Image.fromarray(labels, "P")
    coloured.putpalette([value for colour in range(4) for value in (colour * 60, 255 - colour * 60, colour)])
    yield file_seed("palette.png", saved(coloured, "PNG", transparency=0))
    yield file_seed("grey.png", saved(Image.fromarray(labels * 80), "PNG"))
    yield file_seed("grey.bmp", saved(coloured, "BMP"))
    yield file_seed("colours.png", saved(coloured.convert("RGB"), "PNG"))
    yield file_seed("bits.png", saved(Image.fromarray(labels > 1), "PNG"))
    black_or_white = np.where(labels > 1, 255, 0).astype(np.uint8)
    yield file_seed("lossy.jpg", saved(Image.fromarray(np.kron(black_or_white, np.ones((8, 8), np.uint8))), "JPEG"))
    info = {"axes": "YX", "Info": "0 = background\n1 = cell\n2 = rim\n3 = a", "min": 0.0, "max": 255.0}
    yield written("named.tif", lambda path: tifffile.imwrite(path, labels, imagej=True, metadata=info))
    table = np.zeros((3, 256), np.uint16)
    table[:, 1:4] = 257 * np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    for photometric in ("palette", "minisblack"):
        looks: dict[str, Any] = {"photometric": photometric, "colormap": table if photometric == "palette" else None}
        yield written(f"{photometric}.tif", partial(tifffile.imwrite, data=labels, **looks))
    yield written("tiles.tif", partial(tifffile.imwrite, data=labels, tile=(16, 16), compression="zlib"))
    stack = np.stack([labels, labels[::-1]])
    yield written("stack.tif", partial(tifffile.imwrite, data=stack, metadata={"axes": "TYX"}))
    for kind in (np.float32, np.float64, np.int8, np.int32, np.uint32, np.uint64):
        yield written(f"{np.dtype(kind)}.tif", partial(tifffile.imwrite, data=labels.astype(kind)))


def microscopes() -> Iterator[Seed]:
    """CZI, ND2 and LIF."""
    pixels = noise(2, 2, 2, 20, 24, high=65535, dtype=np.uint16)
    for compression in ("", "zstd0:ExplicitLevel=1", "zstd1:ExplicitLevel=1;PreProcess=HiLoByteUnpack"):
        name = compression.partition(":")[0] or "plain"
        how: dict[str, Any] = {"pixels": pixels, "names": ("a", "b"), "size": 0.5, "compression": compression}
        yield written(f"{name}.czi", partial(write_czi, **how))
    for shape in ((1, 1, 1), (1, 1, 2), (2, 2, 2)):
        part = pixels[tuple(slice(size) for size in shape)]
        name = "x".join(map(str, shape))
        names = ("a", "b")[: shape[2]]
        yield written(f"{name}.lif", partial(write_lif, images={"i": part}, colours=names, size=0.5))
        yield written(f"{name}.nd2", partial(write_nd2, pixels=part, names=names, size=0.5))
    alike = {"first": pixels, "second": pixels + 1}
    yield written("several.lif", lambda path: write_lif(path, alike, ("a", "b"), 0.5))


def ome_zarrs() -> Iterator[Seed]:
    """Images and plates in both versions of Zarr."""
    pixels = noise(2, 2, 40, 50, high=65535, dtype=np.uint16)
    plane = pixels[0, 0]
    fields = {"A/1/0": plane, "A/1/1": plane, "A/2/0": plane}
    for version in (2, 3):
        of: dict[str, Any] = {"zarr_format": version}
        yield written(f"image{version}.zarr", partial(write_ome_zarr, pixels=pixels, axes="tcyx", **of))
        yield written(f"plane{version}.zarr", partial(write_ome_zarr, pixels=plane, axes="yx", **of))
        yield written(f"plate{version}.zarr", partial(write_plate, fields=fields, **of))


def volumes() -> Iterator[Seed]:
    """NIfTI of both versions, compressed or not, and MINC2."""
    values = noise(5, 6, 7, high=9, dtype=np.int16)
    for name in ("a.nii", "a.nii.gz"):
        yield written(name, lambda path: write_nifti(path, values))
        yield written(f"scaled {name}", lambda path: write_nifti(path, values, scaling=(0.5, 3.0), units="micron"))
        yield written(f"swapped {name}", lambda path: write_nifti(path, values.astype(np.float32), byte_order=">"))
        yield written(f"large {name}", lambda path: write_nifti(path, values, image_class=nibabel.Nifti2Image))
    stored = noise(5, 6, 7, high=9)
    yield written("a.mnc", lambda path: write_minc(path, stored))
    ends = (np.zeros(5), np.full(5, 9.0))
    yield written("packed.mnc", lambda path: write_minc(path, stored, chunks=(2, 3, 4), real=ends, valid=(0, 9)))
    yield file_seed("plain under another name.nii.gz", gzip.compress(b"not a volume", mtime=0))


def drawings() -> Iterator[Seed]:
    """GeoJSON, COCO, LabelMe, selections of ImageJ, shapes of napari, and labels of LabKit."""
    shapes = drawn.shapes()
    of_images: dict[str, Sequence[drawn.Drawn]] = {"a.png": shapes[:3], "b.png": shapes[3:]}
    yield written("a.geojson", lambda path: drawn.write_geojson(path, shapes))
    yield written("coco.json", lambda path: drawn.write_coco(path, of_images))
    yield written("packed.json", lambda path: drawn.write_coco(path, of_images, packed=True))
    yield written("a.json", lambda path: drawn.write_labelme(path, shapes))
    kinds = {"circle": [[9, 9], [12, 9]], "line": [[1, 2], [30, 40]], "point": [[5, 5]], "rectangle": [[1, 2], [8, 9]]}
    labelled = [{"label": kind, "points": points, "shape_type": kind} for kind, points in kinds.items()]
    yield file_seed("kinds.json", drawn.labelme(*labelled).encode())
    rows = "".join(drawn.napari_rows(number, "polygon", shape.ring) for number, shape in enumerate(shapes))
    rows += drawn.napari_rows(9, "ellipse", shapes[0].ring) + drawn.napari_rows(10, "path", shapes[1].ring)
    yield file_seed("a.cell.csv", (drawn.NAPARI_HEADER + rows).encode())
    yield from selections(shapes)
    labels = json.dumps({"labelSets": [[], ["background"], ["cell"], ["cell", "rim"]]})
    mask = saved(Image.fromarray(noise(9, 9, high=2)), "TIFF")
    yield Seed("labkit", {"a.tif": mask, "a.tif.labels": labels.encode()}, frozenset({"a.tif"}))


def selections(shapes: list[drawn.Drawn]) -> Iterator[Seed]:
    """Of ImageJ: `.roi` of several types, and the archive of a manager."""
    kinds, ring = roifile.ROI_TYPE, shapes[0].ring
    slanted = drawn.with_fields(roifile.ImagejRoi(), roitype=kinds.FREEHAND, x1=4, y1=4, x2=30, y2=20,
                                subtype=roifile.ROI_SUBTYPE.ELLIPSE)  # fmt: skip
    rois = {
        "polygon": drawn.polygon_roi(ring, name="cell-1").tobytes(),
        "line": drawn.polygon_roi(ring, roitype=kinds.POLYLINE, stroke_width=3).tobytes(),
        "points": drawn.polygon_roi(ring, roitype=kinds.POINT).tobytes(),
        "oval": drawn.bounded(kinds.OVAL, 3, 4, 30, 40, t_position=2).tobytes(),
        "rectangle": drawn.bounded(kinds.RECT, 3, 4, 30, 40, arrow_style_or_aspect_ratio=0).tobytes(),
        "ellipse": drawn.roi_with_number(slanted, 0.5),
        "composite": drawn.composite([shapes[0].ring, shapes[1].ring]),
    }
    yield from (file_seed(f"{name}.roi", content) for name, content in rois.items())
    del rois["oval"]  # which lies on another frame than the others
    yield from (file_seed(name, content) for name, content in (("a.zip", zipped(rois)), ("b_RoiSet.zip", zipped(rois))))


def zipped(files: dict[str, bytes], suffix: str = ".roi") -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name + suffix), content)
    return stream.getvalue()


def archives() -> Iterator[Seed]:
    """Zip archives as data sets are published."""
    pixels = {f"images/a{number}": saved(Image.fromarray(noise(9, 9)), "TIFF") for number in range(3)}
    yield file_seed("images.zip", zipped(pixels, ".tif"))
    yield file_seed("lists.zip", zipped({"metadata/training": b"a0.png\na1.png\n"}, ".txt"))
