"""Text as it may be shown: what a terminal would obey, or cannot show, becomes an escape such as `\\n` or `\\udcff`."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """The same text on one line, in characters that can be seen.

    Control characters (a line break, the start of a terminal's command), characters without a width, and the bytes of a
    name that is not UTF-8 are replaced by their escapes, as Python writes them.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def printable_lines(text: str) -> str:
    """A text of lines, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def listing(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
