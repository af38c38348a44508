"""JSON that anybody may have written: whatever is wrong with a text is one kind of error."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON document stands for.

    Raises:
        ValueError: it is no JSON, or its values lie too deep within each other.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("values lie within values, too many levels deep") from None
