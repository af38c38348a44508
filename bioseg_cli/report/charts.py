"""Plots as SVG inside the page: text stays text, and the same numbers give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bioseg_cli.study.grid import CONTROL
from bioseg_cli.training.alike import DENOISED, PSEUDO_LABELLED

# The colours of Okabe and Ito (2008) and wine of Tol, which are told apart with any colour vision; with them goes a
# marker, a line.
INK, GREY, RULE = "#222222", "#6b6b6b", "#d9d9d9"
COLOURS = {
    CONTROL: "#4d4d4d",
    "kl": "#0072B2",
    "iid": "#D55E00",
    "fixmatch": "#009E73",
    DENOISED: "#E69F00",
    PSEUDO_LABELLED: "#882255",
    "main": "#CC79A7",
    "aux": "#56B4E9",
}
MARKERS = {
    CONTROL: "o",
    "kl": "s",
    "iid": "^",
    "fixmatch": "D",
    DENOISED: "v",
    PSEUDO_LABELLED: "P",
    "main": "o",
    "aux": "s",
}
LINES: dict[str, Any] = {
    CONTROL: "-",
    "kl": (0, (5, 1.5)),
    "iid": (0, (2, 1)),
    "fixmatch": (0, (5, 1.5, 1, 1.5)),
    DENOISED: (0, (1, 1)),
    PSEUDO_LABELLED: (0, (3, 1, 1, 1, 1, 1)),
    "main": "-",
    "aux": (0, (4, 1.5)),
}
HATCHES = ("", "//////", "......", "xxxxx")
"""Of the saved states, in turn."""
CEILING_LINE, OTSU_LINE, FOREST_LINE = (0, (6, 2)), (0, (1, 1.5)), (0, (3, 1, 1, 1))

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of data sets are no formulas
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.4,
}
WIDE, SMALL = (5.2, 3.8), (3.7, 2.7)
"""Width and height of a chart, in inches; the page stretches them to the room there is."""


@dataclass(frozen=True)
class Chart:
    """A plot, and what it shows in words and numbers."""

    svg: Markup
    words: str


@contextmanager
def drawing(size: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one axes, in the style of the page; it has to be saved within."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.subplots()


def as_chart(figure: Figure, identity: str, title: str, words: str) -> Chart:
    """The figure as SVG, with a title and a description for those who do not see it.

    Args:
        figure: to draw.
        identity: that no other chart of the page has.
        title: what is shown.
        words: what it shows, with numbers.
    """
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": identity}):
        # Without a date the same numbers are the same bytes.
        undated = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(text, format="svg", metadata=undated)
    drawn = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    opening, _, rest = body.partition(">")
    rest = re.sub(r"<!--.*?-->\s*|<style.*?</style>", "", rest, flags=re.DOTALL)
    rest = re.sub(r"<[^>]+>", lambda tag: _for_the_page(tag[0], identity), rest)
    found = re.search(r'viewBox="([^"]+)"', opening)
    if found is None:
        raise ValueError("the drawing has no view box")
    described = Markup('<title id="{0}-title">{1}</title><desc id="{0}-words">{2}</desc>').format(
        identity, title, words
    )
    opened = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{0}" role="img" '
        'aria-labelledby="{1}-title {1}-words">'
    ).format(found[1], identity)
    return Chart(opened + described + Markup(rest.strip()), words)


def _for_the_page(tag: str, identity: str) -> str:
    """A tag of a drawing with identities of its own among many, and attributes in place of `style`.

    The policy of the page lets no `style` count.
    """
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{identity}-\1"', tag)
    tag = re.sub(r'(href="#|url\(#)', rf"\g<1>{identity}-", tag)
    return re.sub(r'\bstyle="([^"]*)"', _as_attributes, tag)


def _as_attributes(style: re.Match[str]) -> str:
    declared = (declaration.partition(":") for declaration in style[1].split(";") if declaration.strip())
    return " ".join(f'{name.strip()}="{value.strip()}"' for name, _, value in declared)


def legend_below(figure: Figure, axes: Axes, first: Sequence[str] = (), columns: int = 3) -> None:
    """The key of what is in the axes, below them; the names that come first are given."""
    handles, names = axes.get_legend_handles_labels()
    known = dict(zip(names, handles, strict=True))
    order = [name for name in first if name in known] + [name for name in names if name not in first]
    if order:
        figure.legend([known[name] for name in order], order, loc="outside lower center", ncols=columns)


def colour(method: str) -> str:
    """Of a method or a head."""
    return COLOURS.get(method, GREY)


def marker(method: str) -> str:
    """Of a method or a head."""
    return MARKERS.get(method, "v")


def line(method: str) -> Any:
    """Line style of a method or a head."""
    return LINES.get(method, "-")
