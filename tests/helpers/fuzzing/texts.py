"""Changes to texts: to their words, and to the values of JSON and YAML, which stay documents that can be parsed."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from bioseg_cli.io.yaml_text import parse_yaml

_TOKENS = re.compile(r"[A-Za-z_]+|-?[0-9.]+(?:e[0-9]+)?|\s+|.", re.DOTALL)
_ODD = (
    "0", "-1", "1e400", ".nan", "9" * 5000, "9223372036854775808", "null", "true", '""', "[]", "{}", "[" * 3000,
    "{a: " * 3000, "&a [*a, *a]", "*a", "!!python/object:os.system", "!!binary", "<<: ", "---\n", "\t", "\n" * 50,
    "\0", "\ufeff", "\x85", "\u2028", "\ud800", "-", ": ", ",", '"', "'", "#", "%", "a" * 100_000, "<!ENTITY a 'a'>",
    "../../x", "/dev/zero", "=1+1", "\\u0000", "2026-02-30", "0x", "1_000", "1:60", "Infinity", "-0.0",
)  # fmt: skip

_DEEP: Any = []
for _level in range(45):
    _DEEP = [_DEEP]

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 256, 2**31, 2**32, 2**53, 2**62, -(2**63), 2**63, 2**64, 10**400, 0.5, -0.0,
    1e-300, 1e308, float("nan"), float("inf"), "", " ", "a", "0", "nan", "\0", "\ud800", "\n", "a" * 5000, "µ" * 300,
    "../x", "/", "*", "2026-01-01T00:00:00", [], {}, [[]], [0], [None], [0] * 1000, ["a", "a"], {"": None},
    {"a": {"a": {}}}, [[0, 0], [1, 1]], [1e308, -1e308], _DEEP,
)  # fmt: skip
"""What a value is replaced by."""


def mutated_text(dice: Random, content: bytes, other: bytes) -> bytes:
    """A text with words that are others, doubled, exchanged or gone; `other` is another text of its kind."""
    words = _TOKENS.findall(content.decode("utf-8", "surrogateescape"))
    words = words or [""]
    foreign = _TOKENS.findall(other.decode("utf-8", "surrogateescape")) or [""]
    for _ in range(dice.choice((1, 1, 2, 4))):
        place, way = dice.randrange(len(words)), dice.randrange(6)
        if way == 0:
            words[place] = dice.choice(_ODD)
        elif way == 1:
            words.insert(place, dice.choice(_ODD))
        elif way == 2:
            words[place : place + dice.randint(1, 20)] = [""]
        elif way == 3:
            words[place:place] = words[place : place + dice.randint(1, 30)] * dice.choice((1, 3, 300))
        elif way == 4:
            source = dice.randrange(len(foreign))
            words[place] = "".join(foreign[source : source + dice.randint(1, 30)])
        else:
            elsewhere = dice.randrange(len(words))
            words[place], words[elsewhere] = words[elsewhere], words[place]
    return "".join(words).encode("utf-8", "surrogatepass" if dice.random() < 0.5 else "replace")


def mutated_document(dice: Random, content: bytes, other: bytes) -> bytes:
    """A document of JSON or YAML in which some values are others; what is no such document is changed as a text."""
    try:
        root, foreign = (parse_yaml(text.decode()) for text in (content, other))
    except ValueError:
        return mutated_text(dice, content, other)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        root = _changed(dice, root, foreign)
    return json.dumps(root, default=str).encode()


def _changed(dice: Random, value: Any, foreign: Any) -> Any:
    """The same value, with a change somewhere within it."""
    if isinstance(value, dict | list) and value and dice.random() < 0.85:
        place = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        return _changed_member(dice, value, place, foreign)
    way = dice.random()
    if way < 0.1:
        return [value]
    if way < 0.2:
        return _somewhere(dice, foreign)
    if way < 0.3 and isinstance(value, int | float):
        return value * dice.choice((-1, 10, 10**6, 10**12))
    if way < 0.4 and isinstance(value, str):
        return mutated_text(dice, value.encode("utf-8", "replace"), b"").decode("utf-8", "replace")
    return dice.choice(_VALUES)


def _changed_member(dice: Random, value: Any, place: Any, foreign: Any) -> Any:
    changed = value.copy()
    way = dice.random()
    if way < 0.1:
        del changed[place]
    elif way < 0.2 and isinstance(changed, list):
        changed.insert(place, changed[place])
    elif way < 0.2:
        changed[dice.choice(("a", "", "\0", place.upper() if isinstance(place, str) else "b"))] = changed.pop(place)
    else:
        changed[place] = _changed(dice, value[place], foreign)
    return changed


def _somewhere(dice: Random, value: Any) -> Any:
    """A value within a value."""
    while isinstance(value, dict | list) and value and dice.random() < 0.7:
        value = dice.choice(list(value.values()) if isinstance(value, dict) else value)
    return value
