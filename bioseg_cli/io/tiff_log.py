"""What tifffile logs and goes on after: off the terminal, and an error where it means that pixels are not there."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bioseg_cli.errors import DataError

_PIXEL_TAGS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347}
"""Tags without which the pixels of a page are other ones: its size, type, compression, and where its pieces are."""
_OF_PAGES = re.compile(r"missing data offset|missing .*ByteCounts|corrupted tag list|invalid (page )?offset|circular")
_OF_TAG = re.compile(r"TiffTag (\d+) @\d+> invalid")
_OF_COUNT = re.compile(r"incorrect Strip\w+ count \((\d+) != (\d+)\)")


class _Log(logging.Handler):
    """Keeps the errors of the thread that listens. While a logger has a handler, Python prints nothing of it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if (lines := getattr(self.heard, "lines", None)) is not None:
            lines.append(record.getMessage())


_LOG = _Log()
logging.getLogger("tifffile").addHandler(_LOG)


@contextmanager
def damage_refused(path: Path) -> Iterator[None]:
    """Raise `DataError` at the end of what is read of a TIFF in this thread, if tifffile logged damage to pixels."""
    lines: list[str] = []
    _LOG.heard.lines = lines
    try:
        yield
    finally:
        _LOG.heard.lines = None
    if serious := next(filter(_is_serious, lines), None):
        reason = re.sub(r".*<tifffile\.[^>]*> ?", "", serious).strip(" '()")[:80]
        what = f"The file is damaged: tifffile reports {reason or 'invalid tags'!r}"
        raise DataError(what, where=path, fix="Copy or export it again.")


def _is_serious(line: str) -> bool:
    if (tag := _OF_TAG.search(line)) is not None:
        return int(tag[1]) in _PIXEL_TAGS
    if (count := _OF_COUNT.search(line)) is not None:
        return int(count[1]) < int(count[2])  # what there is too many of is left alone
    return _OF_PAGES.search(line) is not None
