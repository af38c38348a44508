"""JSON that anybody may have written: whatever is wrong with a text is one kind of error."""

from __future__ import annotations

import json
from typing import Any

LARGEST_NUMBER = 2**64


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON document stands for.

    Raises:
        ValueError: it is no JSON, its values lie too deep within each other, or a whole number has more than 64 bits.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("values lie within values, too many levels deep") from None


def _whole_number(digits: str) -> int:
    number = int(digits)
    if abs(number) >= LARGEST_NUMBER:
        raise ValueError("a whole number has more than 64 bits")
    return number
