"""Which images each job of a job array predicts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bioseg_cli.prediction.sources import AnySource


def of_part(sources: Sequence[AnySource], part: str | None) -> list[AnySource]:
    """What part `I/N` predicts; all of it without parts.

    The name of an image decides its part. New images then move no other image to another part: two records would name
    its mask, and a part that removes its earlier masks would remove one that another part has just made.
    """
    if part is None:
        return list(sources)
    number, count = map(int, part.split("/"))
    return [source for source in sources if _hash_of(source.name) % count == number - 1]


def _hash_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", errors="surrogateescape")).digest())
