"""JSON files as annotation programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioseg_cli.annotations.shape import DAMAGED
from bioseg_cli.errors import DataError
from bioseg_cli.io.json_text import parse_json


def read_document(path: Path) -> Any:
    """What a JSON file holds; raises `DataError` where it cannot be read."""
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"The JSON file cannot be read ({error})", where=path, fix=DAMAGED) from None
