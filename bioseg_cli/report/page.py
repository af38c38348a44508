"""The page as a document: sections with numbered tables and figures, contents, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bioseg_cli.evaluation.figures import DIFFERENCE_COLOURS, DIFFERENCE_NAMES
from bioseg_cli.report.charts import Chart
from bioseg_cli.report.markup import Markup, joined, markup, tag
from bioseg_cli.report.strips import Gallery, Picture, Strip
from bioseg_cli.report.style import STYLE
from bioseg_cli.report.words import NO_BREAK


@dataclass(frozen=True)
class Exhibit:
    """A table or a figure; its number is its place on the page.

    Attributes:
        kind: what it is called.
        caption: what it shows.
        body: itself.
    """

    kind: Literal["Table", "Figure"]
    caption: str
    body: Markup
    breaks: bool = False
    """Printed, it may go on on the next page."""


@dataclass(frozen=True)
class Section:
    """A part of the page, under a heading."""

    identity: str
    title: str
    parts: tuple[Markup | Exhibit, ...]


def render(title: str, meta: str, abstract: Markup, sections: Sequence[Section], footer: str) -> str:
    """The page.

    Args:
        title: heading.
        meta: a line below it.
        abstract: the summary.
        sections: what follows; those without parts are left out.
        footer: last words.
    """
    shown = [one for one in sections if one.parts]
    counts = {"Table": 0, "Figure": 0}
    bodies = []
    for section in shown:
        parts: list[Markup] = []
        for part in section.parts:
            if isinstance(part, Exhibit):
                counts[part.kind] += 1
                parts.append(_exhibit(part, counts[part.kind]))
            else:
                parts.append(part)
        heading = tag("h2", section.title, id=f"{section.identity}-heading")
        bodies.append(
            tag("section", heading, *parts, id=section.identity, aria_labelledby=f"{section.identity}-heading")
        )
    contents = [tag("li", tag("a", one.title, href=f"#{one.identity}")) for one in shown]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", title),
            tag("p", meta, class_="meta"),
            tag("section", tag("h2", "Summary"), abstract, class_="abstract", aria_label="Summary"),
            tag("nav", tag("h2", "Contents"), tag("ol", *contents, class_="contents"), aria_label="Contents"),
        ),
        tag("main", *bodies),
        tag("footer", tag("p", footer)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _exhibit(one: Exhibit, number: int) -> Markup:
    caption = tag("figcaption", tag("b", f"{one.kind} {number}."), " ", typeset(one.caption))
    identity = f"{one.kind.lower()}-{number}"
    if one.kind == "Table":
        return tag("figure", caption, one.body, id=identity, class_="breaks" if one.breaks else None)
    return tag("figure", one.body, caption, id=identity, class_="drawn breaks" if one.breaks else "drawn")


def typeset(text: str) -> Markup:
    """Text as HTML, with its percentages kept in one line."""
    return Markup(re.sub(r"(?<=\d) (?=%)", NO_BREAK, markup(text)))


def paragraph(*content: str) -> Markup:
    """A paragraph."""
    return tag("p", *map(typeset, content))


def bullets(items: Sequence[str]) -> Markup:
    """A list; nothing without items."""
    return tag("ul", *(tag("li", typeset(one)) for one in items), class_="plain") if items else Markup()


def subheading(title: str) -> Markup:
    """A heading within a section."""
    return tag("h3", title)


def plots(charts: Sequence[Chart], *, small: bool = False) -> Markup:
    """Charts side by side, as many as there is room for."""
    return tag("div", *(tag("div", one.svg) for one in charts), class_="plots small" if small else "plots")


def gallery(one: Gallery, about: str, *, large: bool = False) -> Markup:
    """The strips of a data set with the key of its classes, or why there are none."""
    first = one.strips[0].title if len(one.strips) == 1 else ""
    parts = [tag("p", tag("b", f"{one.data}."), f" {about} ", first, class_="about")]
    if one.problem is not None:
        parts.append(tag("p", f"No picture: {one.problem}.", class_="gone"))
        return joined(parts)
    for strip in one.strips:
        parts += [tag("p", strip.title, class_="about")] * (len(one.strips) > 1)
        parts.append(_strip(strip, large=large))
    if one.classes:
        entries = [("class: " + name, bytes(colour).hex()) for name, colour in one.classes]
        parts.append(_key(entries, "Colours of the classes"))
    return joined(parts)


def difference_key(galleries: Sequence[Gallery]) -> Markup:
    """What the colours of the differences in some galleries mean; nothing where they have no pictures."""
    if not any(one.strips for one in galleries):
        return Markup()
    colours = DIFFERENCE_COLOURS[1:].tolist()
    entries = [(name, bytes(colour).hex()) for name, colour in zip(DIFFERENCE_NAMES, colours, strict=True)]
    return _key(entries, "Colours of the differences")


def _key(entries: Sequence[tuple[str, str]], label: str) -> Markup:
    items = [tag("li", tag("i", style=f"background:#{colour}", aria_hidden="true"), name) for name, colour in entries]
    return tag("ul", *items, class_="key", aria_label=label)


def _strip(strip: Strip, *, large: bool) -> Markup:
    columns = (tag("div", *map(_picture, column)) for column in strip.columns)
    return tag("div", *columns, class_="strip large" if large else "strip")


def _picture(one: Picture) -> Markup:
    if not one.png:
        return tag("p", f"{one.heading}: no picture. {one.words}.", class_="gone")
    source = f"data:image/png;base64,{base64.b64encode(one.png).decode()}"
    return joined([tag("img", src=source, alt=one.words), tag("span", one.heading)])
