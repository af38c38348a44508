"""Images, truth and predictions as small PNGs, each with what it shows in words and numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import BiosegError
from bioseg_cli.figures.difference import ADDED, CONFUSED, DIFFERENCE_COLOURS, MISSED, difference_map
from bioseg_cli.figures.display_range import for_display
from bioseg_cli.figures.palette import cluster_colours, in_class_colours
from bioseg_cli.figures.pictures import draw_outlines, nearest
from bioseg_cli.report import words
from bioseg_cli.report.chosen import Scored, extremes, from_the_middle
from bioseg_cli.report.strips import Picture, Strip

if TYPE_CHECKING:
    from bioseg_cli.report.viewer import Viewer

LONGEST = 384
"""Pixels of the longer side of a picture at most."""
SHORTEST = 192
"""Smaller images are enlarged, by whole pixels, until their longer side has as many."""
LIVE = 0.01
"""Share of an image from which on a cluster is said to be in it."""


def typical(viewer: Viewer, shown: Sequence[Scored]) -> list[Strip]:
    """The image in the middle of the first run's scores: itself, truth, and of each run prediction and difference."""
    name, number = _telling(viewer, from_the_middle(shown[0].row))
    columns: list[tuple[Picture, ...]] = [
        (_image(viewer, number), _classes(viewer, viewer.truth.labels(number), "truth", None))
    ]
    for scored in shown:
        title = words.method(scored.run.loss)
        try:
            predicted = viewer.labels(scored, number)
        except BiosegError as error:
            columns.append((Picture(b"", title, f"{error.what}: {scored.run.name}"),))
            continue
        predictions = _classes(viewer, predicted, title, scored.row.images.get(name))
        columns.append((predictions, _difference(viewer, number, predicted, title)))
    return [Strip(_in_the_middle(name, shown[0]), tuple(columns))]


def worst_and_best(viewer: Viewer, shown: Sequence[Scored]) -> list[Strip]:
    """The images that a run does worst and best on: outlines of truth and prediction, and the difference."""
    (scored,) = shown
    worst, others = extremes(scored.row)
    # That an empty image was left empty shows nothing.
    chosen = [("worst", name) for name in worst] + [("best", _telling(viewer, others)[0])] * bool(others)
    strips = []
    for which, name in chosen:
        number = viewer.number(name)
        predicted = viewer.labels(scored, number)
        pictures = (
            _outlined(viewer, number, viewer.truth.labels(number), "true outlines"),
            _outlined(viewer, number, predicted, "predicted outlines"),
            _difference(viewer, number, predicted, words.method(scored.run.loss)),
        )
        title = f"{words.capitalised(which)}: {name}, mean IoU {words.score(scored.row.images[name])}"
        strips.append(Strip(title, tuple((picture,) for picture in pictures)))
    return strips


def segmented(viewer: Viewer, shown: Sequence[Scored]) -> list[Strip]:
    """The paper's Figure 6 of a run: auxiliary head, main head, truth, image; of each head clusters and classes."""
    (scored,) = shown
    name, number = _telling(viewer, from_the_middle(scored.row))
    maps, mapped = viewer.clusters(scored, number)
    pictures = []
    for head in ("aux", "main"):
        if head in maps:
            pictures.append(_clusters(maps[head], head))
        if head in mapped:
            row = scored.run.row(str(scored.row.state), head, "stored")
            iou = None if row is None else row.images.get(name)
            pictures.append(_classes(viewer, mapped[head], f"{words.HEADS[head]}, classes", iou))
    pictures += [_classes(viewer, viewer.truth.labels(number), "truth", None), _image(viewer, number)]
    without = "" if mapped else " No labelled image named the clusters, so they have no classes."
    return [Strip(_in_the_middle(name, scored) + without, tuple((picture,) for picture in pictures))]


def _in_the_middle(name: str, scored: Scored) -> str:
    return f"Image {name}, in the middle of {words.counted(len(scored.row.images), 'image')} by score."


