"""JSON from anybody: a value, or one kind of error."""

from __future__ import annotations

import pytest

from bioseg_cli.io.json_text import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, "µ"]}', '{"a": [1, 2.5, null, "µ"]}'.encode()])
def test_a_document_is_its_value(text: str | bytes) -> None:
    assert parse_json(text) == {"a": [1, 2.5, None, "µ"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{",
        "nul",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
        b"\xff",
        "1" * 5000,
        '{"a": -18446744073709551616}',
    ],
    ids=[
        "empty",
        "list",
        "mapping",
        "word",
        "deep",
        "deep and whole",
        "deep mapping",
        "no text",
        "many digits",
        "65 bits",
    ],
)
def test_anything_else_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
