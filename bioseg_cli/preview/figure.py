"""The picture of a preview: a row an image, a column a view, and what was done to each in words."""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from bioseg_cli.config import ClassInfo
from bioseg_cli.figures.pictures import as_rgb, nearest
from bioseg_cli.io.files import replacing
from bioseg_cli.preview.views import Panel

DPI = 200
SHEET_WIDTH, WIDEST_PANEL = 3400, 440
"""Of many columns the width together, of few the width of each. All lengths are in pixels."""
HEIGHT_TO_WIDTH = (0.3, 2.0)
"""Images outside these proportions are shown smaller than their place."""
MARGIN, GAP = 24, 10
"""Around everything, and between panels."""
TITLE, HEADING, CAPTION = 11.0, 8.0, 7.5
"""Sizes of the letters, in points."""
LINE_SPACING, BASE = 1.3, 0.75
"""Height of a line, in the size of its letters, and the share of it above the base line."""
LEGEND_COLUMNS, SAMPLE = 5, 50
"""Classes in a line of the legend, and the length of the line that shows the colour of each."""
OUTLINE = 0.7
"""Width of an outline, in points."""


@dataclass(frozen=True)
class Sheet:
    """What a picture says beside its panels."""

    title: str
    headings: tuple[str, ...]
    """A column each, in one or two lines."""
    names: tuple[str, ...]
    """A row each."""
    without_caption: int
    """Columns at the left whose panels have no caption; the name of the row stands below them."""
    shape: tuple[int, int]
    """Height and width of the images."""
    caption_lines: int
    """Most lines of a caption."""
    classes: tuple[ClassInfo, ...]
    """Classes to outline: the first is the background, which has no outline. Empty where no mask is shown."""


def write_sheet(path: Path, sheet: Sheet, rows: Iterable[Iterable[Panel]]) -> None:
    """Draw the picture into a PNG; raises `DataError` where the disk is full."""
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; a warning for each is of no use to anyone.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = draw_sheet(sheet, rows)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")


def draw_sheet(sheet: Sheet, rows: Iterable[Iterable[Panel]]) -> Figure:
    """The picture. Its axes are the panels, row by row; each panel is reduced to what is seen of it when it is made."""
    # Names of files and classes are no formulas, whatever signs are in them.
    with mpl.rc_context({"text.parse_math": False}):
        columns = len(sheet.headings)
        width = min(WIDEST_PANEL, (SHEET_WIDTH - 2 * MARGIN) // columns - GAP)
        height = round(width * float(np.clip(sheet.shape[0] / sheet.shape[1], *HEIGHT_TO_WIDTH)))
        heading_height = _height(HEADING, max(heading.count("\n") + 1 for heading in sheet.headings))
        top = MARGIN + _height(TITLE, 2) + heading_height + GAP
        step = height + _height(CAPTION, sheet.caption_lines) + 2 * GAP
        bottom = top + step * len(sheet.names)
        legend_height = _height(CAPTION, -(-len(sheet.classes[1:]) // LEGEND_COLUMNS))
        page = _Page(2 * MARGIN + columns * (width + GAP) - GAP, bottom + legend_height + MARGIN)
        page.write(sheet.title, MARGIN, MARGIN, TITLE, most=page.width - 2 * MARGIN)
        lefts = [MARGIN + column * (width + GAP) for column in range(columns)]
        for x, heading in zip(lefts, sheet.headings, strict=True):
            page.write(heading, x + width / 2, top - heading_height - GAP, HEADING, centred=True)
        for row, (name, panels) in enumerate(zip(sheet.names, rows, strict=True)):
            y = top + step * row
            below = y + height + GAP
            page.write(name, MARGIN, below, CAPTION, most=sheet.without_caption * (width + GAP) - 2 * GAP)
            for x, panel in zip(lefts, panels, strict=True):
                _draw_panel(page.axes(x, y, width, height), panel, (width, height), sheet.classes)
                page.write(panel.caption, x + width / 2, below, CAPTION, centred=True)
        page.write_legend(sheet.classes[1:], bottom)
        return page.figure


def _height(points: float, lines: int) -> int:
    return round(lines * points * LINE_SPACING * DPI / 72)


class _Page:
    """A figure on which everything has its place in pixels from the top left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        # Draws it, and before that measures its texts.
        FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """A place for a picture."""
        place = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, xticks=[], yticks=[])

    def write(
        self, text: str, x: float, y: float, points: float, *, most: float | None = None, centred: bool = False
    ) -> None:
        """Write lines from `y` downwards; of one that is wider than `most`, the middle is left out."""
        for number, line in enumerate(text.split("\n")):
            # On one base line with its neighbours, whatever letters they have.
            base = y + _height(points, number) + BASE * _height(points, 1)
            place = (x / self.width, 1 - base / self.height)
            written = self.figure.text(*place, line, fontsize=points, parse_math=False)
            written.set_horizontalalignment("center" if centred else "left")
            if most is not None:
                _shorten(written, most)

    def write_legend(self, classes: Sequence[ClassInfo], top: float) -> None:
        """Write the names of classes beside lines of their colours."""
        room = (self.width - 2 * MARGIN) / LEGEND_COLUMNS
        for number, class_info in enumerate(classes):
            line, column = divmod(number, LEGEND_COLUMNS)
            x, y = MARGIN + column * room, top + _height(CAPTION, line)
            middle = 1 - (y + _height(CAPTION, 1) / 2) / self.height
            ends = (x / self.width, (x + SAMPLE) / self.width)
            self.figure.add_artist(Line2D(ends, (middle, middle), color=_colour(class_info), linewidth=2 * OUTLINE))
            self.write(class_info.name, x + SAMPLE + GAP, y, CAPTION, most=room - SAMPLE - 3 * GAP)


def _shorten(written: Text, most: float) -> None:
    """Leave out as little of the middle of a line as makes it no wider than `most` pixels."""
    line = written.get_text()

    def fits(left_out: int) -> bool:
        kept = len(line) - left_out
        written.set_text(f"{line[: kept - kept // 2]}...{line[len(line) - kept // 2 :]}" if left_out else line)
        return bool(written.get_window_extent().width <= most)

    fits(bisect.bisect_left(range(len(line)), True, key=fits))


def _draw_panel(axis: Axes, panel: Panel, size: tuple[int, int], classes: Sequence[ClassInfo]) -> None:
    picture = Image.fromarray(as_rgb(panel.image.numpy()))
    # A smaller one is enlarged by whole pixels when it is drawn.
    smaller = min(picture.width, size[0]), min(picture.height, size[1])
    picture = picture.resize(smaller, Image.Resampling.LANCZOS)
    axis.imshow(np.asarray(picture), interpolation="nearest")
    for spine in axis.spines.values():
        spine.set(linewidth=0.4, color="grey")
    if panel.labels is not None:
        labels = nearest(panel.labels.numpy(), (picture.height, picture.width))
        for code, class_info in enumerate(classes[1:], start=1):
            inside = labels == code
            if inside.any() and not inside.all():
                axis.contour(inside, levels=[0.5], colors=[_colour(class_info)], linewidths=OUTLINE)
        axis.set(xlim=(-0.5, picture.width - 0.5), ylim=(picture.height - 0.5, -0.5))


def _colour(class_info: ClassInfo) -> str:
    return f"#{bytes(class_info.colour).hex()}"
