"""A picture of shapes on a grid of pixels, and of the mask that they become.

`python -m benchmarks.annotation_shapes [--out DIR]` writes DIR/annotation-shapes.png. The shapes are selections of
ImageJ, in a file that is read as `bioseg prepare folder` reads it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import roifile
import tifffile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from bioseg_cli.annotations.folder import find_annotations
from bioseg_cli.annotations.shape import Bitmap, Shape, Stroke
from bioseg_cli.annotations.survey import SurveyedAnnotations, survey_annotations
from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import in_class_colours
from bioseg_cli.io.images import inspect_image

HEIGHT, WIDTH = 20, 34
TITLES = ("polygon with a hole", "touching", "ellipse", "line, 3 px", "line, 1 px", "point", "cut off")


def selections() -> Iterator[roifile.ImagejRoi]:
    """A compound selection with a hole, two that touch, an ellipse, lines, a point, and one beyond the image."""
    path = [
        (0, 1.5, 2.5),
        (1, 9.5, 1.5),
        (1, 11, 9.5),
        (1, 3, 10),
        (4,),
        (0, 5, 5),
        (1, 8, 5),
        (1, 8, 8),
        (1, 5, 8),
        (4,),
    ]
    numbers = np.array([number for step in path for number in step], dtype=np.float32)
    bounds = {"left": 1, "top": 1, "right": 11, "bottom": 10}
    kind = roifile.ROI_TYPE
    yield roifile.ImagejRoi(
        roitype=kind.RECT, name="cell", multi_coordinates=numbers, shape_roi_size=len(numbers), **bounds
    )
    for ring in ([(13, 2), (17.3, 2), (16.2, 9.5), (13, 9.5)], [(17.3, 2), (21, 3), (20.5, 9.5), (16.2, 9.5)]):
        roi = roifile.ImagejRoi.frompoints(np.array(ring, dtype=np.float32), name="cell")
        roi.roitype = kind.POLYGON
        yield roi
    yield roifile.ImagejRoi(roitype=kind.OVAL, name="nucleus", left=23, top=2, right=32, bottom=8)
    yield roifile.ImagejRoi(roitype=kind.LINE, name="fibre", x1=3, y1=17, x2=11, y2=13, float_stroke_width=3)
    yield roifile.ImagejRoi(roitype=kind.LINE, name="fibre", x1=14, y1=17, x2=21, y2=13)
    point = roifile.ImagejRoi.frompoints(np.array([(24, 15)]), name="nucleus")
    point.roitype = kind.POINT
    yield point
    beyond = roifile.ImagejRoi.frompoints(np.array([(29, 11), (37, 14), (30, 18)], dtype=np.float32), name="cell")
    beyond.roitype = kind.FREEHAND
    yield beyond


def read(folder: Path) -> tuple[SurveyedAnnotations, Path, tuple[Shape, ...]]:
    """The selections as `bioseg prepare folder` reads them, their image, and their shapes."""
    image = folder / "image.tif"
    tifffile.imwrite(image, np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
    (folder / "drawn").mkdir()
    rois = list(selections())
    names = [f"{roi.name}-{number}" for number, roi in enumerate(rois)]
    roifile.roiwrite(folder / "drawn" / "image_RoiSet.zip", rois, name=names)
    found = find_annotations(folder / "drawn", [image], refuse)
    assert found is not None
    surveyed = survey_annotations(found, [inspect_image(image)], (), refuse)
    assert surveyed is not None
    return surveyed, image, found.of_image[image].shapes


def refuse(path: Path, error: DataError) -> None:
    raise error


def draw(shape: Shape, axes: Axes) -> None:
    """The outline that was drawn; of a stroke its line and its width."""
    if isinstance(shape.area, Stroke):
        axes.plot(*shape.area.points.T, "k-", linewidth=1)
        radius = shape.area.width / 2
        (x, y), (other_x, other_y) = shape.area.points
        along = np.array([other_x - x, other_y - y]) / np.hypot(other_x - x, other_y - y) * radius
        for side in (np.array([-along[1], along[0]]), np.array([along[1], -along[0]])):
            axes.plot(*(shape.area.points + side).T, "k--", linewidth=0.8)
    elif not isinstance(shape.area, Bitmap):
        for ring in shape.area.rings:
            axes.add_patch(PathPatch(Curve(np.vstack([ring, ring[:1]])), fill=False, linewidth=1.4))


def picture(surveyed: SurveyedAnnotations, image: Path, shapes: tuple[Shape, ...]) -> Figure:
    """The mask under the outlines; a dot is the centre of a pixel."""
    mask_of = surveyed.mask_of(image)
    assert mask_of is not None
    labels = mask_of(0).labels
    colours = in_class_colours(labels, surveyed.classes, 255).astype(float)
    colours[labels == 0] = 255
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(colours / 255 * 0.75 + 0.25, extent=(0, WIDTH, HEIGHT, 0))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    axes.plot(columns.ravel(), rows.ravel(), ".", color="0.55", markersize=1.5)
    axes.set_xticks(range(0, WIDTH + 1, 5))
    axes.set_yticks(range(0, HEIGHT + 1, 5))
    axes.set_xticks(range(WIDTH + 1), minor=True)
    axes.set_yticks(range(HEIGHT + 1), minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    for shape in shapes:
        draw(shape, axes)
    places = [(6, 11.2), (17, 11.2), (27.5, 9.2), (7, 19.4), (17.5, 19.4), (24.5, 17.2), (31, 19.4)]
    for title, (x, y) in zip(TITLES, places, strict=True):
        axes.text(x, y, title, ha="center", va="center", fontsize=9)
    handles = [
        axes.plot([], [], "s", color=np.array(described.colour) / 255, label=described.name)[0]
        for described in surveyed.classes[1:]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    axes.set(xlim=(-0.5, 37.5), ylim=(HEIGHT + 0.5, -0.5), xlabel="x in pixels", ylabel="y in pixels")
    return figure


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="Folder of the picture.")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        picture(*read(Path(folder))).savefig(out / "annotation-shapes.png", dpi=110)


if __name__ == "__main__":
    main()
