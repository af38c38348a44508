"""Plots as SVG inside the page: text stays text, and the same numbers give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bioseg_cli.study.grid import CONTROL
from bioseg_cli.training.alike import DENOISED, PSEUDO_LABELLED

INK, GREY, RULE = "#222222", "#6b6b6b", "#d9d9d9"


class Look(NamedTuple):
    """What a method or a head is drawn with."""

    colour: str
    marker: str
    linestyle: Any

    @property
    def line(self) -> dict[str, Any]:
        """Of a line without markers."""
        return {"color": self.colour, "linestyle": self.linestyle}


# The colours of Okabe and Ito (2008) and wine of Tol, which are told apart with any colour vision.
LOOKS = {
    CONTROL: Look("#4d4d4d", "o", "-"),
    "kl": Look("#0072B2", "s", (0, (5, 1.5))),
    "iid": Look("#D55E00", "^", (0, (2, 1))),
    "fixmatch": Look("#009E73", "D", (0, (5, 1.5, 1, 1.5))),
    DENOISED: Look("#E69F00", "v", (0, (1, 1))),
    PSEUDO_LABELLED: Look("#882255", "P", (0, (3, 1, 1, 1, 1, 1))),
    "main": Look("#CC79A7", "o", "-"),
    "aux": Look("#56B4E9", "s", (0, (4, 1.5))),
}
HATCHES = ("", "//////", "......", "xxxxx")
"""Of the saved states, in turn."""
CEILING_LINE, OTSU_LINE, FOREST_LINE = (0, (6, 2)), (0, (1, 1.5)), (0, (3, 1, 1, 1))

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of data sets are no formulas
    "font.size": 9,
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


@contextmanager
def drawing(size: tuple[float, float]) -> Iterator[Axes]:
    """The axes of a figure in the style of the page; `as_chart` has to be called within."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots()


def as_chart(
    axes: Axes, identity: str, title: str, words: str, *, first: Sequence[str] = (), columns: int = 3
) -> Markup:
    """The figure as SVG, with a key below, and a title and a description for those who do not see it.

    Args:
        axes: the only axes of the figure.
        identity: that no other chart of the page has.
        title: what is shown.
        words: what it shows, with numbers.
        first: names that come first in the key.
        columns: of the key.
    """
    figure, text = axes.get_figure(root=True), io.StringIO()
    assert figure is not None  # the axes are those of `drawing`
    _draw_key(figure, axes, first, columns)
    with mpl.rc_context({"svg.hashsalt": identity}):
        # Without a date the same numbers are the same bytes.
        undated = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(text, format="svg", metadata=undated)
    opening, _, rest = text.getvalue().partition("<svg")[2].partition(">")
    rest = re.sub(r"<!--.*?-->\s*|<style.*?</style>", "", rest, flags=re.DOTALL)
    rest = re.sub(r"<[^>]+>", lambda tag: _for_the_page(tag[0], identity), rest)
    view_box = opening.partition('viewBox="')[2].partition('"')[0]
    opened = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{0}" role="img" '
        'aria-labelledby="{1}-title {1}-words"><title id="{1}-title">{2}</title><desc id="{1}-words">{3}</desc>'
    )
    return opened.format(view_box, identity, title, words) + Markup(rest.strip())


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


def _draw_key(figure: Figure, axes: Axes, first: Sequence[str], columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    known = dict(zip(names, handles, strict=True))
    order = [name for name in first if name in known] + [name for name in names if name not in first]
    if order:
        figure.legend([known[name] for name in order], order, loc="outside lower center", ncols=columns)


def look(method: str) -> Look:
    """Of a method or a head."""
    return LOOKS.get(method, Look(GREY, "v", "-"))