def _telling(viewer: Viewer, names: Sequence[str]) -> tuple[str, int]:
    """The first of some images that has a foreground, or else the first."""
    for name in names:
        if viewer.has_foreground(viewer.number(name)):
            return name, viewer.number(name)
    return names[0], viewer.number(names[0])


def _image(viewer: Viewer, number: int) -> Picture:
    height, width = viewer.truth.labels(number).shape
    said = f"The image {viewer.truth.names[number]}, {height} by {width} pixels."
    return Picture(_png(_shown(viewer, number)), "image", said)


def _classes(viewer: Viewer, labels: Pixels, title: str, iou: float | None) -> Picture:
    truth = viewer.truth
    said = f"{words.capitalised(title)}: {_areas(labels, truth.classes, truth.ignore)}"
    heading = title
    if iou is not None:
        said, heading = f"{said}; mean IoU of the image {words.score(iou)}", f"{title}, {iou:.3f}"
    return Picture(_png(in_class_colours(_fitted(labels), truth.classes, truth.ignore)), heading, f"{said}.")


def _clusters(clusters: Pixels, head: str) -> Picture:
    count = int(clusters.max()) + 1
    shares = np.bincount(clusters.ravel(), minlength=count) / clusters.size
    live = words.counted(int((shares > LIVE).sum()), "cluster")
    said = f"{words.capitalised(words.HEADS[head])}: {live} with over 1 % of the image, the largest with "
    said += f"{100 * shares.max():.0f} %."
    picture = in_class_colours(_fitted(clusters), cluster_colours(count), ignore=count)
    return Picture(_png(picture), f"{words.HEADS[head]}, clusters", said)


def _difference(viewer: Viewer, number: int, predicted: Pixels, title: str) -> Picture:
    truth = viewer.truth
    labels = truth.labels(number)
    found = difference_map(labels, predicted, truth.ignore)
    counted = max(1, int((labels != truth.ignore).sum()))
    kinds = [("missed", MISSED), ("added", ADDED)] + [("of the wrong class", CONFUSED)] * (len(truth.classes) > 2)
    shares = [f"{100 * (found == code).sum() / counted:.1f} % {name}" for name, code in kinds]
    said = f"{words.capitalised(title)} against the truth: {', '.join(shares)}."
    return Picture(_png(DIFFERENCE_COLOURS[_fitted(found)]), "difference", said)


def _outlined(viewer: Viewer, number: int, labels: Pixels, heading: str) -> Picture:
    truth = viewer.truth
    picture = _shown(viewer, number)
    draw_outlines(picture, _fitted(labels), truth.classes)
    said = f"{truth.names[number]}, {heading}: {_areas(labels, truth.classes, truth.ignore)}."
    return Picture(_png(picture), heading, said)


def _areas(labels: Pixels, classes: Sequence[ClassInfo], ignore: int) -> str:
    counted = labels[labels != ignore]
    shares = [f"{class_info.name} {100 * (counted == code).mean():.1f} %" for code, class_info in enumerate(classes)]
    return ", ".join(shares) if counted.size else "nothing that counts"


def _shown(viewer: Viewer, number: int) -> NDArray[np.uint8]:
    """The picture (h, w, 3) of an image, for display stretched."""
    image = for_display(viewer.truth.image(number), viewer.truth.extent(number))
    shown = np.rint(255 * image).astype(np.uint8)
    height, width = _size(shown.shape[:2])
    method = Image.Resampling.NEAREST if height > len(shown) else Image.Resampling.LANCZOS
    return np.array(Image.fromarray(shown).resize((width, height), method))


def _fitted(labels: NDArray[np.integer[Any]]) -> NDArray[Any]:
    return nearest(labels, _size(labels.shape))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the picture of an image."""
    longest = max(shape)
    factor = min(1.0, LONGEST / longest) if longest >= SHORTEST else float(-(-SHORTEST // longest))
    return max(1, round(factor * shape[0])), max(1, round(factor * shape[1]))


def _png(picture: NDArray[np.uint8]) -> bytes:
    grey = bool((picture[..., :1] == picture).all())
    content = io.BytesIO()
    Image.fromarray(picture[..., 0] if grey else picture).save(content, "PNG", optimize=True)
    return content.getvalue()
