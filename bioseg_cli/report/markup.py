"""HTML put together so that nothing from outside can be taken for it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "col", "img", "meta"})
"""Elements without content."""


class Markup(str):
    """HTML: everything in it that came from outside is escaped.

    Added to other text it is a plain string, which `tag` escapes once more: a slip shows on the page and does no harm.
    """

    __slots__ = ()


def markup(content: str) -> Markup:
    """The content as HTML: escaped, unless it is HTML already."""
    return content if isinstance(content, Markup) else Markup(escape(content))


def joined(parts: Iterable[str], separator: str = "") -> Markup:
    """The parts one after the other, with HTML or text between."""
    return Markup(markup(separator).join(map(markup, parts)))


def tag(name: str, /, *content: str, **attributes: str | int | bool | None) -> Markup:
    """An element. An attribute that is None or False is left out; `class_` is `class`, `aria_label` is `aria-label`."""
    said = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        said += f" {attribute}" if value is True else f' {attribute}="{escape(str(value))}"'
    return Markup(f"<{name}{said}>" if name in VOID else f"<{name}{said}>{joined(content)}</{name}>")
