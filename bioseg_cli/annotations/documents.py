"""JSON files as annotation programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioseg_cli.annotations.shape import DAMAGED
from bioseg_cli.errors import DataError


def read_document(path: Path) -> Any:
    """What a JSON file holds; raises `DataError` where it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"The JSON file cannot be read ({error})", where=path, fix=DAMAGED) from None
